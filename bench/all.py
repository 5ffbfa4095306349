"""The short figures of the README in one run on one machine, each script in a process of its own.

python bench/all.py
"""

import subprocess
import sys
from pathlib import Path

for name in ("window_time", "window_memory", "attention_time"):
    print(f"\n{name}", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).with_name(f"{name}.py"))], check=True)
