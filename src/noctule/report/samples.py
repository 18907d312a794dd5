"""Sample images under each corruption, exactly as the model saw them, and its predictions.

The images are recreated from the data in the run's record, with the run's preprocessing, seed
and image ids. They are selected by a rule that does not depend on their content; the
predictions are the stored ones.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from noctule.benchmarks import Condition
from noctule.data import Dataset, open_dataset
from noctule.errors import NoctuleError, NoctuleWarning
from noctule.models.preprocessing import Preprocessing
from noctule.report.loading import Run
from noctule.report.run_details import Outcomes
from noctule.report.sheet import image_of


class Sample(NamedTuple):
    """One image under one condition, and the model's prediction."""

    condition: str
    image: torch.Tensor
    prediction: int
    confidence: float
    is_right: bool

    @property
    def address(self) -> str:
        """The image as a data: URI of a PNG, which keeps every pixel."""
        buffer = io.BytesIO()
        image_of(self.image).save(buffer, format="PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


class Strip(NamedTuple):
    """One image under each corruption.

    Attributes:
        image_id: Its id.
        label: Its class.
        failures: Number of corrupted conditions under which the model errs.
        samples: One for each condition, clean first if it was evaluated.
    """

    image_id: str
    label: int
    failures: int
    samples: list[Sample]


LARGEST_SIDE_PX = 2048


class Absent(Exception):
    """There are no images; the message is the reason, as a clause."""


def strips(run: Run, outcomes: Outcomes, count: int) -> list[Strip]:
    """Strips of `count` images, at the highest severity of each corruption or its full range.

    Raises:
        Absent: The data cannot be opened again, or have changed.
    """
    chosen = choose(outcomes, count)
    try:
        dataset = _data_of(run)
        return [_strip(run, dataset, outcomes, image) for image in chosen]
    except Absent:
        raise
    except NoctuleError as error:
        raise Absent(str(error)) from error
    # A path in a record may point to anything, and a page without images is still a page.
    except Exception as error:
        raise Absent(f"{type(error).__name__}: {error}") from error


def choose(outcomes: Outcomes, count: int) -> list[int]:
    """Which images to show, by a rule that does not depend on their content.

    Among the images that are right when clean (or all, where the clean ones were not
    evaluated), ordered by the number of corrupted conditions under which the model errs: the
    median, or the median and the last, or evenly spaced ones from the first to the last. Of
    images with as many failures, the one whose id comes first.

    Returns:
        Indices of images, at most `count`, each once.
    """
    eligible = np.arange(len(outcomes.label))
    if outcomes.has_clean:
        eligible = np.flatnonzero(~outcomes.wrong[:, 0])
    failures = outcomes.wrong[:, outcomes.corrupted].sum(axis=1)
    ordered = np.sort(failures[eligible])
    chosen: list[int] = []
    for rank in _ranks(count, len(ordered)):
        equals = eligible[failures[eligible] == ordered[rank]]
        chosen += [int(image) for image in equals if image not in chosen][:1]
    return chosen


def rule(outcomes: Outcomes, count: int) -> str:
    """The rule of `choose` in words."""
    which = "that are right when clean" if outcomes.has_clean else "evaluated"
    ranks = {1: "the median", 2: "the median and the worst"}.get(
        count, f"{count} evenly spaced from the fewest to the most"
    )
    return (
        f"Of the images {which}, ordered by the number of conditions under which the model "
        f"errs: {ranks}. Ties are broken by the image id."
    )


def _ranks(count: int, length: int) -> list[int]:
    if count < 1 or length < 1:
        return []
    middle, last = (length - 1) // 2, length - 1
    if count <= 2:
        return [middle, last][:count]
    spaced: NDArray[np.intp] = np.linspace(0, last, count).round().astype(np.intp)
    return [int(rank) for rank in spaced]


def hardest(run: Run) -> list[Condition]:
    """Each shown corruption at its highest severity, or over its full range."""
    severities = run.benchmark.severities
    severity = None if severities is None else max(severities)
    return [Condition(name, severity) for name in run.benchmark.corruptions]


def _data_of(run: Run) -> Dataset:
    data = run.store.identity.dataset
    if "stored" in data:
        raise Absent("its images were read from a stored set, whose path is not recorded")
    source = _source(run.store.starts())
    labels, background = source.get("labels_file"), source.get("background")
    limit, ids_file = source.get("limit"), source.get("ids_file")
    right_labels = source.get("right_labels_file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoctuleWarning)  # given when the run was made
        dataset = open_dataset(
            str(source["spec"]),
            labels_file=None if labels is None else Path(str(labels)),
            background=None if background is None else str(background),
            limit=None if limit is None else int(str(limit)),
            ids_file=None if ids_file is None else Path(str(ids_file)),
            right_labels_file=None if right_labels is None else Path(str(right_labels)),
        )
    # Of a class map that leaves images out, the record has the fingerprint of the whole, too.
    if dataset.fingerprint() not in (data["fingerprint"], data.get("subset", {}).get("of")):
        raise Absent(f"the data at {source['spec']} have changed since")
    return dataset


def _source(starts: Sequence[Any]) -> Mapping[str, Any]:
    """Where the data are, by the last start that records it."""
    records = [one for one in starts if isinstance(one, Mapping)]
    sources = [one["data"] for one in records if isinstance(one.get("data"), Mapping)]
    if sources and sources[-1].get("spec"):
        return dict(sources[-1])
    if any("data" in one for one in records):
        raise Absent("the data were in memory, and cannot be opened again")
    raise Absent("the run does not record where its data are")


def _refuse_large(prepare: Preprocessing, size_px: tuple[int, int]) -> None:
    """Refuse images that a page should not hold, before they are resized."""
    resized = prepare.resize_px
    sides = [*(prepare.crop_px or ()), *(resized if isinstance(resized, tuple) else ())]
    sides += [resized] if isinstance(resized, int) else []
    if (side := max(sides or size_px)) > LARGEST_SIDE_PX:
        raise Absent(f"its images are {side:,} px a side, more than a page should hold")


def _strip(run: Run, dataset: Dataset, outcomes: Outcomes, index: int) -> Strip:
    identity = run.store.identity
    image_id = outcomes.image_ids[index].as_py()
    prepare = Preprocessing.from_dict(identity.model["preprocessing"], where=run.store.folder)
    source = dataset.read(dataset.ids.index(image_id))
    _refuse_large(prepare, source.size)
    image = prepare.prepare(source)
    shown = [Condition(), *hardest(run)] if outcomes.has_clean else hardest(run)
    samples = []
    for condition in shown:
        (seen,) = run.benchmark.corrupt(
            condition, image[None], ids=[image_id], seed=identity.seed
        )
        cell = index, outcomes.conditions.index(str(condition))
        samples.append(
            Sample(
                str(condition),
                seen,
                int(outcomes.prediction[cell]),
                float(outcomes.confidence[cell]),
                not outcomes.wrong[cell],
            )
        )
    failures = int(outcomes.wrong[index, outcomes.corrupted].sum())
    return Strip(image_id, int(outcomes.label[index]), failures, samples)
