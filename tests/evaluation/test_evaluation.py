"""The loop: rows equal a slow loop's, whatever the workers, and survive any interruption."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import Dataset
from noctule.evaluation.loop import evaluate, run_images
from noctule.evaluation.settings import Settings
from noctule.evaluation.sources import LiveImages
from noctule.models import Preprocessing, load_classifier
from stripes import LENIENT, QUICK, SIDE, ChannelMeans, Stripes, Uneven


def slow_rows(dataset: Dataset, benchmark: Benchmark, seed: int = 0) -> list[dict[str, object]]:
    """Image by image, condition by condition, in NumPy's own arithmetic."""
    rows = []
    for condition in benchmark.conditions:
        for index, image_id in enumerate(dataset.ids):
            image = torch.from_numpy(np.array(dataset.read(index))).permute(2, 0, 1)[None]
            if condition.corruption:
                image = noctule.corrupt(
                    image,
                    condition.corruption,
                    ids=[image_id],
                    seed=seed,
                    severity=condition.severity,
                )
            logits = 10 * (image[0].numpy().astype(np.float64) / 255).mean(axis=(1, 2))
            label = int(dataset.labels[index])
            odds = np.exp(logits - logits.max())
            share = odds / odds.sum()
            rows.append({
                "image_id": image_id, "condition": str(condition), "label": label,
                "prediction": int(logits.argmax()),
                "label_rank": 1 + int((logits > logits[label]).sum()),
                "confidence": share.max(), "loss": -np.log(share[label]),
            })  # fmt: skip
    return rows


def slice_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "rows").iterdir())}


def test_rows_equal_those_of_a_slow_loop(tmp_path: Path) -> None:
    dataset = Stripes(40)
    source = LiveImages(load_classifier(ChannelMeans()), dataset, QUICK, LENIENT)
    run = run_images(source, out=tmp_path / "run")
    found = {(row["image_id"], row["condition"]): row for row in run.rows().to_pylist()}
    expected = slow_rows(dataset, QUICK)
    assert len(found) == len(expected) == 3 * 40
    for row in expected:
        mine = found[row["image_id"], row["condition"]]
        for name in ("label", "prediction", "label_rank"):
            assert mine[name] == row[name]
        assert mine["confidence"] == pytest.approx(row["confidence"], abs=1e-5)
        assert mine["loss"] == pytest.approx(row["loss"], abs=1e-5)


def test_rows_do_not_depend_on_workers(tmp_path: Path) -> None:
    classifier, dataset = load_classifier(ChannelMeans()), Stripes(70)
    for workers in (0, 2):
        settings = Settings(device="cpu", batch_size=16, workers=workers, self_check=False)
        source = LiveImages(classifier, dataset, QUICK, settings)
        run_images(source, out=tmp_path / str(workers))
    assert slice_bytes(tmp_path / "0") == slice_bytes(tmp_path / "2")


