"""A run folder: created or resumed, written slice by slice, read back as rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from noctule.errors import InputError
from noctule.outcomes import SCHEMA
from noctule.store.disk import (
    append_line,
    damaged,
    output_errors,
    parquet_bytes,
    read_lines,
    read_rows,
    read_summary,
    temporaries_of,
    write_atomically,
)
from noctule.store.identity import RUN_FILE, RunIdentity, read_identity, refuse_other

PROVENANCE_FILE = "provenance.jsonl"
ROWS_FOLDER = "rows"


@dataclass(frozen=True)
class RunStore:
    """One run folder.

    Make one with `create_or_resume` (to write) or `open` (to read).
    """

    folder: Path
    identity: RunIdentity

    @classmethod
    def create_or_resume(cls, folder: str | Path, identity: RunIdentity) -> RunStore:
        """Start a run, or go on with one of the same identity.

        Raises:
            InputError: the folder holds another run (every differing key is listed with both
                values), or something that is not a run, or a damaged slice.
            OutputError: the folder cannot be written.
        """
        folder = Path(folder)
        fresh = _is_fresh(folder)
        with output_errors(folder):
            (folder / ROWS_FOLDER).mkdir(parents=True, exist_ok=True)
            if fresh:
                text = json.dumps(identity.to_dict(), indent=2) + "\n"
                write_atomically(folder / RUN_FILE, text.encode())
        store = cls.open(folder)
        refuse_other(store.identity.to_dict(), identity.to_dict(), folder)
        with output_errors(folder):
            for path in _leftovers(folder):
                path.unlink(missing_ok=True)
        return store

    @classmethod
    def open(cls, folder: str | Path) -> RunStore:
        """A run folder to read from, complete or not.

        Raises:
            InputError: not a run folder, one written by a newer noctule, or a damaged slice.
        """
        store = cls(Path(folder), read_identity(Path(folder)))
        store.unreadable()  # reads every footer
        return store

    def finished_slices(self) -> list[int]:
        """Numbers of the slices that are there, ascending."""
        rows = self.folder / ROWS_FOLDER
        names = sorted(path.name for path in rows.iterdir()) if rows.is_dir() else []
        found = [int(name[:6]) for name in names if re.fullmatch(r"\d{6}\.parquet", name)]
        if found and found[-1] >= self.identity.num_slices:
            raise InputError(
                f"this run has only {self.identity.num_slices} slices",
                where=self.slice_path(found[-1]),
                remedy="This file is from another run: delete it.",
            )
        return found

    def missing_slices(self) -> list[int]:
        """Numbers of the slices still to be computed, ascending."""
        return sorted(set(range(self.identity.num_slices)) - set(self.finished_slices()))

    def slice_path(self, index: int) -> Path:
        """Where one slice is kept."""
        return self.folder / ROWS_FOLDER / f"{index:06d}.parquet"

    def write_slice(
        self, index: int, rows: pa.Table, unreadable: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Keep one slice, atomically; the same rows give the same bytes.

        Args:
            index: number of the slice.
            rows: outcomes of every condition of its images, in `outcomes.SCHEMA`.
            unreadable: (image id, reason) of its images that could not be decoded.

        Raises:
            ValueError: the rows are not those of this slice; an error in the caller.
            OutputError: they cannot be written; the slices finished before are kept.
        """
        expected = self._expected_rows(index, len(unreadable))
        if not rows.schema.equals(SCHEMA) or len(rows) != expected:
            raise ValueError(
                f"slice {index}: {len(rows)} rows for {expected}, or not in SCHEMA"
            )
        kept = f"{len(self.finished_slices())} of {self.identity.num_slices}"
        remedy = (
            f"{kept} slices are finished and kept: mend this and give the same command again "
            "to go on from there."
        )
        with output_errors(self.slice_path(index), remedy):
            write_atomically(self.slice_path(index), parquet_bytes(rows, unreadable))

    def rows(
        self,
        conditions: Sequence[str] | None = None,
        *,
        columns: Sequence[str] | None = None,
        allow_partial: bool = False,
    ) -> pa.Table:
        """Outcome rows, slice by slice.

        Args:
            conditions: names of the conditions wanted; None is all.
            columns: names of the columns wanted; None is all. Only these are read.
            allow_partial: give what is there of an unfinished run.

        Raises:
            InputError: the run is unfinished, lacks a condition, or has a damaged slice.
        """
        if (missing := self.missing_slices()) and not allow_partial:
            raise InputError(
                f"{len(missing)} of {self.identity.num_slices} slices are missing",
                where=self.folder,
                remedy="Give the command that started this run again to finish it.",
            )
        self._refuse_unknown(conditions or ())
        names = SCHEMA.names if columns is None else list(columns)
        tables = [self._read_slice(one, conditions, names) for one in self.finished_slices()]
        empty = SCHEMA.empty_table().select(names)
        return pa.concat_tables([empty, *tables])

    def unreadable(self) -> list[tuple[str, str]]:
        """(image id, reason) of every image that was skipped, in the dataset's order."""
        return [pair for index in self.finished_slices() for pair in self._unreadable_in(index)]

    def record_start(self, provenance: Mapping[str, Any]) -> None:
        """Append one line to provenance.jsonl.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / PROVENANCE_FILE
        with output_errors(path):
            append_line(path, provenance)

    def starts(self) -> list[dict[str, Any]]:
        """The provenance of every start, the first one first."""
        return read_lines(self.folder / PROVENANCE_FILE)

    def _unreadable_in(self, index: int) -> list[tuple[str, str]]:
        summary = read_summary(self.slice_path(index))
        expected = self._expected_rows(index, len(summary.unreadable))
        if summary.num_rows != expected:
            raise damaged(
                self.slice_path(index), f"{summary.num_rows} rows where {expected} are due"
            )
        return summary.unreadable

    def _expected_rows(self, index: int, num_unreadable: int) -> int:
        images = len(self.identity.images_of(index)) - num_unreadable
        return images * len(self.identity.conditions)

    def _read_slice(
        self, index: int, conditions: Sequence[str] | None, columns: Sequence[str]
    ) -> pa.Table:
        if conditions is None:
            return read_rows(self.slice_path(index), columns)
        # Columns must be distinct, and the filter needs its own.
        needed = dict.fromkeys([*columns, "condition"])
        table = read_rows(self.slice_path(index), list(needed))
        wanted = pa.array(list(conditions), pa.string())
        return table.filter(pc.is_in(table["condition"], value_set=wanted)).select(columns)

    def _refuse_unknown(self, conditions: Sequence[str]) -> None:
        if unknown := [name for name in conditions if name not in self.identity.conditions]:
            raise InputError(
                f"this run has no condition {', '.join(map(repr, unknown))}",
                where=self.folder,
                remedy=f"It has {', '.join(self.identity.conditions)}.",
            )


def _is_fresh(folder: Path) -> bool:
    """Whether a run may start here: nothing there, or what a start that was killed leaves."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        raise InputError(
            "is a file, not a folder", where=folder, remedy="Choose another folder."
        )
    try:
        names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=folder) from error
    if RUN_FILE in names:
        return False
    leftovers = {path.relative_to(folder).as_posix() for path in _leftovers(folder)}
    if foreign := sorted(names - leftovers - {ROWS_FOLDER}):
        raise InputError(
            f"is not empty and not a run folder (it holds {foreign[0]})",
            where=folder,
            remedy="Choose an empty or new folder.",
        )
    return True


def _leftovers(folder: Path) -> list[Path]:
    slices = temporaries_of(folder / ROWS_FOLDER, "*.parquet")
    return [*temporaries_of(folder, RUN_FILE), *slices]
