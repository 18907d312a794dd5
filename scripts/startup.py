"""CPU seconds of the commands that run no model, from their start to their end.

    python scripts/startup.py [--tree SRC ...] [--repeats 5]

Each --tree is a folder that contains the package; several are timed in turns, so that a busy
machine slows all of them alike. User and system time count, of which the median is printed, and
beside it those of `import torch`. Start-up is meant to stay below 2 s; where that fails,
`python -X importtime -m noctule COMMAND` shows which import takes the time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import noctule

PACKAGE_PARENT = Path(noctule.__file__).parent.parent


def main() -> None:
    """Time every command and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tree", type=Path, action="append")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    trees = options.tree or [PACKAGE_PARENT]
    with tempfile.TemporaryDirectory() as name:
        commands = {"import torch": ["-c", "import torch"], **prepared(Path(name))}
        for tree in trees:  # so that every tree has its compiled modules
            for command in commands.values():
                cpu_s(command, tree)
        print(f"{'CPU seconds':24s} " + " ".join(f"{tree!s:>24s}" for tree in trees))
        for title, command in commands.items():
            seconds: dict[Path, list[float]] = {tree: [] for tree in trees}
            for _ in range(options.repeats):
                for tree in trees:
                    seconds[tree].append(cpu_s(command, tree))
            medians = " ".join(f"{statistics.median(seconds[tree]):24.2f}" for tree in trees)
            print(f"{title:24s} {medians}")


def prepared(folder: Path) -> dict[str, list[str]]:
    """The commands by title, with a run, an export and a study to read."""
    run, stored, study = (str(folder / name) for name in ("run", "stored", "study"))
    data = str(folder / "data.npz")
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    np.savez(data, images=images, labels=np.arange(16))
    noctule_(["evaluate", "photo-patches", data, "--no-self-check", "--out", run])
    noctule_(["export", "imagenet-noc", data, stored])
    noctule_(["study", "run", "photo-patches-demo", "--epochs", "1", "--out", study])
    commands = {
        "--help": ["--help"],
        "list": ["list"],
        "metrics": ["metrics", run],
        "compare": ["compare", run, run],
        "verify": ["verify", stored],
        "study status": ["study", "status", study],
    }
    return {title: ["-m", "noctule", *words] for title, words in commands.items()}


def noctule_(words: list[str]) -> None:
    """Run a command of this package's."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE_PARENT)}
    command = [sys.executable, "-m", "noctule", *words]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def cpu_s(arguments: list[str], tree: Path) -> float:
    """User and system time of a Python process."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