def test_the_same_command_does_not_run_a_finished_run_again(tmp_path: Path) -> None:
    class Counting(ChannelMeans):
        calls = 0

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            Counting.calls += 1
            return super().forward(images)

    for _ in range(2):
        evaluation = evaluate(
            Counting(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT
        )
    # 40 images in batches of 16, three conditions, once; one batch to count the classes; and
    # fixed images at each start.
    assert Counting.calls == 3 * 3 + 1 + 2
    assert evaluation.scores.num_images == 40
    assert len(evaluation.run.starts()) == 1


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    evaluate(ChannelMeans(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT)
    other = Settings(device="cpu", batch_size=16, seed=1, self_check=False)
    with pytest.raises(noctule.InputError, match="seed is 0 there and 1 here"):
        evaluate(ChannelMeans(), Stripes(40), QUICK, out=tmp_path / "run", settings=other)


def test_an_unreadable_image_stops_the_run_and_keeps_finished_slices(tmp_path: Path) -> None:
    dataset = Stripes(600, broken=frozenset({300}))
    with pytest.raises(noctule.UnreadableImageError, match=r"s/0300.*it is broken") as caught:
        evaluate(ChannelMeans(), dataset, QUICK, out=tmp_path / "run", settings=LENIENT)
    assert "--on-unreadable skip" in str(caught.value)
    assert noctule.RunStore.open(tmp_path / "run").finished_slices() == [0]


def test_skipped_images_are_named_and_not_counted(tmp_path: Path) -> None:
    dataset = Stripes(300, broken=frozenset({7, 280}))
    settings = Settings(device="cpu", batch_size=16, on_unreadable="skip", self_check=True)
    run, scores = evaluate(
        ChannelMeans(), dataset, QUICK, out=tmp_path / "run", settings=settings
    )
    assert run.unreadable() == [("s/0007", "it is broken"), ("s/0280", "it is broken")]
    assert scores.num_images == 298


def test_images_of_different_sizes_are_refused(tmp_path: Path) -> None:
    class Uneven(Stripes):
        def read(self, index: int) -> Image.Image:
            return super().read(index).resize((SIDE + index, SIDE))

    with pytest.raises(
        noctule.InputError, match=r"'s/0000' is 32 × 32 px and 's/0001' 32 × 33"
    ):
        evaluate(ChannelMeans(), Uneven(40), QUICK, out=tmp_path / "run", settings=LENIENT)


def test_a_corruption_that_needs_colour_is_refused_for_a_gray_model(tmp_path: Path) -> None:
    gray = load_classifier(
        ChannelMeans(), preprocessing=Preprocessing(mode="L", mean=(0.0,), std=(1.0,))
    )
    benchmark = Benchmark(name="c", title="c", source="tests", corruptions=("hue",))
    with pytest.raises(noctule.InputError, match=r"hue.*: needs images with 3 channels"):
        evaluate(gray, Stripes(40), benchmark, out=tmp_path / "run", settings=LENIENT)


def test_memory_and_precision_settings_are_part_of_the_identity(tmp_path: Path) -> None:
    run = evaluate(
        ChannelMeans(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT
    ).run
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["batch_size"], record["precision"], record["device_type"]) == (
        16, "float32", "cpu",
    )  # fmt: skip
    assert record["dataset"]["fingerprint"] == Stripes(40).fingerprint()
    start = run.starts()[0]
    assert {"noctule", "python", "packages", "device_name", "argv"} <= set(start)
    assert (start["class_names"], start["data"]) == (list(Stripes(40).class_names), None)


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_evaluation import *
torch.set_num_threads(1)  # threads do not survive a fork
source = LiveImages(load_classifier(ChannelMeans()), Stripes(1200), QUICK, LENIENT)
for folder in sys.stdin:
    status, child = 1, os.fork()
    if child == 0:
        try:
            run_images(source, out=Path(folder.strip()))
            status = 0
        finally:
            os._exit(status)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Runs:
    """A process that starts others, which only evaluate: imports take longer than that."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", KILLED.format(tests=str(Path(__file__).parent))]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)

    def start(self, folder: Path) -> int:
        """Start a run in a process of its own; the process's id."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{folder}\n")
        self.process.stdin.flush()
        return self._number()

    def wait(self) -> int:
        """The exit status of the last run; the negative number of the signal that ended it."""
        return self._number()

    def _number(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def runs() -> Iterator[Runs]:
    runs = Runs()
    with runs.process:
        yield runs
        runs.process.kill()


@pytest.mark.slow
def test_a_run_killed_ten_times_equals_an_undisturbed_one(runs: Runs, tmp_path: Path) -> None:
    runs.start(tmp_path / "whole")
    start = time.perf_counter()
    assert runs.wait() == 0
    duration = time.perf_counter() - start
    chance = random.Random(0)
    kills = 0
    # Early kills first: a run that got to its end is not killed any more.
    for share in sorted(chance.uniform(0.05, 1.0) for _ in range(10)):
        process = runs.start(tmp_path / "killed")
        time.sleep(duration * share)
        with contextlib.suppress(ProcessLookupError):  # it has got to its end
            os.kill(process, signal.SIGKILL)
        kills += runs.wait() == -signal.SIGKILL
    assert kills > 0
    runs.start(tmp_path / "killed")
    assert runs.wait() == 0
    assert slice_bytes(tmp_path / "killed") == slice_bytes(tmp_path / "whole")


def test_ctrl_c_says_how_to_go_on_and_the_run_goes_on(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "noctule", "evaluate", "photo-patches", "photo-patches/train",
        "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    for _ in range(1800):
        if list((tmp_path / "run" / "rows").glob("*.parquet")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "rerun the same command" in stderr
    assert "Traceback" not in stderr
    store = noctule.RunStore.open(tmp_path / "run")
    assert 0 < len(store.finished_slices()) < store.identity.num_slices


def test_scores_of_a_trained_classifier_make_sense(tmp_path: Path) -> None:
    """The shipped pair on every 8th test image: clean errors ordered, CE defined."""
    run, scores = evaluate("photo-patches", "photo-patches", out=tmp_path / "run")
    assert scores.of("error", "clean").value is not None
    assert scores.of("error", "clean").value < 0.1
    assert scores.reference is not None
    assert "photo-patches-reference" in scores.reference
    for name in scores.corruptions:
        assert scores.of("relative_ce", name).value is not None, name
    rows = run.rows(columns=["condition", "loss"])
    assert pc.all(pc.greater_equal(rows["loss"], 0)).as_py()


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (16, 2)])
def test_sizes_are_compared_across_batches_and_workers(
    tmp_path: Path, batch_size: int, workers: int
) -> None:
    settings = Settings(device="cpu", batch_size=batch_size, workers=workers, self_check=False)
    with pytest.raises(noctule.InputError, match="does not resize them") as caught:
        evaluate(ChannelMeans(), Uneven(40), QUICK, out=tmp_path / "run", settings=settings)
    assert "Traceback" not in str(caught.value)


def test_a_model_that_fails_is_named_with_the_batch_shape(tmp_path: Path) -> None:
    class Failing(ChannelMeans):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise ValueError("it wants 224 px")

    with pytest.raises(noctule.InputError, match=r"16 × 3 × 32 × 32: ValueError: it wants 224"):
        evaluate(Failing(), Stripes(40), QUICK, out=tmp_path / "run", settings=LENIENT)
