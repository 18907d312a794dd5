"""Everything that tests/test_golden.py compares, as the code gives it now.

    python tests/golden/make.py

writes it to the files beside this script. They say what the code gave once, and that a change
of the code changed nothing. Make them again ONLY when a change of pixels, rows or numbers is
intended, and say in the commit which ones changed and why.

Everything that the program or the package may come to call otherwise is in the first part.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))  # for synthetic_studies and leaderboard_cases

# What the package calls things. The golden files say "paper", "released" and "severity".
MODES = {"paper": "paper", "released": "released"}
SEVERITY = "severity"
SEVERITIES_KEY = "severities"
COLUMNS = {
    name: name for name in ("condition", "prediction", "label_rank", "confidence", "loss")
}
DEVICE = ("--device", "cpu")


def modes_of(name: str) -> tuple[str, ...]:
    """The modes in which a corruption can be had."""
    from noctule.corruptions import CORRUPTIONS

    return tuple(MODES) if CORRUPTIONS[name].has_modes else ("paper",)


def corrupted(
    name: str, mode: str, severity: int | None, images: torch.Tensor, ids: Any = ("golden-0",)
) -> np.ndarray:
    """Images under a registered corruption, seed 7; severity None is the full range."""
    from noctule import corrupt

    options: dict[str, Any] = {SEVERITY: severity, "mode": MODES[mode]}
    ids = None if ids is None else list(ids)
    return corrupt(images, name, ids=ids, seed=7, **options).numpy()


def corruption_names() -> list[str]:
    """All that are registered."""
    from noctule import CORRUPTIONS

    return list(CORRUPTIONS)


def benchmark_images(images: torch.Tensor) -> Iterator[tuple[str, np.ndarray]]:
    """An image under each condition of each shipped benchmark, in both modes.

    Benchmarks that are known from images on disk only are left out.
    """
    import noctule.benchmarks
    from noctule import load_benchmark

    for path in sorted(Path(noctule.benchmarks.__file__).parent.glob("*.toml")):
        for mode in MODES:
            benchmark = load_benchmark(path.stem).in_mode(MODES[mode])
            for condition in () if benchmark.stored_only else benchmark.conditions:
                result = benchmark.corrupt(condition, images, ids=["golden-0"], seed=7)
                yield f"{path.stem}/{mode}/{condition}", result.numpy()


def write_data(path: Path) -> None:
    """Every eighth image of photo-patches, from the fifth, as arrays: 128 images."""
    from noctule import open_dataset

    dataset = open_dataset("photo-patches")
    chosen = range(4, len(dataset), 8)
    images = np.stack([np.asarray(dataset.read(index)) for index in chosen])
    np.savez(path, images=images, labels=np.asarray(dataset.labels)[list(chosen)])


def rows_of(folder: Path) -> dict[str, np.ndarray]:
    """Columns of a run's rows: (conditions, images), but for the conditions themselves."""
    from noctule import RunStore

    table = RunStore.open(folder).rows()
    condition = np.array(table[COLUMNS["condition"]].to_pylist())
    names = list(dict.fromkeys(condition))
    columns = {"conditions": np.array(names)}
    for name, kind in (
        ("prediction", np.int8),
        ("label_rank", np.int8),
        ("confidence", np.float32),
        ("loss", np.float32),
    ):
        values = table[COLUMNS[name]].to_numpy()
        columns[name] = np.stack([values[condition == one] for one in names]).astype(kind)
    return columns


def write_study(folder: Path) -> None:
    """A study of five candidates and three seeds whose networks have made-up accuracies."""
    from synthetic_studies import write_study as write

    candidates = ["gaussian", "border", "salt_pepper", "hue", "blur"]
    accuracies = {}
    for i, model in enumerate(["standard", *candidates]):
        accuracies[model, "clean"] = 0.90 - 0.01 * i
        for j, condition in enumerate(candidates):
            gain = 0.4 if model == condition else (i > 0) * 0.05 * ((3 * i + 5 * j) % 7)
            accuracies[model, condition] = 0.35 + 0.04 * j + gain
    write(folder, accuracies, seeds=(0, 1, 2))


def write_submission(folder: Path) -> Path:
    """A submission to a leaderboard, with made-up logits."""
    from leaderboard_cases import honest_submission

    return honest_submission(folder)


