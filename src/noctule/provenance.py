"""What a number came from: commit, versions, device, arguments."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from noctule._version import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "pyarrow", "scipy", "simplejpeg")


class Commit(NamedTuple):
    """The commit of a checkout, and whether the package's files differ from it."""

    sha: str
    dirty: bool


def collect(
    argv: Sequence[str] | None = None, *, device: str = "cpu", **extra: Any
) -> dict[str, Any]:
    """One JSON-ready record of this start of the program.

    Args:
        argv: The command line or arguments; None takes this process's.
        device: Where the model runs, as torch names it: "cpu", "cuda", "cuda:1".
        extra: Further JSON-ready entries.
    """
    import torch

    commit = checkout_commit(Path(__file__).parent)
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": list(sys.argv if argv is None else argv),
        "noctule": __version__,
        "commit": commit.sha if commit else None,
        "dirty": commit.dirty if commit else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cuda": torch.version.cuda,
        "device": device,
        "device_name": device_name(device),
        "torch_threads": torch.get_num_threads(),
        **extra,
    }


def checkout_commit(folder: Path) -> Commit | None:
    """The commit of the checkout that tracks this folder; None if there is none, or no git."""
    # An installed copy may lie inside somebody's repository without being part of it.
    if not _git(folder, "ls-files", "."):
        return None
    sha = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return None if not sha or changes is None else Commit(sha, dirty=bool(changes))


def device_name(device: str) -> str:
    """The hardware behind a torch device, as its maker calls it."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name() or platform.processor() or platform.machine()


def _cpu_name() -> str | None:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return None
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str | None:
    # Inside a git hook GIT_DIR points at another repository.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_")
    }
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
