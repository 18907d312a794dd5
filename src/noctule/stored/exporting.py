"""Export: all images of a benchmark, written once by several processes, resumable.

Work is divided into pieces of a few images under every condition. A finished piece leaves its
hashes in pieces/, whole or not at all. At the end these become SHA256SUMS, and pieces/ goes.
Exporting again into a finished set compares its files with their hashes: if some are damaged,
the set becomes an unfinished one that lacks their pieces, and these are written again.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from noctule.arguments import path_like, seed_number, whole_number
from noctule.benchmarks import Benchmark
from noctule.data import Dataset
from noctule.display import notebook_progress
from noctule.errors import InputError, machine_errors
from noctule.evaluation.execution import MAX_PROCESSES, Report, run_jobs, usable_cores
from noctule.evaluation.machines import chosen_devices
from noctule.input_files import reject_special_files
from noctule.models import Preprocessing
from noctule.processes import end_if_unguarded
from noctule.store.disk import (
    LOCK_FILE,
    locked,
    output_errors,
    refuse_unwritable,
    remove_temporaries,
    sha256_of,
    temporaries_of,
    write_atomically,
)
from noctule.store.sums import SUMS_FILE, FileSum, hash_file, read_sums, sums_text
from noctule.stored.manifest import (
    AGAIN,
    IMAGES_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    Format,
    Manifest,
    images_text,
    read_manifest,
    refuse_other_set,
)
from noctule.stored.plan import PIECES_FOLDER, Plan, planned, read_images
from noctule.stored.verification import states_of

FEW_IMAGES = 1000  # faster to read than to start processes for
KEPT = "Finished pieces are kept: rerun the same command to resume."

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
    devices: Sequence[str] = (),
    processes: int | None = None,
    progress: Progress | None = None,
    dry_run: bool = False,
) -> Manifest:
    """Write every image of a benchmark, corrupted and clean, for any framework to read.

    If the export is interrupted, call it again to resume it; a kill loses only the pieces in
    progress. Called again on a finished set, it reads every file and writes damaged and missing
    ones again; the result is the same to the byte. With several processes, a script that uses
    its own `Dataset` has to guard this call with `if __name__ == "__main__":`.

    Image files are not synced one by one, which takes longer than writing them. After a power
    cut, files of finished pieces may be empty or cut short. Their hashes are of what was to be
    written, so that `verify` finds them and the next call repairs them.

    Args:
        benchmark: A name, the path of a TOML file, or a `Benchmark`.
        data: A name, a folder, an array file, a `Dataset`, or a pair (images, labels).
        out: The folder to write: new or empty, or one that the same call began.
        format: "png": CORRUPTION/SEVERITY/CLASS/IMAGE.png, to the bit what live evaluation
            sees; "jpeg": the same, not to the bit; "webdataset":
            CORRUPTION/SEVERITY/000000.tar, of PNG or, if a quality is given, of JPEG; "npy":
            CORRUPTION.npy, as CIFAR-10-C has it.
        quality: JPEG quality, 1 to 100; ImageNet-C has 85.
        preprocessing: How images are resized and cropped before they are corrupted. None is
            `PUBLISHED` for files, and nothing for images in memory and for images smaller than
            its crop.
        seed: Seed of the corruptions.
        devices: Devices that compute the corruptions, such as "cpu" and "cuda:1", or "all" for
            every GPU; by default, the CPU. The manifest records a GPU: some of its corruptions
            round differently.
        processes: Number of processes; None is one per device, or one per core without devices.
        progress: Called now and then; for a finished set, with (files read, files in all). By
            default, a notebook shows a bar.
        dry_run: Whether to check everything and write nothing.

    Raises:
        InputError: An argument cannot be used, an image cannot be read, two files would have
            the same name, one of `out` and the data lies in the other, or `out` holds
            something else. Nothing is written then.
        NoctuleError: Something failed on the way, such as a full disk (OutputError in a single
            process). Finished pieces are kept.
    """
    end_if_unguarded()
    seed = seed_number(seed)
    if quality is not None:
        quality = whole_number(quality, "--quality", low=1, high=100)
    chosen = [torch.device(name) for name in chosen_devices(devices or ["cpu"])]
    if processes is None:
        processes = len(chosen) if devices else usable_cores()
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
    if chosen[0].type == "cuda":
        versions = {**manifest.versions, "cuda": str(torch.version.cuda)}
        manifest = replace(manifest, versions=versions)
    folder = plan.target.folder
    _refuse_foreign(folder, manifest)
    if not _is_begun(folder, manifest):
        # An unreadable image shows now and not after hours: without it, this is another set.
        few = plan.dataset.in_memory or len(plan.dataset) < FEW_IMAGES
        readers = 1 if few else processes
        _run(_read_piece, plan, plan.pieces, readers, lambda advance: None)
    if dry_run:
        refuse_unwritable(folder)
        return manifest
    title = f"exporting {plan.dataset.name}"
    show = notebook_progress(progress, title)
    with output_errors(folder, KEPT), locked(folder, "exporting into"), show as advance:
        for leftover in _leftovers(folder):
            leftover.unlink(missing_ok=True)
        if _is_begun(folder, manifest) and (folder / SUMS_FILE).is_file():
            _repair(plan, manifest, advance)
        else:
            # Also if it was begun: whatever has become of these files, the plan is right.
            _begin(plan, manifest)
        if not (folder / SUMS_FILE).is_file():
            _write_missing(plan, processes, chosen, advance)
            _finish(plan, processes)
        shutil.rmtree(folder / PIECES_FOLDER, ignore_errors=True)
    return manifest


def _refuse_foreign(folder: Path, manifest: Manifest) -> None:
    """Refuse a folder that holds more than a stored set, or what a kill left of its beginning.

    Raises:
        InputError: It does; a file that does not belong is named.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not a folder", where=folder, remedy="Choose another.")
    if (folder / MANIFEST_FILE).is_file() or _was_finished(folder, manifest):
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = {LOCK_FILE, IMAGES_FILE, LABELS_FILE, *(path.name for path in _leftovers(folder))}
    if foreign := sorted(names - ours):
        raise InputError(
            f"is not empty and not a stored set (it holds {foreign[0]})",
            where=folder,
            remedy="Choose an empty or new folder.",
        )


