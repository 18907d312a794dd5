"""Installs the built wheel in clean environments, and runs what each must be able to do.

    python scripts/environments.py [--python 3.11 3.13] [--extras core report] [--oldest]

For each version of Python: the core alone, and each extra alone; with `--oldest`, with the
oldest versions that pyproject.toml allows. The core evaluates the embedded classifier on images
made here, recomputes its scores, compares, exports, verifies and draws; an extra does one thing
that needs it. Prints the versions, and the size of what is installed besides PyTorch,
torchvision and what these bring. Exits with 1 if anything fails. Takes `build` and `uv` of the
extra `dev`, and about a minute for each environment.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from onnx import helper
from PIL import Image

ROOT = Path(__file__).parents[1]
EVALUATE = "noctule evaluate {} data.npz --no-self-check --out {}"
CORE = [
    "noctule list corruptions",
    EVALUATE.format("photo-patches", "run"),
    "noctule metrics run",
    EVALUATE.format("photo-patches", "other"),
    "noctule compare run other",
    "noctule export imagenet-noc data.npz stored",
    "noctule verify stored",
    "noctule show photo.png --out sheet.png",
]
UNTRAINED = "import noctule; noctule.models.build_untrained('timm:resnet10t', 16, 64)"
LOADED = 'python -c \'import noctule; noctule.load_run("run").scores'
EXTRAS = {
    "core": "noctule --version",
    "report": "noctule report run --out report.html",
    "serve": "python -c 'import noctule.explore.server'",
    "study": "python -c 'import noctule.studies.design'",
    "photos": "noctule evaluate photo-patches photo-patches --limit 64 --out photos",
    "timm": f'python -c "{UNTRAINED}"',
    "onnx": EVALUATE.format(
        "onnx:net.onnx --resize 64 --crop 64 --mean 0,0,0 --std 1,1,1", "onnx"
    ),
    "hf": EVALUATE.format("hf:vit", "hf"),
    "openclip": "python -c 'import open_clip'",
    "ray": EVALUATE.format("photo-patches --on ray", "ray"),
    "pandas": f"{LOADED}.to_pandas()'",
    "polars": f"{LOADED}.to_polars()'",
    "all": "noctule study run photo-patches-demo --out study",
}
# Prints versions, and the size of what PyTorch and torchvision do not bring.
COUNTED = """
import importlib.metadata, platform, re
def brought(name, names):
    name = re.sub("[-_.]+", "-", name).lower()
    if name not in names:
        try:
            requires = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:
            return names
        names.add(name)
        for line in requires:
            if "extra ==" not in line:
                brought(re.match("[A-Za-z0-9._-]+", line)[0], names)
    return names
torchs = brought("torchvision", set())
found = {re.sub("[-_.]+", "-", d.name).lower(): d for d in importlib.metadata.distributions()}
names = [name for name in found if name not in torchs and not re.match("nvidia|cuda", name)]
paths = [path.locate() for name in names for path in found[name].files or ()]
size = sum(path.stat().st_size for path in paths if path.exists())
versions = [f"{name} {found[name].version}" for name in ("torch", "torchvision", "numpy")]
print(f"Python {platform.python_version()}, {', '.join(versions)}: {size / 1e6:.0f} MB")
"""


def main() -> None:
    """Install, run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", nargs="+", default=["3.11"], metavar="VERSION")
    parser.add_argument("--extras", nargs="+", choices=EXTRAS, default=[*EXTRAS])
    parser.add_argument("--oldest", action="store_true")
    options = parser.parse_args()
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(
            [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)], ROOT
        )
        make_inputs(folder)
        constraints = folder / "versions.txt"
        constraints.touch()
        if options.oldest:
            oldest = run([sys.executable, "scripts/oldest.py"], ROOT)
            constraints.write_text(oldest, encoding="utf-8")
        for python in options.python:
            for extra in options.extras:
                try:
                    said = try_out(folder, python, extra, constraints)
                except subprocess.CalledProcessError as error:
                    failures += 1
                    said = f"FAILED: {shlex.join(error.cmd)}\n{error.stdout}{error.stderr}"
                print(f"{extra:9s} {said}", flush=True)
    sys.exit(failures > 0)


def try_out(folder: Path, python: str, extra: str, constraints: Path) -> str:
    """Install the wheel with an extra, run what it must be able to do, and describe it."""
    uv = [sys.executable, "-m", "uv"]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        environment = Path(name)
        run([*uv, "venv", "--quiet", "--python", python, str(environment / "venv")], folder)
        interpreter = str(environment / "venv" / "bin" / "python")
        (wheel,) = folder.glob("*.whl")
        wanted = str(wheel) if extra == "core" else f"{wheel}[{extra}]"
        install = [*uv, "pip", "install", "--quiet", "--python", interpreter]
        run([*install, "--constraint", str(constraints), wanted], folder)
        work = environment / "work"
        work.mkdir()
        for path in (
            *folder.glob("*.np*"),
            *folder.glob("*.png"),
            *folder.glob("*.onnx"),
            folder / "vit",
        ):
            (work / path.name).symlink_to(path)
        for command in [*CORE, EXTRAS[extra]]:
            run(shlex.split(command), work, environment / "venv" / "bin")
        return run([interpreter, "-c", COUNTED], work).strip()


def run(command: list[str], folder: Path, programs: Path | None = None) -> str:
    """What a command prints; with the programs of an environment, and nothing of ours."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if programs:
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=True
    ).stdout


def make_inputs(folder: Path) -> None:
    """Images, an ONNX file and a transformer, made by the packages of this environment."""
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    Image.fromarray(images[0]).save(folder / "photo.png")
    np.savez(folder / "data.npz", images=images, labels=np.arange(16))
    kind = onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["logits"]),
    ]
    weight = helper.make_tensor("weight", kind, [3, 16], [0.1 * i for i in range(48)])
    graph = helper.make_graph(
        nodes, "net",
        [helper.make_tensor_value_info("images", kind, ["batch", 3, 64, 64])],
        [helper.make_tensor_value_info("logits", kind, ["batch", 16])],
        [weight],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "net.onnx")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=64, patch_size=16,
    )  # fmt: skip
    config.num_labels = 16
    transformers.ViTForImageClassification(config).save_pretrained(folder / "vit")
    size = {"height": 64, "width": 64}
    transformers.ViTImageProcessor(size=size).save_pretrained(folder / "vit")


if __name__ == "__main__":
    main()
