"""Fill run folders from one stream of images: one run, or several in lockstep.

Each image is decoded, and corrupted under each condition, once for all runs that lack it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from noctule.benchmarks import Condition
from noctule.evaluation.loading import Batch, split
from noctule.evaluation.provenance import record_start
from noctule.evaluation.settings import Progress
from noctule.evaluation.sharing import Claims, Shard
from noctule.evaluation.sources import ImageSource
from noctule.outcomes import SCHEMA, BatchOutcomes, likeliest, outcome_tables, reduce_logits
from noctule.remote import AnyPath
from noctule.store import RunStore
from noctule.store.writers import Writer

if TYPE_CHECKING:
    from noctule.evaluation.loop import Loop

POLL_S = 1.0  # while other processes compute the last slices


class Lane:
    """A run that is filled, alone or beside others.

    Attributes:
        loop: The classifier on its device.
        folder: The run folder.
        run: What is in the folder; None for a new run.
        is_finished: Whether nothing is missing of the shard.
        store: The run, between `enter` and `leave`.
        writer: This process in the run folder, between `enter` and `leave`.
    """

    store: RunStore
    writer: Writer

    def __init__(
        self,
        loop: Loop,
        folder: AnyPath,
        behaviour: list[list[float]],
        run: RunStore | None,
        shard: Shard,
    ) -> None:
        self.loop, self.folder, self.run = loop, folder, run
        self.is_finished = run is not None and not shard.part_of(run.missing_slices())
        self._behaviour = behaviour
        self._exit = ExitStack()

    def enter(self) -> None:
        """Start writing."""
        loop = self.loop
        writing = RunStore.writing(self.folder, loop.identity, str(loop.device))
        self.store, self.writer = self._exit.enter_context(writing)
        record_start(self.store, loop.source, loop.device, self._behaviour)

    def leave(self, error: BaseException | None = None) -> None:
        """Stop writing; an error is recorded in the run folder."""
        self._exit.__exit__(type(error) if error else None, error, None)

    def begin(self, index: int) -> None:
        """Start a slice."""
        self._index, self._rows = index, SliceRows(self.loop.source, index)

    def finish(self) -> None:
        """Write the slice."""
        self.store.write_slice(self._index, *self._rows.finished())
        self.writer.release(self._index)

    def show(self, batch: Batch, condition: Condition, name: str) -> None:
        """Show a batch to the classifier, and keep the outcomes on the device."""
        if batch.unreadable:
            self._rows.leave_out(batch, condition)
        if batch.ids:
            loop = self.loop
            logits, labels = loop.forward(batch.images), batch.labels
            if loop.right_labels:
                labels = likeliest(logits, [loop.right_labels[i] for i in batch.ids])
            self._rows.outcomes.append(reduce_logits(batch.ids, name, labels, logits))

    def keep(self, batch: Batch) -> None:
        """Fetch the outcomes of a batch under all conditions, of which this was the last.

        The device is waited for once per batch, not once per condition.
        """
        self._rows.tables += outcome_tables(self._rows.outcomes)
        self._rows.outcomes = []
        self._rows.hashes |= zip(batch.ids, batch.hashes, strict=True)


OnError = Callable[[Lane, Exception], None]
"""Called with a run that fails; the others go on."""


def fill_runs(
    lanes: Sequence[Lane],
    shard: Shard,
    progress: Progress | None,
    on_error: OnError | None = None,
) -> None:
    """Compute the missing slices of a shard; wait for those that other processes compute.

    Args:
        lanes: The runs, whose images are the same.
        shard: The part of each run to compute.
        progress: Called after each batch under each condition.
        on_error: If None, an error in one run ends all of them and is raised.
    """
    group = _RunGroup(lanes, shard, progress, on_error)
    try:
        group.fill()
    except BaseException as error:  # in none of the runs, such as an image that is unreadable
        is_handled = on_error is not None and isinstance(error, Exception)
        for lane in group.lanes:
            lane.leave(error)
            if on_error is not None and isinstance(error, Exception):
                on_error(lane, error)
        if not is_handled:
            raise


class _RunGroup:
    """The runs that are still filled, which share a stream of images."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        shard: Shard,
        progress: Progress | None,
        on_error: OnError | None,
    ) -> None:
        self.lanes: list[Lane] = list(lanes)
        self._shard, self._on_error = shard, on_error
        self._tally = Tally(shard, progress)

    def fill(self) -> None:
        """See `fill_runs`."""
        self._each(self.lanes, Lane.enter)
        self._tally.recount(self.lanes)
        while missing := self._missing():
            if not self._compute(missing):
                time.sleep(POLL_S)
                self._tally.recount(self.lanes)
        self._each(self.lanes, Lane.leave)

    def _missing(self) -> list[int]:
        """The slices that a run lacks, ascending."""
        missing = {index for lane in self.lanes for index in lane.store.missing_slices()}
        return self._shard.part_of(sorted(missing))

    def _each(self, lanes: Iterable[Lane], work: Callable[[Lane], None]) -> None:
        """Do something for each of some runs. If one fails, the others may go on."""
        for lane in [one for one in lanes if one in self.lanes]:
            try:
                work(lane)
            except Exception as error:
                if self._on_error is None:
                    raise
                self.lanes.remove(lane)
                lane.leave(error)
                self._on_error(lane, error)

    def _compute(self, slices: Sequence[int]) -> bool:
        """Compute those of some slices that nobody else computes; whether there are any."""
        loop = self.lanes[0].loop
        identity, source = loop.identity, loop.source
        plans = [split(identity.images_of(index), identity.batch_size) for index in slices]
        starts = list(itertools.accumulate(map(len, plans), initial=0))
        claims = Claims(self.lanes, slices)

        def order() -> Iterator[int]:
            for position in claims:
                yield from range(starts[position], starts[position + 1])

        batches = [indices for plan in plans for indices in plan]
        # Forward passes on a CPU take so long that slices read ahead are better left to others.
        ahead = len(plans[0]) if loop.device.type == "cpu" else len(batches)
        position = None
        with source.reading(batches, loop.device, order(), ahead):
            for position in claims:
                lanes, index = claims.claimants(position), slices[position]
                self._each(lanes, lambda lane, index=index: lane.begin(index))  # type: ignore[misc]
                self._slice(source, lanes, plans[position])
                self._each(lanes, Lane.finish)
                self._tally.recount(self.lanes)
                if not self.lanes:
                    break
        return position is not None

    def _slice(self, source: ImageSource, lanes: Sequence[Lane], plan: Sequence[range]) -> None:
        """Compute one slice for some runs."""
        conditions, tally = {str(one): one for one in source.conditions}, self._tally
        for indices in plan:
            for name, condition in conditions.items():
                batch = source.images(condition, indices)
                self._each(lanes, lambda lane: lane.show(batch, condition, name))  # noqa: B023
                tally.done += len(indices) * len(lanes)
                if tally.progress:
                    tally.progress(tally.done, tally.total)
            self._each(lanes, lambda lane: lane.keep(batch))  # noqa: B023


