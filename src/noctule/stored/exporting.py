"""All images of a benchmark, written once: by several processes, resumable.

Work is divided into pieces of a few images under every condition. A finished piece leaves its
hashes in pieces/, whole or not at all; at the end these become SHA256SUMS, and pieces/ goes.
Of a finished set the files are compared with their hashes; pieces with a damaged file are
written again.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from noctule.arguments import path_like, seed_number, whole_number
from noctule.benchmarks import Benchmark
from noctule.data import Dataset
from noctule.errors import InputError, machine_errors
from noctule.evaluation.execution import MAX_PROCESSES, Report, run_jobs, usable_cores
from noctule.models import Preprocessing
from noctule.processes import end_if_unguarded
from noctule.store.disk import locked, output_errors, remove_temporaries, write_atomically
from noctule.stored.folder import leftovers, refuse_occupied, reject_odd_entries
from noctule.stored.layout import LABELS_FILE
from noctule.stored.manifest import (
    IMAGES_FILE,
    MANIFEST_FILE,
    SUMS_FILE,
    Format,
    Manifest,
    images_text,
    read_manifest,
    refuse_other_set,
)
from noctule.stored.plan import PIECES_FOLDER, Plan, planned, read_images
from noctule.stored.repair import damaged_files, good_files, refuse_obstacle, reopen, root_files
from noctule.stored.sums import FileSum, hash_file, sum_of, sums_text

FEW_IMAGES = 1000  # read sooner than processes are started
KEPT = "Finished pieces are kept: give the same command again to go on."

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""


@machine_errors()
def export(
    benchmark: str | Path | Benchmark,
    data: str | Path | Dataset | tuple[Any, Any],
    out: str | Path,
    *,
    format: Format = "png",
    quality: int | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    processes: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Write every image of a benchmark, corrupted and clean, for any framework to read.

    Called again after an interruption, it goes on where it was; of a kill only the pieces under
    way are lost. Called again on a finished set, it reads every file and writes damaged and
    missing ones again, with the pieces they are of; the result is the same to the byte. With
    several processes, a script whose own `Dataset` is used has to guard this call by
    `if __name__ == "__main__":`.

    Image files are not synced one by one, which takes longer than to write them: after a
    power cut those of finished pieces may be empty or cut short. Their hashes are of what was
    to be written, so that `verify` finds them and the next call repairs them.

    Args:
        benchmark: a name, the path of a TOML file, or a `Benchmark`.
        data: a name, a folder, an array file, a `Dataset`, or a pair (images, labels).
        out: the folder to write; new or empty, or one that the same call began.
        format: "png": CORRUPTION/SEVERITY/CLASS/IMAGE.png, to the bit what live evaluation
            sees; "jpeg": the same, not to the bit; "webdataset":
            CORRUPTION/SEVERITY/000000.tar, of PNG or, if a quality is given, of JPEG; "npy":
            CORRUPTION.npy, as CIFAR-10-C has it.
        quality: of JPEG, 1 to 100; ImageNet-C has 85.
        preprocessing: what to make of an image before it is corrupted (its mean and std do
            not matter); None is `PUBLISHED` for files, and nothing for images in memory and
            for images that are smaller than its crop.
        seed: of the corruptions.
        processes: how many work at once; None is one for each core.
        progress: called now and then; of a finished set, with (files read, files in all).

    Raises:
        InputError: something given cannot be used, an image cannot be read, two files would
            have one name, one of `out` and the data lies in the other, or `out` holds
            something else; nothing is written then.
        NoctuleError: something failed on the way, such as a full disk (OutputError in a single
            process); what is finished is kept.
    """
    end_if_unguarded()
    seed = seed_number(seed)
    if quality is not None:
        quality = whole_number(quality, "--quality", low=1, high=100)
    if processes is None:
        processes = usable_cores()
    processes = whole_number(processes, "--processes", low=1, high=MAX_PROCESSES)
    if not (preprocessing is None or isinstance(preprocessing, Preprocessing)):
        raise InputError(
            f"is a {type(preprocessing).__name__}",
            where="preprocessing",
            remedy="Use a noctule.Preprocessing.",
        )
    plan, manifest = planned(
        benchmark, data, path_like(out, "out"), format, quality, preprocessing, seed
    )
    folder = plan.target.folder
    _refuse_foreign(folder, manifest)
    if not _is_begun(folder, manifest):
        # Now, and not after hours: without an image it is another set, to be begun anew.
        few = plan.dataset.in_memory or len(plan.dataset) < FEW_IMAGES
        readers = 1 if few else processes
        _run(_read_piece, plan, plan.pieces, readers, lambda advance: None)
    with output_errors(folder, KEPT), locked(folder, "exporting into"):
        for leftover in leftovers(folder):
            leftover.unlink(missing_ok=True)
        if _is_begun(folder, manifest) and (folder / SUMS_FILE).is_file():
            _repair(plan, manifest, progress)
        else:
            # Again where it was begun: whatever has become of these files, the plan says them.
            _begin(plan, manifest)
        if not (folder / SUMS_FILE).is_file():
            _write_missing(plan, processes, progress)
            _finish(plan, processes)
        shutil.rmtree(folder / PIECES_FOLDER, ignore_errors=True)
    return manifest


