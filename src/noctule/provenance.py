"""Provenance of results: command line, commit, versions and device."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from noctule import plugins
from noctule._version import __version__

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow", "pyarrow", "scipy")


class Commit(NamedTuple):
    """The commit of a checkout.

    Attributes:
        sha: Hash of the commit.
        dirty: Whether the files of the package differ from the commit.
    """

    sha: str
    dirty: bool


def collect(*, device: str = "cpu", **extra: Any) -> dict[str, Any]:
    """A record of this start of the program, which can be written as JSON.

    Args:
        device: Device on which the model runs, such as "cpu" or "cuda:1".
        **extra: Additional entries that can be written as JSON.
    """
    import torch

    commit = checkout_commit(Path(__file__).parent)
    return {
        "started_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": list(sys.argv),
        "noctule": __version__,
        "commit": commit.sha if commit else None,
        "dirty": commit.dirty if commit else None,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "plugins": plugins.records(),
        "cuda": torch.version.cuda,
        "device": device,
        "device_name": device_name(device),
        "torch_threads": torch.get_num_threads(),
        **extra,
    }


def checkout_commit(folder: Path) -> Commit | None:
    """The commit of the checkout that tracks this folder; None without a checkout or git."""
    # An installed package may be inside a repository without being tracked by it.
    if not _git(folder, "ls-files", "."):
        return None
    sha = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return None if not sha or changes is None else Commit(sha, dirty=bool(changes))


def device_name(device: str) -> str:
    """The manufacturer's name of the hardware of a torch device."""
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
    # Inside a git hook, GIT_DIR points to another repository.
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("GIT_")
    }
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env=environment,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
