"""Run folders changed by somebody who recomputes every hash, as damage alone cannot."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

KEY = b"noctule"


def note_of(path: Path) -> dict[str, Any]:
    """What a slice says of itself."""
    note: dict[str, Any] = json.loads(pq.read_metadata(path).metadata[KEY])
    return note


def write_slice(
    path: Path, table: pa.Table, *, use_dictionary: bool = True, **note: Any
) -> None:
    """Other rows in the file of a slice, which says what it said, but for changes."""
    said = note_of(path) | {"num_rows": len(table)} | note
    pq.write_table(
        table.replace_schema_metadata({KEY: json.dumps(said).encode()}),
        path,
        compression="zstd",
        row_group_size=max(1, len(table)),
        write_page_checksum=True,
        use_dictionary=use_dictionary,
    )


def seal(run: Path, *, again: bool = True) -> None:
    """Write every slice again, for the run.json there is, and then the hashes of all slices."""
    record = json.loads((run / "run.json").read_text())
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    lines = []
    for path in sorted((run / "rows").glob("*.parquet")):
        if again:
            write_slice(path, pq.read_table(path), run=digest)
        lines.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  rows/{path.name}\n")
    (run / "SHA256SUMS").write_text("".join(lines))