def _refuse_foreign(folder: Path, manifest: Manifest) -> None:
    """A folder that holds anything but a stored set, or what a kill leaves of its beginning."""
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not a folder", where=folder, remedy="Choose another.")
    if not ((folder / MANIFEST_FILE).is_file() or _was_finished(folder, manifest)):
        refuse_occupied(folder)


def _is_begun(folder: Path, manifest: Manifest) -> bool:
    """Whether this set is there, whole or in part; another one is refused."""
    if not _was_finished(folder, manifest):
        kept = read_manifest(folder)
        if kept is None:
            return False
        refuse_other_set(kept, manifest, folder)
    reject_odd_entries(folder)
    return True


def _was_finished(folder: Path, manifest: Manifest) -> bool:
    """Whether the hash of this manifest is known there, whatever has become of the file."""
    return sum_of(folder, MANIFEST_FILE) == hashlib.sha256(manifest.to_bytes()).hexdigest()


def _begin(plan: Plan, manifest: Manifest) -> None:
    """Write what lies beside the images; a folder in place of a file is found now."""
    folder = plan.target.folder
    for name in (SUMS_FILE, *root_files(plan)):
        refuse_obstacle(folder, name)
    write_atomically(folder / IMAGES_FILE, images_text(plan.target.entries).encode())
    if plan.target.format == "npy":
        write_atomically(folder / LABELS_FILE, plan.target.labels())
    write_atomically(folder / MANIFEST_FILE, manifest.to_bytes())


def _repair(plan: Plan, manifest: Manifest, progress: Progress) -> None:
    """If a finished set is damaged, make of it one that lacks the pieces concerned."""
    good = good_files(plan.target.folder, progress)
    if damaged := damaged_files(plan, good):
        reopen(plan, good, damaged, lambda: _begin(plan, manifest))


def _write_missing(plan: Plan, processes: int, progress: Progress) -> None:
    pieces = plan.target.folder / PIECES_FOLDER
    as_arrays = plan.target.format == "npy"
    if as_arrays and plan.target.odd_arrays(plan.image_shape):
        # First the records go: a kill must not leave them beside new arrays, which are empty.
        if pieces.exists():
            shutil.rmtree(pieces)
        plan.target.create_arrays(plan.image_shape)
    pieces.mkdir(exist_ok=True)
    remove_temporaries(pieces)
    # Parts of arrays are compared with their hashes by the processes that write them.
    missing = [
        indices for indices in plan.pieces if as_arrays or not plan.record(indices).is_file()
    ]
    per_image = len(plan.target.benchmark.conditions)
    done = plan.num_images - per_image * sum(map(len, missing))

    def advance(images: int) -> None:
        nonlocal done
        done += images
        progress(done, plan.num_images)

    _run(_write_piece, plan, missing, processes, advance)


def _run(
    function: Callable[..., None],
    plan: Plan,
    jobs: Sequence[Any],
    processes: int,
    on_report: Report,
) -> None:
    run_jobs(
        functools.partial(function, plan),
        jobs,
        processes=processes,
        devices=[torch.device("cpu")],
        threads=1,
        on_report=on_report,
    )


def _read_piece(plan: Plan, indices: range, device: torch.device, report: Report) -> None:
    """Read the images of a piece, and nothing else."""
    del device, report
    read_images(plan, indices)


def _write_piece(plan: Plan, indices: range, device: torch.device, report: Report) -> None:
    """Write the images of a piece under every condition, then its record."""
    del device
    if plan.target.format == "npy" and _is_recorded(plan, indices):
        report(len(indices) * len(plan.target.benchmark.conditions))
        return
    images = read_images(plan, indices)
    ids = [plan.dataset.ids[index] for index in indices]
    sums: list[FileSum] = []
    benchmark = plan.target.benchmark
    with output_errors(plan.target.folder, KEPT):
        for condition in benchmark.conditions:
            shown = benchmark.corrupt(condition, images, ids=ids, seed=plan.seed)
            sums += plan.target.write(condition, indices, shown)
            report(len(indices))
        if plan.target.format == "npy":
            plan.target.sync_arrays()
        write_atomically(plan.record(indices), sums_text(sums))


def _is_recorded(plan: Plan, indices: range) -> bool:
    """Whether the parts of arrays that a piece is have the hashes in its record."""
    record = plan.record(indices)
    return record.is_file() and record.read_bytes() == sums_text(
        plan.target.part_sums(indices, plan.image_shape)
    )


def _hash_array(plan: Plan, name: str, device: torch.device, report: Report) -> None:
    del device
    report(hash_file(plan.target.folder, name))


def _finish(plan: Plan, processes: int) -> None:
    """SHA256SUMS from the hashes of arrays or from the records of the pieces of files."""
    folder = plan.target.folder
    sums = [hash_file(folder, name) for name in (MANIFEST_FILE, IMAGES_FILE)]
    records: list[bytes] = []
    if plan.target.format == "npy":
        arrays = [LABELS_FILE, *plan.target.array_names]
        _run(_hash_array, plan, arrays, processes, sums.append)
        sums.sort(key=lambda one: one.path)
    else:
        records = [plan.record(indices).read_bytes() for indices in plan.pieces]
    write_atomically(folder / SUMS_FILE, sums_text(sums) + b"".join(records))