class Tally:
    """The progress of a shard: what is finished, by any process, and what this one computes."""

    def __init__(self, shard: Shard, progress: Progress | None) -> None:
        self._shard, self.progress = shard, progress
        self.done = self.total = 0

    def recount(self, lanes: Iterable[Lane]) -> None:
        """Count what is finished, when this process is between two slices."""
        self.done = self.total = 0
        for lane in lanes:
            self.done += self._outcomes(lane.store, lane.store.finished_slices())
            self.total += self._outcomes(lane.store, range(lane.loop.identity.num_slices))

    def _outcomes(self, store: RunStore, slices: Iterable[int]) -> int:
        identity = store.identity
        images = sum(len(identity.images_of(one)) for one in self._shard.part_of(slices))
        return images * len(identity.conditions)


@dataclass
class SliceRows:
    """What has been computed of one slice.

    Attributes:
        source: The source of the images.
        index: Number of the slice.
        tables: Outcome rows, in order.
        hashes: Hash of each image that was read, by its id.
        reasons: Why an image cannot be read, by its id.
        outcomes: Outcomes of the present batch, on the device.
    """

    source: ImageSource
    index: int
    tables: list[pa.Table] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    outcomes: list[BatchOutcomes] = field(default_factory=list)

    def leave_out(self, batch: Batch, condition: Condition) -> None:
        """Note the unreadable images of a batch, or stop there."""
        for image_id, reason in batch.unreadable:
            if self.source.identity.on_unreadable == "stop":
                raise self.source.unreadable_error(condition, image_id, reason)
            self.reasons.setdefault(image_id, reason)

    def finished(self) -> tuple[pa.Table, list[tuple[str, str]], dict[str, str]]:
        """Rows, unreadable images and hashes.

        An image that cannot be read under one condition counts under none.
        """
        rows = concatenated(self.tables)
        if not self.reasons:
            return rows, [], self.hashes
        left_out = pc.is_in(rows["image_id"], value_set=pa.array(list(self.reasons)))
        ids = [self.source.dataset.ids[i] for i in self.source.identity.images_of(self.index)]
        return (
            rows.filter(pc.invert(left_out)),
            [
                (image_id, self.reasons[image_id])
                for image_id in ids
                if image_id in self.reasons
            ],
            {key: value for key, value in self.hashes.items() if key not in self.reasons},
        )


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """Outcome rows as one table, in order; an empty one if there are none."""
    return pa.concat_tables([SCHEMA.empty_table(), *tables]).combine_chunks()
