"""A run folder: created or resumed, written slice by slice, read back as rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from noctule.arguments import run_path
from noctule.errors import InputError, NoctuleError
from noctule.outcomes import SCHEMA
from noctule.remote import AnyPath, RemoteError, RemotePath
from noctule.store import flaws
from noctule.store.disk import (
    LOCK_FILE,
    append_line,
    append_record,
    output_errors,
    read_files,
    read_lines,
    read_records,
    remove_temporaries,
    sha256_of,
    temporaries_of,
    write_atomically,
)
from noctule.store.identity import RUN_FILE, RunIdentity, read_identity, refuse_other
from noctule.store.slices import (
    MOST_SLICE_BYTES,
    SliceNote,
    checked_bytes,
    damaged,
    read_note,
    read_rows,
    slice_bytes,
)
from noctule.store.sums import SUMS_FILE, FileSum
from noctule.store.writers import (
    FAILURES_FILE,
    WRITERS_FOLDER,
    Writer,
    exclusive,
    in_turn,
    remove_marks,
    writers_of,
)

PROVENANCE_FILE = "provenance.jsonl"
ROWS_FOLDER = "rows"
_SLICE = re.compile(r"\d{6}\.parquet")


@dataclass(frozen=True)
class RunStore:
    """One run folder, whose rows are written and read only through this class.

    Make one with `create_or_resume` (to write) or `open` (to read). Everything that is read is
    checked against its recorded hash, run.json, and what rows can be.
    """

    folder: AnyPath
    identity: RunIdentity

    @classmethod
    def create_or_resume(cls, folder: str | AnyPath, identity: RunIdentity) -> RunStore:
        """Start a run, or resume one of the same identity.

        What killed processes left is removed, unless another process writes there.

        Raises:
            InputError: The folder holds another run (every differing key is listed with both
                values), something that is not a run, or a damaged slice.
            OutputError: The folder cannot be written.
        """
        folder = run_path(folder, "out")
        store = cls.find(folder, identity)
        rows = folder / ROWS_FOLDER
        if rows.is_symlink():
            raise InputError("is a link", where=rows, remedy="Remove it.")
        with output_errors(folder):
            rows.mkdir(parents=True, exist_ok=True)
            if not any(writer.is_alive for writer in writers_of(folder)):
                remove_temporaries(folder)
                remove_temporaries(rows)
            if isinstance(folder, RemotePath):
                _refuse_appended(folder)
            if store is None:
                text = (json.dumps(identity.to_dict(), indent=2) + "\n").encode()
                if isinstance(folder, Path):
                    write_atomically(folder / RUN_FILE, text)
                elif not (folder / RUN_FILE).create(text):  # another process was faster
                    store = cls.find(folder, identity)
        return store or cls.open(folder)

    @classmethod
    def find(cls, folder: str | AnyPath, identity: RunIdentity) -> RunStore | None:
        """The run of this identity in a folder, or None if it may be started there.

        Nothing is written. The errors are those of `create_or_resume`.
        """
        folder = run_path(folder, "out")
        if _is_fresh(folder):
            return None
        store = cls.open(folder)
        refuse_other(store.identity.to_dict(), identity.to_dict(), folder)
        return store

    @classmethod
    def open(cls, folder: str | AnyPath) -> RunStore:
        """A run folder to read from, complete or not.

        Raises:
            InputError: It is not a run folder, was written by another version of noctule, or
                has a damaged slice.
        """
        folder = run_path(folder, "run")
        store = cls(folder, read_identity(folder))
        for note in store.notes():  # reads every file
            if flaw := store._count_flaw(note):
                raise damaged(store.slice_path(note.index), flaw)
        return store

    @classmethod
    @contextmanager
    def writing(
        cls, folder: str | AnyPath, identity: RunIdentity, device: str | None = None
    ) -> Iterator[tuple[RunStore, Writer]]:
        """Write a run beside other processes that write the same one.

        A start that fails is recorded, and leaves no folder if nothing is finished in it.

        Args:
            folder: The run folder, new or of a run of the same identity.
            identity: The run's identity.
            device: The device that computes the rows, for the record; None for a process that
                computes none itself.

        Raises:
            InputError: As `create_or_resume`.
            OutputError: As `create_or_resume`.
        """
        folder = run_path(folder, "out")
        writer, store = Writer(folder, device), None
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive(folder), output_errors(folder):
                store = cls.create_or_resume(folder, identity)
                writer.join()
            yield store, writer
        except Exception as error:
            with suppress(NoctuleError):
                if store is not None:
                    writer.record_failure(error)
                cls._leave(writer, store if isinstance(error, NoctuleError) else None)
            raise
        except BaseException:
            with suppress(NoctuleError):
                cls._leave(writer)
            raise
        cls._leave(writer)

    @staticmethod
    def _leave(writer: Writer, failed: RunStore | None = None) -> None:
        """Stop writing; the last to leave clears up, and discards a run without rows."""
        with exclusive(writer.folder), output_errors(writer.folder):
            if writer.leave():
                remove_marks(writer.folder)
                if failed is not None:
                    failed.discard()

    @property
    def title(self) -> str:
        """The model, the data and the benchmark, for tables."""
        identity = self.identity
        benchmark = identity.benchmark["title"]
        mode = ", released mode" if identity.benchmark.get("mode") == "released" else ""
        return f"{identity.model_title} on {identity.dataset['name']}, {benchmark}{mode}"

    def finished_slices(self) -> list[int]:
        """Numbers of the finished slices, ascending."""
        rows = self.folder / ROWS_FOLDER
        names = sorted(path.name for path in rows.iterdir()) if rows.is_dir() else []
        found = [int(name[:6]) for name in names if _SLICE.fullmatch(name)]
        if found and found[-1] >= self.identity.num_slices:
            raise InputError(
                f"this run has only {self.identity.num_slices} slices",
                where=self.slice_path(found[-1]),
                remedy="This file is from another run: delete it.",
            )
        return found

    def missing_slices(self) -> list[int]:
        """Numbers of the slices that are not finished, ascending."""
        return sorted(set(range(self.identity.num_slices)) - set(self.finished_slices()))

    def slice_path(self, index: int) -> AnyPath:
        """The file of one slice."""
        return self.folder / ROWS_FOLDER / f"{index:06d}.parquet"

    def write_slice(
        self,
        index: int,
        rows: pa.Table,
        unreadable: Sequence[tuple[str, str]] = (),
        image_hashes: Mapping[str, str] | None = None,
    ) -> None:
        """Write one slice atomically; the same rows give the same bytes.

        Its hash is recorded first: a kill may leave a hash without a file, which is a missing
        slice, but never a file without a hash.

        Args:
            index: Number of the slice.
            rows: Outcomes of its images under every condition, in `outcomes.SCHEMA`.
            unreadable: (image id, reason) of its images that could not be decoded.
            image_hashes: Hash of each decoded image, by its id.

        Raises:
            ValueError: The rows are not those of this slice; an error in the caller.
            OutputError: They cannot be written; slices finished before are kept.
        """
        note = SliceNote(
            run=self.identity.digest,
            index=index,
            num_rows=len(rows),
            unreadable=tuple(unreadable),
            image_hashes=dict(image_hashes or {}),
        )
        if not rows.schema.equals(SCHEMA):
            raise ValueError(f"slice {index}: the rows are not in SCHEMA")
        if flaw := self._count_flaw(note) or self._row_flaw(note, rows):
            raise ValueError(f"slice {index}: {flaw}")
        finished = f"{len(self.finished_slices())} of {self.identity.num_slices}"
        remedy = (
            f"{finished} slices are finished and kept: fix this, and rerun the same command "
            "to resume."
        )
        path = self.slice_path(index)
        data = slice_bytes(rows, note)
        with output_errors(path, remedy):
            self._record_sum(index, sha256_of(data))
            write_atomically(path, data)

    def rows(
        self,
        conditions: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        allow_partial: bool = False,
    ) -> pa.Table:
        """Outcome rows, slice by slice.

        Args:
            conditions: Names of the wanted conditions; None for all.
            columns: Names of the wanted columns; None for all.
            allow_partial: Whether to return the rows of an unfinished run.

        Raises:
            InputError: The run is unfinished, lacks a condition, or has a damaged slice.
        """
        if not allow_partial:
            self.refuse_unfinished()
        self._refuse_unknown(conditions or ())
        names = SCHEMA.names if columns is None else list(columns)
        tables = []
        # Listed before the hashes are read: a hash is recorded before its file exists.
        finished = self.finished_slices()
        for note, table in self._read_slices(finished):
            index = note.index
            if flaw := self._count_flaw(note) or self._row_flaw(note, table):
                raise damaged(self.slice_path(index), flaw)
            if conditions is not None:
                wanted = pa.array(list(conditions), pa.string())
                table = table.filter(pc.is_in(table["condition"], value_set=wanted))
            tables.append(table.select(names))
        return pa.concat_tables([SCHEMA.empty_table().select(names), *tables])

    def unchecked_rows(self) -> pa.Table:
        """All rows of files with the recorded hashes; their values are left to the caller to
        check, who can then list every flaw.
        """
        tables = [table for _, table in self._read_slices(self.finished_slices())]
        return pa.concat_tables([SCHEMA.empty_table(), *tables])

    def refuse_unfinished(self) -> None:
        """Raise InputError if slices are missing."""
        if missing := self.missing_slices():
            raise InputError(
                f"{len(missing)} of {self.identity.num_slices} slices are missing",
                where=self.folder,
                remedy="Rerun the command that started this run to finish it.",
            )

    def slice_times(self) -> dict[int, float]:
        """When each finished slice was written, in seconds since 1970, by the store's clock."""
        finished, rows = self.finished_slices(), self.folder / ROWS_FOLDER
        if isinstance(rows, RemotePath):
            times = rows.times()
            return {index: times.get(self.slice_path(index).name, 0.0) for index in finished}
        return {index: self.slice_path(index).stat().st_mtime for index in finished}

    def notes(self) -> list[SliceNote]:
        """The note in each finished slice, in order.

        Raises:
            InputError: A slice is damaged, or belongs to another run.
        """
        return [note for _, note in self._read_notes(self.finished_slices())]

    def unreadable(self) -> list[tuple[str, str]]:
        """(image id, reason) of every image that was skipped, in the dataset's order."""
        return [pair for note in self.notes() for pair in note.unreadable]

    def image_hashes(self) -> dict[str, str]:
        """Hash of every decoded image by its id, from `evaluation.loading.image_hash`."""
        return {key: one for note in self.notes() for key, one in note.image_hashes.items()}

    def record_start(self, provenance: Mapping[str, Any]) -> None:
        """Append one line to provenance.jsonl.

        Raises:
            OutputError: It cannot be written.
        """
        path = self.folder / PROVENANCE_FILE
        with output_errors(path), in_turn(self.folder):
            append_record(path, provenance)

    def starts(self) -> list[dict[str, Any]]:
        """The provenance of every start, the first one first."""
        return read_records(self.folder / PROVENANCE_FILE)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Name and content of every file that belongs to the run, as on a disk."""
        yield RUN_FILE, (self.folder / RUN_FILE).read_bytes()
        for name in (PROVENANCE_FILE, SUMS_FILE):
            if lines := [line for line in read_lines(self.folder / name) if line]:
                yield name, "".join(f"{line}\n" for line in lines).encode()
        for index in self.finished_slices():
            yield f"{ROWS_FOLDER}/{index:06d}.parquet", self.slice_path(index).read_bytes()

    def discard(self) -> None:
        """Remove a run without a finished slice, and its folder if nothing else is in it.

        Not in a store, where another process may have joined meanwhile.
        """
        if isinstance(self.folder, RemotePath) or self.finished_slices():
            return
        with output_errors(self.folder):
            for name in (SUMS_FILE, PROVENANCE_FILE, RUN_FILE, FAILURES_FILE):
                (self.folder / name).unlink(missing_ok=True)
            for folder in (self.folder / ROWS_FOLDER, self.folder):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def _sums(self) -> dict[AnyPath, str]:
        """SHA-256 of each slice; of several lines the last one counts, torn ones do not."""
        path = self.folder / SUMS_FILE
        try:
            lines = read_lines(path)
        except RemoteError:
            raise
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", where=path) from error
        sums = filter(None, map(FileSum.parse, lines))
        return {self.folder / file_sum.path: file_sum.sha256 for file_sum in sums}

    def _record_sum(self, index: int, sha256: str) -> None:
        path = self.slice_path(index)
        with in_turn(self.folder):
            if isinstance(path, RemotePath) or self._sums().get(path) != sha256:
                line = str(FileSum(sha256, f"{ROWS_FOLDER}/{path.name}"))
                append_line(self.folder / SUMS_FILE, line, name=path.name)

    def _read_notes(self, indices: Sequence[int]) -> Iterator[tuple[bytes, SliceNote]]:
        sums, paths = self._sums(), [self.slice_path(index) for index in indices]
        contents = read_files(paths, MOST_SLICE_BYTES)
        for index, path, content in zip(indices, paths, contents, strict=True):
            data = checked_bytes(path, content, sums.get(path))
            yield data, self._checked_note(index, data)

    def _checked_note(self, index: int, data: bytes) -> SliceNote:
        path = self.slice_path(index)
        note = read_note(data, path)
        if note.run != self.identity.digest:
            raise InputError(
                f"is of another run than {RUN_FILE} describes",
                where=path,
                remedy=f"If {RUN_FILE} was changed, restore it. Otherwise delete this file and "
                "rerun the command that started the run.",
            )
        if note.index != index:
            raise damaged(path, f"it is slice {note.index}")
        return note

    def _read_slices(self, indices: Sequence[int]) -> Iterator[tuple[SliceNote, pa.Table]]:
        for data, note in self._read_notes(indices):
            yield note, read_rows(data, self.slice_path(note.index))

    def _count_flaw(self, note: SliceNote) -> str | None:
        """What is wrong with the numbers of rows and of skipped images, or None."""
        if note.unreadable and self.identity.on_unreadable == "stop":
            return "images were skipped, and this run stops at unreadable images"
        expected = self._images_in(note) * len(self.identity.conditions)
        return None if note.num_rows == expected else f"{note.num_rows} rows, not {expected}"

    def _row_flaw(self, note: SliceNote, rows: pa.Table) -> str | None:
        """What is wrong with the rows of a slice, or None."""
        logits = self.identity.num_outputs or flaws.UNKNOWN_CLASSES
        return (
            flaws.completeness_flaw(rows, self.identity.conditions, self._images_in(note))
            or (None if self.identity.dataset.get("right_labels") else flaws.label_flaw(rows))
            or flaws.label_range_flaw(rows, int(self.identity.dataset["num_classes"]))
            or flaws.skipped_flaw(rows, [image_id for image_id, _ in note.unreadable])
            or next(filter(None, flaws.row_flaws(rows, logits).values()), None)
        )

    def _images_in(self, note: SliceNote) -> int:
        return len(self.identity.images_of(note.index)) - len(note.unreadable)

    def _refuse_unknown(self, conditions: Sequence[str]) -> None:
        if unknown := [name for name in conditions if name not in self.identity.conditions]:
            raise InputError(
                f"this run has no condition {', '.join(map(repr, unknown))}",
                where=self.folder,
                remedy=f"It has {', '.join(self.identity.conditions)}.",
            )


def _refuse_appended(folder: RemotePath) -> None:
    """Refuse to go on with a run that was copied from a disk into a store."""
    for name in (SUMS_FILE, PROVENANCE_FILE, FAILURES_FILE):
        if (folder / name).is_file():
            raise InputError(
                "is one file, as on a disk, and a store cannot append to it",
                where=folder / name,
                remedy="Finish the run on a disk, and copy it again.",
            )


def _is_fresh(folder: AnyPath) -> bool:
    """Whether a run may start here: nothing exists, or only what a killed start leaves."""
    if isinstance(folder, RemotePath) and (folder / RUN_FILE).is_file():  # without listing all
        return False
    if not folder.exists():
        return True
    if not folder.is_dir():
        raise InputError(
            "is a file, not a folder", where=folder, remedy="Choose another folder."
        )
    try:
        if isinstance(folder, RemotePath):
            names = set(folder.names_below())
        else:
            names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
        names = {
            name
            for name in names
            if name.partition("/")[0] not in (WRITERS_FOLDER, FAILURES_FILE)
        }
    except RemoteError:
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=folder) from error
    if RUN_FILE in names:
        return False
    leftovers = {path.name for path in temporaries_of(folder)}
    if foreign := sorted(names - leftovers - {ROWS_FOLDER, LOCK_FILE}):
        raise InputError(
            f"is not empty and not a run folder (it holds {foreign[0]})",
            where=folder,
            remedy="Choose an empty or new folder.",
        )
    return True
