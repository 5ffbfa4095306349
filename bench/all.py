"""All figures of the README in one run on one machine.

python bench/all.py
"""

import runpy
from pathlib import Path

for name in ("window_time", "window_memory", "attention_time"):
    print(f"\n{name}")
    runpy.run_path(str(Path(__file__).with_name(f"{name}.py")), run_name="__main__")
