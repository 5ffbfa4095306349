"""Run the same fourteen commands in two checkouts and compare their results exactly, in 8 bits and in float32.

    python scripts/compare_checkouts.py OLD NEW [--work DIR] [--only NAME ...]

Exit code 1 when a value differs or a command fails. OLD's results are kept in the work folder by commit and used again;
delete that folder after an update of torch. Only the command line is used, so that modules may move between the two.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np

SCRIPTS = Path(__file__).resolve().parent

COMMANDS: dict[str, str] = json.loads((SCRIPTS / "compared_commands.json").read_text())
"""Options of `outpaint` by name; {models} stands for the folder of models"""

KINDS = ("frames", "latents", "encoded", "rounded")
"""Frames of the result, and float32 values on their way there, see `trace_commands.py`"""


class ComparisonError(RuntimeError):
    """What keeps two checkouts from being compared."""


class Finding(NamedTuple):
    """Whether two lists of pictures are the same, and how they differ."""

    same: bool
    text: str


def call(checkout: Path, words: Sequence[Any], *paths: Path) -> str:
    """Standard output of Python on one thread, with the packages of a checkout. Raises ComparisonError with its errors."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (checkout, *paths))),
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"),
    }
    command = [sys.executable, "-P", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ComparisonError(f"{checkout}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_package(checkout: Path) -> None:
    """Raise ComparisonError when Python would run the package of another folder."""
    found = Path(call(checkout, ["-c", "import canvas_core; print(canvas_core.__file__)"])).resolve()
    if not found.is_relative_to(checkout / "canvas_core"):
        raise ComparisonError(f"{checkout} would run {found}; give the top folder of a checkout")
    print(f"{checkout} runs {found}", flush=True)


def make_models(checkout: Path, folder: Path) -> None:
    """Write small models and a clip with the test support of a checkout, unless they are there."""
    if not folder.is_dir():
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        call(checkout, [SCRIPTS / "comparison_inputs.py", unfinished], checkout / "tests" / "support")
        unfinished.rename(folder)


def commit_of(checkout: Path) -> str | None:
    """The commit that a checkout's files are, None when they were changed."""
    asked = (["status", "--porcelain"], ["rev-parse", "HEAD"])
    changes, commit = (subprocess.check_output(["git", "-C", checkout, *words], text=True).strip() for words in asked)
    return None if changes else commit


def words_of(name: str, models: Path, folder: Path) -> list[str]:
    """The command line of a command whose result lies in `folder`."""
    options = f"--device cpu --dtype float32 {COMMANDS[name]}".split()
    files = [str(models / "clip.mkv"), "--output", str(folder / "result.mkv")]
    return ["outpaint", *files, *(option.format(models=models) for option in options)]


def read_note(folder: Path) -> dict[str, Any]:
    """Words, exit code and seconds of a command that was run; empty when it was not."""
    note = folder / "done.json"
    return json.loads(note.read_text()) if note.is_file() else {}


def run_commands(checkout: Path, names: Sequence[str], models: Path, store: Path, reuse: bool) -> None:
    """Leave the result of every command in a folder of its name, see `trace_commands.py`."""
    jobs = []
    for name in names:
        folder = store / name
        words = words_of(name, models, folder)
        if not (reuse and {"words": words, "code": 0}.items() <= read_note(folder).items()):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            jobs.append((str(folder), words))
    if jobs:
        plan = store / "jobs.json"
        plan.write_text(json.dumps(jobs))
        call(checkout, [SCRIPTS / "trace_commands.py", plan])


def read_results(folder: Path) -> dict[str, list[np.ndarray]]:
    """Frames [H, W, 3] uint8 of a result, and the pictures [a, b, c] of every kind in its trace. Raises ComparisonError."""
    code = read_note(folder)["code"]
    if code:
        log = (folder / "log.txt").read_text().splitlines()[-8:]
        raise ComparisonError("\n".join([f"{folder}: exit code {code}", *log]))
    with av.open(str(folder / "result.mkv")) as container:
        results = {"frames": [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]}
    with np.load(folder / "trace.npz") as trace:
        for kind in KINDS[1:]:
            results[kind] = [trace[key] for key in trace.files if key.startswith(f"{kind} ")]
    return results


def compare(old: list[np.ndarray], new: list[np.ndarray], in_order: bool) -> Finding:
    """Two lists of pictures, bit by bit; unless `in_order`, pictures may come in another order or more often."""
    before, after = ([(picture.shape, picture.tobytes()) for picture in pictures] for pictures in (old, new))
    if before == after:
        return Finding(True, f"{len(old)} equal")
    if not in_order and set(before) == set(after):
        return Finding(True, f"{len(old)} -> {len(new)}, equal as sets")
    if len(old) != len(new):
        return Finding(False, f"{len(old)} -> {len(new)}, {len(set(before) ^ set(after))} in one only")
    return Finding(False, _distance(old, new))


def _distance(old: list[np.ndarray], new: list[np.ndarray]) -> str:
    """The largest difference between pictures, and the share of values that differ."""
    if any(a.shape != b.shape for a, b in zip(old, new, strict=True)):
        return "other sizes"
    a, b = (np.concatenate([picture.ravel() for picture in pictures]).astype(float) for pictures in (old, new))
    return f"up to {np.abs(a - b).max():.2g}, {100 * np.mean(a != b):.2g}%"


def compare_commands(names: Sequence[str], old: Path, new: Path) -> Iterator[bool]:
    """Print a row for each command; yields whether both results are the same."""
    print(f"{'command':20}" + "".join(f"{title:>26}" for title in KINDS) + f"{'seconds':>14}")
    for name in names:
        try:
            before, after = (read_results(folder / name) for folder in (old, new))
        except ComparisonError as failure:
            print(f"{name:20}{failure}")
            yield False
            continue
        findings = [compare(before[kind], after[kind], kind == "frames") for kind in KINDS]
        seconds = " ".join(f"{read_note(folder / name)['seconds']:6.1f}" for folder in (old, new))
        print(f"{name:20}" + "".join(f"{finding.text:>26}" for finding in findings) + f"{seconds:>14}")
        yield all(finding.same for finding in findings)


def read_arguments() -> argparse.Namespace:
    """The command line, with absolute paths."""
    parser = argparse.ArgumentParser(description="Compare what fourteen commands give in two checkouts.")
    parser.add_argument("old", type=Path, help="checkout to compare with")
    parser.add_argument("new", type=Path, help="checkout to check")
    parser.add_argument("--work", type=Path, default=Path("output/compare"), help="(default: %(default)s)")
    parser.add_argument("--models", type=Path, help="models and clip, made when missing (default: WORK/models)")
    parser.add_argument(
        "--only", nargs="+", choices=COMMANDS, default=list(COMMANDS), metavar="NAME", help="run only these"
    )
    args = parser.parse_args()
    args.models = args.models or args.work / "models"
    for name in ("old", "new", "work", "models"):
        setattr(args, name, getattr(args, name).resolve())
    return args


def main() -> int:
    """Compare two checkouts; 0 when every command gave the same."""
    args = read_arguments()
    args.work.mkdir(parents=True, exist_ok=True)
    commit = commit_of(args.old)
    old, new = args.work / (commit or "uncommitted"), args.work / "new"
    try:
        for checkout in (args.old, args.new):
            check_package(checkout)
        make_models(args.new, args.models)
        run_commands(args.old, args.only, args.models, old, reuse=commit is not None)
        run_commands(args.new, args.only, args.models, new, reuse=False)
    except ComparisonError as failure:
        print(failure, file=sys.stderr)
        return 1
    same = list(compare_commands(args.only, old, new))
    print(f"{sum(same)} of {len(same)} commands give the same")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
