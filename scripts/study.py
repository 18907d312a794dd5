"""Wall time of lockstep training against training the same networks one after another.

    python scripts/study.py [--images 256] [--repeats 3] [--device cpu]
                               [--architecture photo-patches] [--side-px 64] [--workers 0]

In one process and in turn, over a folder of JPEG files (500 × 375, quality 90) cut from sample
photographs, eight networks (standard and seven corruptions) for one epoch:

    lockstep     all eight on one stream of images
    one by one   the same eight, each decoding its own stream
    stream       the decoding, augmentation and corruption of the lockstep, without networks

Both ways take the same steps; the digests that are printed say that they end with the same
weights. The ratios are medians over the repeats. Decoding is done by the process itself unless
--workers says otherwise, so that its share of the time is visible.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from evaluation import make_jpegs
from noctule.data import Dataset, open_dataset
from noctule.evaluation.loading import load_batches
from noctule.models import Preprocessing, build_untrained, weights_sha256
from noctule.studies.training.recipe import OneCycleSchedule, Recipe, Sgd
from noctule.studies.training.stream import augmented, corrupted, draw_epoch
from noctule.studies.training.trainer import TrainingConfig, TrainingRun, init_run, train

NETWORKS = (
    None, "gaussian", "blur", "artifacts", "rain", "translation", "hue", "quantization",
)  # fmt: skip


def main() -> None:
    """Run the three in turn and print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--architecture", default="photo-patches")
    parser.add_argument("--side-px", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"lockstep": [], "one by one": [], "stream": []}
    with tempfile.TemporaryDirectory() as folder:
        make_jpegs(Path(folder), options.images)
        config = course_of(open_dataset(Path(folder)), options)
        one_by_one(config, options.architecture, NETWORKS[:1])  # not counted
        for _ in range(options.repeats):
            for name, run in (("lockstep", lockstep), ("one by one", one_by_one)):
                start = time.perf_counter()
                weights = run(config, options.architecture, NETWORKS)
                times[name].append(time.perf_counter() - start)
                print(f"{name:10s} {times[name][-1]:7.2f} s  weights {weights}", flush=True)
            start = time.perf_counter()
            stream(config)
            times["stream"].append(time.perf_counter() - start)
            print(f"{'stream':10s} {times['stream'][-1]:7.2f} s", flush=True)
    report(times)


def report(times: dict[str, list[float]]) -> None:
    """Median ratios, turn by turn."""
    for above, below in (("one by one", "lockstep"), ("stream", "lockstep")):
        ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
        print(f"{above} / {below}: {statistics.median(ratios):.3f} "
              f"(from {min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip


def course_of(dataset: Dataset, options: argparse.Namespace) -> TrainingConfig:
    """One epoch, in batches of 32 images shown twice; the recipe does not matter for time."""
    recipe = Recipe(
        epochs=1,
        batch_size=64,
        learning_rate=0.02,
        optimiser=Sgd(kind="sgd", momentum=0.9, weight_decay=1e-4),
        schedule=OneCycleSchedule(kind="one-cycle"),
    )
    side = options.side_px
    return TrainingConfig(
        dataset=dataset,
        preprocessing=Preprocessing(resize_px=(side, side)),
        recipe=recipe,
        device=torch.device(options.device),
        precision="float32" if options.device == "cpu" else "bfloat16",
        workers=options.workers,
    )


def initialized(
    config: TrainingConfig, architecture: str, candidate: str | None
) -> TrainingRun:
    """A network before its first step."""
    classes, side = len(config.dataset.class_names), config.preprocessing.resize_px
    assert isinstance(side, tuple)
    name = candidate or "standard"
    views = (None, candidate)
    return init_run(
        name, views, lambda: build_untrained(architecture, classes, side[0]), config
    )


def lockstep(
    config: TrainingConfig, architecture: str, networks: tuple[str | None, ...]
) -> str:
    """All networks on one stream; a digest of their weights."""
    runs = [initialized(config, architecture, name) for name in networks]
    train(runs, config)
    return digest(runs)


def one_by_one(
    config: TrainingConfig, architecture: str, networks: tuple[str | None, ...]
) -> str:
    """Each network on a stream of its own; a digest of their weights."""
    runs = [initialized(config, architecture, name) for name in networks]
    for run in runs:
        train([run], config)
    return digest(runs)


def digest(runs: list[TrainingRun]) -> str:
    """The first digits of the weights' hashes; waits for the device."""
    return " ".join(weights_sha256(one.module.state_dict())[:6] for one in runs)


def stream(config: TrainingConfig) -> None:
    """What the lockstep does beside the networks' steps."""
    epoch = draw_epoch(config.recipe, config.seed, 0, config.dataset.ids, views=2)
    plan = epoch.batches(config.recipe.batch_size // 2)
    indices = [chosen.tolist() for chosen in plan]
    batches = load_batches(config.dataset, config.preprocessing, indices, config.workers)
    for chosen, batch in zip(plan, batches, strict=True):
        images = batch.images.to(config.device)
        shown = [
            augmented(images, augmentations.of(chosen)) for augmentations in epoch.augmentations
        ]
        for name in NETWORKS:
            corrupted(shown[1], name, epoch, batch.ids)
    if config.device.type == "cuda":
        torch.cuda.synchronize(config.device)


if __name__ == "__main__":
    main()
