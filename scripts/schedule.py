"""A simulated schedule: processes that claim slices, with stragglers and failures.

    python scripts/schedule.py [--processes 8] [--slices 196] [--slice-s 60] [--repeats 200]

Each process takes the next free slice, as noctule's do, or has a fixed share of them, as with
shards. The defaults are 100 models in one stream on 50,000 images under 9 conditions: 196
slices of 256 images, 60 s each. A straggler is three times as slow. A failure strikes a process
at a random time; the slice in hand is lost, another process computes it, and the process is
back after five minutes, or never. Prints the time over that of an undisturbed, perfectly
divided run: the mean, and the largest of 95 % of the repeats.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import statistics
from dataclasses import dataclass

import numpy as np

BACK_S, SLOWNESS = 300.0, 3.0


@dataclass(frozen=True)
class Trouble:
    """What goes wrong: the number of stragglers, and of failures; whether they come back."""

    name: str
    stragglers: int = 0
    failures: int = 0
    come_back: bool = True


TROUBLES = (
    Trouble("none"),
    Trouble("1 straggler", stragglers=1),
    Trouble("2 stragglers", stragglers=2),
    Trouble("4 failures, back after 5 min", failures=4),
    Trouble("2 processes lost for good", failures=2, come_back=False),
    Trouble("1 straggler, 4 failures", stragglers=1, failures=4),
)


def makespan_s(
    processes: int, slices: int, slice_s: float, trouble: Trouble, seed: int, *, fixed: bool
) -> float:
    """The time until the last slice is finished; of fixed shards, those lost start again."""
    rng = np.random.default_rng(seed)
    ideal_s = slices * slice_s / processes
    struck = rng.integers(processes, size=trouble.failures)
    if not trouble.come_back:
        struck = rng.permutation(processes)[: trouble.failures]
    counts = np.bincount(struck, minlength=processes)
    fails_at = [sorted(ideal_s * rng.random(int(count))) for count in counts]
    speeds = [SLOWNESS if k < trouble.stragglers else 1.0 for k in range(processes)]
    noise = rng.lognormal(0, 0.1, slices)
    queues = [list(range(k, slices, processes)) for k in range(processes)] if fixed else []
    shared = list(range(slices))
    order = itertools.count()
    events = [(0.0, next(order), k) for k in range(processes)]
    heapq.heapify(events)
    last_s = 0.0
    idle: list[int] = []
    while events:
        now_s, _, k = heapq.heappop(events)
        queue = queues[k] if fixed else shared
        if not queue:
            idle.append(k)
            continue
        index = queue.pop(0)
        end_s = now_s + slice_s * noise[index] * speeds[k]
        if fails_at[k] and fails_at[k][0] < end_s:
            at_s = max(now_s, fails_at[k].pop(0))
            queue.insert(0, index)
            # A shard is started again by somebody; without shards, the others go on.
            if trouble.come_back or fixed:
                heapq.heappush(events, (at_s + BACK_S, next(order), k))
            if not fixed:
                for other in idle:  # those that wait for the last slices
                    heapq.heappush(events, (at_s, next(order), other))
                idle.clear()
            continue
        last_s = max(last_s, end_s)
        heapq.heappush(events, (end_s, next(order), k))
    return last_s


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--slices", type=int, default=196)
    parser.add_argument("--slice-s", type=float, default=60.0)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="check the program")
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    ideal_s = options.slices * options.slice_s / options.processes
    print(f"ideal: {ideal_s / 60:.0f} min")
    print("| trouble | slices claimed one by one | fixed shards |\n|---|---|---|")
    for trouble in TROUBLES:
        cells = []
        for fixed in (False, True):
            ratios = sorted(
                makespan_s(options.processes, options.slices, options.slice_s, trouble, seed,
                           fixed=fixed) / ideal_s
                for seed in range(repeats)
            )  # fmt: skip
            worst = ratios[min(int(0.95 * repeats), repeats - 1)]
            cells.append(f"{statistics.mean(ratios):.2f} ({worst:.2f})")
        print(f"| {trouble.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