TWO_CORRUPTIONS = f"""\
name = "two"
title = "Two of ImageNet-C"
source = "tests"
metric = "ce"
corruptions = ["glass_blur", "snow"]
{SEVERITIES_KEY} = [1, 3, 5]
stored_jpeg_quality = 85
"""
# Run folder: its model, its benchmark and options. A and B of each letter are compared.
MODELS = {"a": "photo-patches", "b": "photo-patches-reference"}
RUNS = {
    "noc": ("-b", "imagenet-noc"),
    "paper": ("-b", "two.toml", "--mode", MODES["paper"]),
    "released": ("-b", "two.toml", "--mode", MODES["released"]),
}


def evaluate_arguments(kind: str, letter: str) -> tuple[str, ...]:
    """Of the command that makes the run folder KIND-LETTER."""
    out = ("-o", f"{kind}-{letter}", "-f", "csv")
    return ("evaluate", MODELS[letter], "inputs/data.npz", *RUNS[kind], *DEVICE, *out)


def printing_commands() -> dict[str, tuple[str, ...]]:
    """What is printed, by the name of the file it is kept in."""
    commands: dict[str, tuple[str, ...]] = {}
    for kind in RUNS:
        a, b, reference = f"{kind}-a", f"{kind}-b", ("--reference", f"{kind}-b")
        for ending, form in (("csv", ("-f", "csv")), ("json", ("--json",))):
            commands[f"{kind}-metrics.{ending}"] = ("metrics", a, *reference, *form)
            commands[f"{kind}-compare.{ending}"] = ("compare", a, b, *reference, *form)
        commands[f"{kind}-metrics-b.csv"] = (
            "metrics", b, "--resamples", "200", "--confidence", "0.9", "--seed", "3",
            "-f", "csv",
        )  # fmt: skip
    commands["paper-compare-conditions.csv"] = (
        "compare", "paper-a", "paper-b", "--by", "condition", "--confidence", "0.9",
        "-f", "csv",
    )  # fmt: skip
    commands["design-choose.txt"] = ("design", "choose", "matrix.csv", "-o", "chosen.toml")
    commands["design-greedy.txt"] = (
        "design", "choose", "matrix.csv", "--size", "5", "--max-overlap", "0.3",
        "--method", "greedy", "-o", "greedy.toml",
    )  # fmt: skip
    commands["design-study.txt"] = (
        "design", "choose", "study", "--size", "2", "--resamples", "40",
    )  # fmt: skip
    commands["design-score.txt"] = (
        "design", "score", "imagenet-noc", "--matrix", "matrix.csv",
    )  # fmt: skip
    commands["design-n-by-k.txt"] = (
        "design", "n-by-k", "matrix.csv", "--families", "3", "--per-family", "2",
        "--count", "4", "-o", "n-by-k",
    )  # fmt: skip
    commands["leaderboard-check.json"] = (
        "leaderboard", "check", "submitted/submission", "--json",
    )  # fmt: skip
    return commands


# Commands that write files, and which of them are kept.
WRITING = {
    "report-noc": ("report", "noc-a", "noc-b", "--reference", "noc-b",
                   "-o", "report-noc.html", "--figures", "report-noc"),
    "report-paper": ("report", "paper-a", "--reference", "paper-b",
                     "-o", "report-paper.html", "--figures", "report-paper"),
    "study-robustness": ("study", "overlap", "study", "--resamples", "200",
                         "-o", "study-robustness"),
    "study-accuracy": ("study", "overlap", "study", "--form", "accuracy", "--resamples", "200",
                       "--confidence", "0.9", "--seed", "1", "-o", "study-accuracy"),
    "leaderboard": ("leaderboard", "build", "noc-a", "noc-b", "submitted/submission",
                    "--resamples", "200", "--landmarks", "-o", "leaderboard"),
}  # fmt: skip
KEPT = (
    "report-*/*.csv", "study-*/*.csv", "study-*/*.json", "leaderboard/index.html",
    "*ed.toml", "greedy.toml", "chosen.toml", "n-by-k/*.toml",
    "submitted/submission/submission.toml",
)  # fmt: skip

# The rest depends on no name.

SEVERITIES = (1, 3, 5, None)
PIXELS, CHECKSUMS, ROWS = HERE / "pixels.npz", HERE / "checksums.json", HERE / "rows.npz"
PRINTED = HERE / "printed"