def _leftovers(folder: Path) -> list[Path]:
    """What kills have left of writing the set's own files beside the images.

    Other hidden files that end in `.tmp` are not among them: they may be somebody else's.
    """
    own = (MANIFEST_FILE, IMAGES_FILE, LABELS_FILE, SUMS_FILE)
    return [path for name in own for path in temporaries_of(folder, name)]


def _reject_odd_entries(folder: Path) -> None:
    """Refuse links, through which files elsewhere could be overwritten, and pipes.

    Raises:
        InputError: Something in the folder is neither a file nor a folder.
    """
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent) / name for name in (*folders, *names)):
            if path.is_symlink():
                raise InputError(
                    "is a link, and a stored set holds none",
                    where=path,
                    remedy="Remove it, and rerun the same command.",
                )
            reject_special_files(path, folder_allowed=True)


def _is_begun(folder: Path, manifest: Manifest) -> bool:
    """Whether this set is there, whole or in part; another set is refused."""
    if not _was_finished(folder, manifest):
        existing = read_manifest(folder)
        if existing is None:
            return False
        refuse_other_set(existing, manifest, folder)
    _reject_odd_entries(folder)
    return True


def _was_finished(folder: Path, manifest: Manifest) -> bool:
    """Whether SHA256SUMS has the hash of this manifest, whatever has become of the file."""
    expected = FileSum(sha256_of(manifest.to_bytes()), MANIFEST_FILE)
    with suppress(InputError):
        return expected in read_sums(folder, AGAIN)
    return False


def _begin(plan: Plan, manifest: Manifest) -> None:
    """Write what lies beside the images; a folder in place of a file is refused now."""
    folder = plan.target.folder
    for name in (SUMS_FILE, *plan.target.root_files):
        _refuse_obstacle(folder, name)
    write_atomically(folder / IMAGES_FILE, images_text(plan.target.entries).encode())
    if plan.target.format == "npy":
        write_atomically(folder / LABELS_FILE, plan.target.labels())
    write_atomically(folder / MANIFEST_FILE, manifest.to_bytes())


