"""How processes share the slices of a run: each claims the next one that nobody has.

One process, several on one machine, the ranks of torchrun or srun, and the tasks of a job array
all do the same: they claim slices of one run folder until none is missing. A process that ends
gives up its claims, and another one computes these slices.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from noctule.errors import InputError
from noctule.store import RunStore
from noctule.store.writers import Writer

MOST_SHARDS = 10**6


class Shard(NamedTuple):
    """One of several parts of a run's slices: each slice is in one part.

    Attributes:
        number: Number of the part, from 1.
        total: Number of parts.
    """

    number: int = 1
    total: int = 1

    @classmethod
    def parse(cls, text: str, where: str = "--shard") -> Shard:
        """A shard such as "3/16".

        Raises:
            InputError: It is something else.

        >>> Shard.parse("3/16").part_of(range(40))
        [2, 18, 34]
        """
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
        shard = cls(*map(int, match.groups())) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.total <= MOST_SHARDS:
            raise InputError(
                f"{text!r:.40} is not a shard",
                where=where,
                remedy="Use 1/16 to 16/16 for 16 shards: for a SLURM array, --array=1-16 and "
                "--shard $SLURM_ARRAY_TASK_ID/16.",
            )
        return shard

    def part_of(self, slices: Iterable[int]) -> list[int]:
        """Those of some slices that are in this part."""
        return [index for index in slices if index % self.total == self.number - 1]

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"


class Rank(NamedTuple):
    """One of several processes that a launcher has started.

    Attributes:
        number: Number of the process, from 0.
        total: Number of processes.
        local: Number of the process on its machine, from 0.
    """

    number: int = 0
    total: int = 1
    local: int = 0


# A batch script without srun has SLURM_PROCID as well, but no SLURM_STEP_ID.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_STEP_ID"),
)


def launched_rank(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank that torchrun or srun has given this process; without one, the only rank.

    Raises:
        InputError: The variables are not those of a launcher.

    >>> launched_rank({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"})
    Rank(number=5, total=8, local=1)
    """
    for number, total, local, needed in _LAUNCHERS:
        if not {number, total, needed} <= environment.keys():
            continue
        texts = (environment[number], environment[total], environment.get(local, "0"))
        if all(re.fullmatch("[0-9]{1,7}", text) for text in texts):
            rank = Rank(*map(int, texts))
            if rank.number < rank.total:
                return rank
        raise InputError(
            f"{texts[0]!r:.40} of {texts[1]!r:.40} is not a rank",
            where=f"{number} and {total}",
            remedy="torchrun and srun set these environment variables. Without a launcher, "
            "unset them.",
        )
    return Rank()


class Claimant(Protocol):
    """A run, and this process in its folder."""

    store: RunStore
    writer: Writer


ClaimantT = TypeVar("ClaimantT", bound=Claimant)


class Claims(Generic[ClaimantT]):
    """Positions, in a list of slices, of those that this process computes.

    Each is claimed when an iterator first asks for it; all iterators give the same ones.

    Args:
        runs: The runs that lack slices; those that are left when a slice is claimed count.
        slices: Numbers of the slices.
    """

    def __init__(self, runs: Sequence[ClaimantT], slices: Sequence[int]) -> None:
        self._runs = runs
        self._untried = iter(enumerate(slices))
        self._claimed: list[int] = []
        self._claimants: dict[int, list[ClaimantT]] = {}

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count():
            if number == len(self._claimed):
                free = (position for position, index in self._untried
                        if self._claim(position, index))  # fmt: skip
                self._claimed += itertools.islice(free, 1)
                if number == len(self._claimed):
                    return
            yield self._claimed[number]

    def claimants(self, position: int) -> list[ClaimantT]:
        """The runs whose slice at a claimed position this process computes."""
        return self._claimants[position]

    def _claim(self, position: int, index: int) -> bool:
        claimants = [run for run in self._runs if _is_claimed(run, index)]
        self._claimants[position] = claimants
        return bool(claimants)


def _is_claimed(run: Claimant, index: int) -> bool:
    path = run.store.slice_path(index)
    if path.is_file() or not run.writer.claim(index):
        return False
    if path.is_file():  # finished a moment ago
        run.writer.release(index)
        return False
    return True
