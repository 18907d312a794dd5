"""Stored images for tests: small sets, and ways to damage and forge them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from noctule.benchmarks import Benchmark
from noctule.evaluation.settings import Settings
from noctule.stored import export
from stripes import Stripes

SEVERITIES = Benchmark(
    name="severities",
    title="L",
    source="tests",
    corruptions=("shear", "gaussian"),
    severities=(1, 3, 5),
)
ONE_PROCESS = Settings(device="cpu", batch_size=16, workers=0, self_check=False)
LOSSLESS = ("png", "npy", "webdataset")
COUNT = 70  # three pieces of files, one shard


def file_bytes(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def photos(root: Path, count: int = 3) -> Path:
    """Larger than the crop and of different sizes, so that they are resized and cropped."""
    noise = np.random.default_rng(0)
    for name in ("n01", "n02"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            small = noise.integers(0, 256, (20, 30 + number, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize((340 + number, 280))
            image.save(root / name / f"ILSVRC_{number}.JPEG")
    return root


def export_into(folder: Path, form: Any = "png", **changes: Any) -> None:
    arguments: dict[str, Any] = {"format": form, "processes": 1, **changes}
    export(SEVERITIES, Stripes(COUNT), folder, **arguments)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def forge(folder: Path, name: str, content: bytes) -> None:
    """Change a file together with its hash."""
    before = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    sums = (folder / "SHA256SUMS").read_text()
    (folder / name).write_bytes(content)
    after = hashlib.sha256(content).hexdigest()
    (folder / "SHA256SUMS").write_text(sums.replace(before, after))