def _repair(plan: Plan, manifest: Manifest, progress: Progress) -> None:
    """Make a finished set that is damaged an unfinished one that lacks the damaged pieces.

    Arrays are not divided into pieces: damaged arrays are deleted and written again whole.

    Raises:
        InputError: A folder lies where a file belongs, or a file where a folder belongs.
    """
    target, folder = plan.target, plan.target.folder
    good: dict[str, FileSum] = {}
    with suppress(InputError):  # SHA256SUMS cannot be read: no file is known to be good
        sums = list(read_sums(folder, AGAIN))
        states = states_of(folder, sums, progress)
        good = {entry.path: entry for entry in sums if states[entry.path] == "good"}
    files = (name for piece in plan.pieces for name in target.files(piece))
    damaged = [name for name in dict.fromkeys((*target.root_files, *files)) if name not in good]
    if not damaged:
        return
    for name in damaged:
        _refuse_obstacle(folder, name)
    _begin(plan, manifest)
    shutil.rmtree(folder / PIECES_FOLDER, ignore_errors=True)
    (folder / PIECES_FOLDER).mkdir()
    for piece in plan.pieces:
        names = target.files(piece)
        if all(name in good for name in names):
            as_arrays = target.format == "npy"
            piece_sums = (
                target.part_sums(piece) if as_arrays else [good[name] for name in names]
            )
            write_atomically(plan.record(piece), sums_text(piece_sums))
    for name in target.array_names:
        if name not in good:
            (folder / name).unlink(missing_ok=True)
    (folder / SUMS_FILE).unlink(missing_ok=True)


def _refuse_obstacle(folder: Path, name: str) -> None:
    """Refuse what cannot be overwritten: a folder instead of a file, or a file of its folders.

    Raises:
        InputError: It is there; it is named.
    """
    parents = (folder / parent for parent in PurePosixPath(name).parents)
    obstacles = [path for path in parents if path.is_file()]
    if (folder / name).is_dir():
        obstacles.append(folder / name)
    if obstacles:
        raise InputError(
            f"is in the way of '{name}'",
            where=obstacles[0],
            remedy="Remove it, and rerun the same command.",
        )


def _write_missing(
    plan: Plan, processes: int, devices: Sequence[torch.device], progress: Progress
) -> None:
    pieces = plan.target.folder / PIECES_FOLDER
    as_arrays = plan.target.format == "npy"
    if as_arrays and plan.target.odd_arrays():
        # First the records go: a kill must not leave them beside new arrays, which are empty.
        if pieces.exists():
            shutil.rmtree(pieces)
        plan.target.create_arrays()
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

    _run(_write_piece, plan, missing, processes, advance, devices)


def _run(
    function: Callable[..., None],
    plan: Plan,
    jobs: Sequence[Any],
    processes: int,
    on_report: Report,
    devices: Sequence[torch.device] = (torch.device("cpu"),),
) -> None:
    run_jobs(
        functools.partial(function, plan),
        jobs,
        processes=processes,
        devices=devices,
        threads=1,
        on_report=on_report,
    )


def _read_piece(plan: Plan, indices: range, device: torch.device, report: Report) -> None:
    """Read the images of a piece, and nothing else."""
    del device, report
    read_images(plan, indices)


def _write_piece(plan: Plan, indices: range, device: torch.device, report: Report) -> None:
    """Write the images of a piece under every condition, then its record."""
    if plan.target.format == "npy" and _is_recorded(plan, indices):
        report(len(indices) * len(plan.target.benchmark.conditions))
        return
    images = read_images(plan, indices).to(device)
    ids = [plan.dataset.ids[index] for index in indices]
    sums: list[FileSum] = []
    benchmark = plan.target.benchmark
    with output_errors(plan.target.folder, KEPT):
        for condition in benchmark.conditions:
            shown = benchmark.corrupt(condition, images, ids=ids, seed=plan.seed)
            sums += plan.target.write(condition, indices, shown.cpu())
            report(len(indices))
        if plan.target.format == "npy":
            plan.target.sync_arrays()
        write_atomically(plan.record(indices), sums_text(sums))


def _is_recorded(plan: Plan, indices: range) -> bool:
    """Whether a piece's parts of arrays have the hashes in its record."""
    record = plan.record(indices)
    return record.is_file() and record.read_bytes() == sums_text(plan.target.part_sums(indices))


def _hash_array(plan: Plan, name: str, device: torch.device, report: Report) -> None:
    del device
    report(hash_file(plan.target.folder, name))


def _finish(plan: Plan, processes: int) -> None:
    """Write SHA256SUMS: the hashes of arrays, or the records of the pieces of files."""
    folder = plan.target.folder
    sums = [hash_file(folder, name) for name in (MANIFEST_FILE, IMAGES_FILE)]
    records: list[bytes] = []
    if plan.target.format == "npy":
        arrays = [LABELS_FILE, *plan.target.array_names]
        _run(_hash_array, plan, arrays, processes, sums.append)
        sums.sort(key=lambda file_sum: file_sum.path)
    else:
        records = [plan.record(indices).read_bytes() for indices in plan.pieces]
    write_atomically(folder / SUMS_FILE, sums_text(sums) + b"".join(records))