def image(height: int, width: int) -> torch.Tensor:
    """An image by a formula: slopes, a chessboard and a texture; uint8 (1, 3, h, w)."""
    c, i, j = np.ogrid[:3, :height, :width]
    values = 40 + 110 * i // height + 60 * j // width + 25 * c
    values = values + 70 * ((i // 9 + j // 11) % 2) * (c != 1)
    values = values + (7 * i * i + 5 * j * j + 3 * i * j * (c + 1)) % 31 * (j > width // 2)
    return torch.from_numpy(np.clip(values, 0, 255).astype(np.uint8))[None]


def machine() -> str:
    """What exact values may depend on."""
    libraries = ("torch", "numpy", "scipy", "pillow")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in libraries]
    instructions = torch.backends.cpu.get_cpu_capability()
    return ", ".join([platform.system(), platform.machine(), instructions, *versions])


def pixels(name: str, mode: str, severity: str) -> np.ndarray:
    """A small image under a corruption: uint8 (3, 40, 56)."""
    number = None if severity == "full" else int(severity)
    return corrupted(name, mode, number, image(40, 56))[0]


def checksums() -> dict[str, int]:
    """CRC32 of larger images, of float32 ones, of other ids, and of all benchmarks."""
    found = {}
    large = image(224, 224)
    for name in corruption_names():
        for mode in modes_of(name):
            for kind, images in (("uint8", large), ("float32", large.float() / 255)):
                found[f"{name}/{mode}/3/{kind}"] = _crc(corrupted(name, mode, 3, images))
            several = torch.cat([image(40, 56), image(56, 40).mT, image(40, 56).flip(3)])
            found[f"{name}/{mode}/2/no ids"] = _crc(corrupted(name, mode, 2, several, None))
    for name, result in benchmark_images(image(64, 64)):
        found[f"benchmark {name}"] = _crc(result)
    return found


def _crc(values: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def program(*arguments: str) -> str:
    """What `noctule ARGUMENTS` prints; its messages and progress are dropped."""
    from noctule.cli import main

    printed, before = io.StringIO(), sys.argv
    sys.argv = ["noctule", *arguments]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            main()
    except SystemExit as stop:
        if stop.code:
            raise RuntimeError(
                f"noctule {' '.join(arguments)} ended with {stop.code}"
            ) from stop
    finally:
        sys.argv = before
    if "--json" in arguments:
        result = json.loads(printed.getvalue())["result"]
        return json.dumps(result.get("submissions", result))
    return printed.getvalue()


def printed_and_rows(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, np.ndarray]]]:
    """(texts by file name, rows by run): all commands, in a folder that is empty."""
    (folder / "inputs").mkdir()
    write_data(folder / "inputs" / "data.npz")
    write_study(folder / "study")
    write_submission(folder / "submitted")
    (folder / "two.toml").write_text(TWO_CORRUPTIONS)
    shutil.copy(HERE / "matrix.csv", folder)
    texts, rows = {}, {}
    with contextlib.chdir(folder):
        for kind in RUNS:
            for letter in MODELS:
                run = f"{kind}-{letter}"
                texts[f"{run}-evaluate.csv"] = program(*evaluate_arguments(kind, letter))
                rows[run] = rows_of(Path(run))
        for name, arguments in printing_commands().items():
            texts[name] = program(*arguments)
        for arguments in WRITING.values():
            program(*arguments)
        for path in sorted({path for kept in KEPT for path in Path().glob(kept)}):
            if path.name != "two.toml":
                texts["-".join(path.parts)] = path.read_text()
    return {name: concise(name, text) for name, text in texts.items()}, rows


def concise(name: str, text: str) -> str:
    """The text; of a page, the numbers in the rows of its tables."""
    if not name.endswith(".html"):
        return text
    rows = [re.sub(r"<[^>]*>", " ", row) for row in re.findall(r"<tr.*?</tr>", text, re.S)]
    return "".join(" ".join(re.findall(r"(?<![\w.])[−-]?\d+\.\d+", row)) + "\n" for row in rows)


def main() -> None:
    """Write the golden files."""
    torch.set_num_threads(1)
    names = [
        (name, mode, "full" if severity is None else str(severity))
        for name in corruption_names()
        for mode in modes_of(name)
        for severity in SEVERITIES
    ]
    stack = np.stack([pixels(*one) for one in names])
    np.savez_compressed(PIXELS, names=np.array(names), pixels=stack)
    record = {"platform": machine(), "crc32": checksums()}
    CHECKSUMS.write_text(json.dumps(record, indent=0) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        texts, rows = printed_and_rows(Path(folder))
    flat = {f"{run}/{key}": one for run, table in rows.items() for key, one in table.items()}
    np.savez_compressed(ROWS, **flat)
    shutil.rmtree(PRINTED, ignore_errors=True)
    PRINTED.mkdir()
    for name, text in texts.items():
        (PRINTED / name).write_text(text)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
