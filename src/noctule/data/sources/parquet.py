"""Parquet and Arrow files with encoded images in a column, as Hugging Face stores them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from noctule.data import imagenet
from noctule.data.dataset import WHITE, class_index
from noctule.data.encoded import EncodedDataset
from noctule.data.files import (
    SPLIT_NAMES,
    base_name,
    is_folder,
    listing,
    missing_path,
    printable,
)
from noctule.data.labels import classes_of
from noctule.data.registry import DataRequest, data_source
from noctule.data.sources.table import LABEL_COLUMNS, chosen_column
from noctule.errors import InputError, shown, unknown_name
from noctule.input_files import reject_special_files

_SUFFIXES: Final = (".parquet", ".arrow")
_SHARD: Final = re.compile(r"(.+)-\d{5}-of-\d{5}")
_MOST_FOLDERS: Final = 16  # that are searched for files, so that class folders are not
_ROWS_AT_ONCE: Final = 16
_BUFFER_BYTES: Final = 2**20


class _Group(NamedTuple):
    """Rows that are read in sequence.

    Attributes:
        file: Number of the file.
        number: Number of the group in the file.
        first: Number of its first row in the dataset.
        rows: Number of rows.
    """

    file: int
    number: int
    first: int
    rows: int


class _ParquetFile:
    """A Parquet file, whose groups are its row groups."""

    def __init__(self, file: Path) -> None:
        from pyarrow import parquet

        # With a buffer, a column of a row group is not read into memory as a whole.
        self._file = parquet.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        self.schema = self._file.schema_arrow
        metadata = self._file.metadata
        self.rows = [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]

    def column(self, leaf: str) -> Any:
        """The values of a column, or of a field such as "image.path" in a structure."""
        return self._file.read(columns=[leaf], use_threads=False).column(0)

    def batches(self, leaf: str, group: int) -> Iterator[Any]:
        """The values of a column in one group, a few at a time."""
        batches = self._file.iter_batches(
            _ROWS_AT_ONCE, row_groups=[group], columns=[leaf], use_threads=False
        )
        return (batch.column(0) for batch in batches)

    def size(self, leaf: str, group: int) -> int:
        """Size in bytes of a column in one group."""
        columns = self._file.metadata.row_group(group)
        each = [columns.column(k) for k in range(columns.num_columns)]
        return sum(c.total_uncompressed_size for c in each if c.path_in_schema == leaf)


class _ArrowFile:
    """An Arrow file or stream, memory-mapped, whose groups are its record batches."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        source = pa.memory_map(str(file))
        try:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(k) for k in range(reader.num_record_batches)]
        except pa.ArrowInvalid:
            reader = pa.ipc.open_stream(source)
            batches = list(reader)
        self.schema = reader.schema
        self._batches = batches
        self.rows = [batch.num_rows for batch in batches]

    def column(self, leaf: str) -> Any:
        """See `_ParquetFile.column`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = pa.Table.from_batches(self._batches, self.schema)
        if leaf in self.schema.names:
            return table.column(leaf)
        name, _, key = leaf.rpartition(".")
        return pa.chunked_array(
            [
                pa.StructArray.from_arrays([pc.struct_field(chunk, key)], [key])
                for chunk in table.column(name).chunks
            ]
        )

    def batches(self, leaf: str, group: int) -> Iterator[Any]:
        """See `_ParquetFile.batches`."""
        name = leaf if leaf in self.schema.names else leaf.rpartition(".")[0]
        yield self._batches[group].column(name)

    def size(self, leaf: str, group: int) -> int:
        """See `_ParquetFile.size`."""
        import pyarrow.compute as pc

        (column,) = self.batches(leaf, group)
        binary = pc.struct_field(column, "bytes") if leaf not in self.schema.names else column
        return int(pc.sum(pc.binary_length(binary)).as_py() or 0)


class ParquetDataset(EncodedDataset):
    """The images in the rows of Parquet or Arrow files.

    Reading in order costs least: rows are read in sequence, a few at a time.

    Args:
        files: The files.
        groups: Groups of rows, in order.
        column: Path of the column of encoded images, such as "image.bytes".
        column_sizes: Sizes of the column's parts in bytes, for the fingerprint.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        ids: Sequence[str],
        labels: Any,
        *,
        files: Sequence[Path],
        groups: Sequence[_Group],
        column: str,
        column_sizes: Sequence[int],
        domain: str | None,
    ) -> None:
        self._files = tuple(file.absolute() for file in files)
        self._groups = tuple(groups)
        self._firsts = np.array([group.first for group in groups])
        self._column = column
        self._column_sizes = tuple(column_sizes)
        self._reader: _Reader | None = None
        sizes = [0] * len(ids)  # not known before the images are read
        super().__init__(name, class_names, ids, labels, sizes=sizes, domain=domain)

    def encoded(self, index: int) -> bytes:
        """See `EncodedDataset.encoded`."""
        group = self._group(index)
        row = index - group.first
        reader = self._reader
        # Forked processes do not share a reader.
        if reader is None or reader.owner != (os.getpid(), group) or row < reader.start:
            reader = self._reader = _Reader(self._files[group.file], group, self._column)
        value = reader.row(row)
        if value is None:
            raise ValueError("the row holds no image")
        return bytes(value)

    def content(self) -> Iterator[bytes]:
        """The rows of each group and the size of its images; and the background."""
        if self.background != WHITE:
            yield f"background {self.background}\n".encode()
        for size in (*(group.rows for group in self._groups), *self._column_sizes):
            yield f"{size}\n".encode()

    def file(self, index: int) -> Path:
        """See `EncodedDataset.file`."""
        return self._files[self._group(index).file]

    def _group(self, index: int) -> _Group:
        return self._groups[int(np.searchsorted(self._firsts, index, "right")) - 1]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_reader": None}


class _Reader:
    """Reads the rows of one group in sequence, holding a few at a time.

    Attributes:
        owner: Process and group.
        start: Number of the first row that is held.
    """

    def __init__(self, file: Path, group: _Group, column: str) -> None:
        self.owner = (os.getpid(), group)
        self.start = 0
        self._values: Any = ()
        self._batches = _open(file).batches(column, group.number)

    def row(self, row: int) -> bytes | None:
        """The value of a row, which is not before `start`."""
        while row >= self.start + len(self._values):
            self.start += len(self._values)
            self._values = next(self._batches)
        value = self._values[row - self.start].as_py()
        data: bytes | None = value.get("bytes") if isinstance(value, dict) else value
        return data


def _is_parquet(request: DataRequest) -> bool:
    path = request.path
    if path.suffix.lower() in _SUFFIXES and not path.is_dir():
        return path.exists()
    return request.labels_file is None and path.is_dir() and bool(_files(path))


@data_source(
    "parquet",
    ("FILE.parquet or FOLDER?split=NAME", "Parquet or Arrow with images, as of Hugging Face"),
    claims=_is_parquet,
    opens_paths=True,
    options=("image", "label", "id", "split"),
)
def open_tables(request: DataRequest) -> ParquetDataset:
    """The images in Parquet or Arrow files; see `open_parquet`."""
    return open_parquet(request.path, request.options)


def open_parquet(path: Path, options: Mapping[str, str] | None = None) -> ParquetDataset:
    """Open a Parquet or Arrow file, or a folder of such files, sorted by name.

    Images are the content of image files, in a binary column or a structure with the field
    "bytes". Names of classes are those in Hugging Face's metadata of the label column.
    The ids are the column that `id` names, or the field "path" of the images if all differ,
    or else "SPLIT/000000" and so on, in order.

    Args:
        path: The file or folder.
        options: `image`, `label`, `id`: columns; by default the only one of the kind.
            `split`: split to use, if the folder has several; files or subfolders name it.

    Raises:
        InputError: A file is damaged, the files differ in their columns, a column is missing or
            lacks values, or the folder has several splits of which none is chosen.
    """
    options = options or {}
    files, split = _split_files(path, options.get("split"))
    name = base_name(path) + (f"/{split}" if split else "")
    return open_table_files(files, options, split=split, name=name, where=path)


def open_table_files(
    files: Sequence[Path],
    options: Mapping[str, str],
    *,
    split: str,
    name: str,
    where: object,
    features: Mapping[str, Any] | None = None,
) -> ParquetDataset:
    """Open Parquet or Arrow files of one dataset, in order; see `open_parquet`.

    Args:
        files: The files.
        options: `image`, `label`, `id`: columns.
        split: Name of the split, for the ids.
        name: Name of the dataset.
        where: Path or name of the dataset, for messages.
        features: Hugging Face's description of the columns, by name; None for the files' own.
    """
    tables = [_open(file) for file in files]
    schema = tables[0].schema
    for file, table in zip(files, tables, strict=True):
        if table.schema.names != schema.names or table.schema.types != schema.types:
            raise InputError(f"has other columns than {files[0].name}", where=file)
    image = _image_column(schema, options.get("image"), where)
    features = _features(schema) if features is None else features
    label = _label_column(schema, features, options.get("label"), where)
    groups = list(_groups(tables))
    if not groups:
        raise InputError("has no rows", where=where)
    ids = _ids(tables, image, options.get("id"), split, where)
    class_names, labels = classes_of(_texts(tables, label, where), ids, where)
    names = features.get(label, {}).get("names")
    if isinstance(names, list) and class_index(class_names[0]) is not None:
        class_names = [str(one) for one in names]
    return ParquetDataset(
        name,
        class_names,
        ids,
        labels,
        files=files,
        groups=groups,
        column=image,
        column_sizes=[
            table.size(image, group) for table in tables for group in range(len(table.rows))
        ],
        domain=imagenet.domain_of(ids, class_names, labels.tolist()),
    )


def _files(folder: Path) -> list[Path]:
    """The Parquet or Arrow files of a folder, or else of its subfolders, sorted."""
    patterns = ["*"]
    if sum(map(is_folder, listing(folder))) <= _MOST_FOLDERS:
        patterns += ["*/*", "*/*/*"]
    for pattern in patterns:
        files = [path for path in folder.glob(pattern) if path.suffix.lower() in _SUFFIXES]
        # The package `datasets` keeps intermediate results beside the data.
        if files := [path for path in files if not path.name.startswith(("cache-", "."))]:
            return sorted(files)
    return []


def _split_files(path: Path, split: str | None) -> tuple[list[Path], str]:
    """The files of a split, and its name; the name is empty if nothing names it."""
    if not path.exists():
        raise missing_path(path, "file or folder")
    if not path.is_dir():
        if split is not None:
            raise InputError("is one file, and only folders have splits", where=path)
        return [path], ""
    splits: dict[str, list[Path]] = {}
    is_dict = (path / "dataset_dict.json").exists()  # saved by `datasets`: a folder per split
    for file in _files(path):
        name = file.relative_to(path).parts[0] if is_dict else _split_of(file, path)
        splits.setdefault(name, []).append(file)
    if not splits:
        raise InputError("has no Parquet or Arrow files", where=path)
    if split is None and len(splits) > 1:
        raise InputError(
            f"has several splits: {', '.join(sorted(splits))}",
            where=path,
            remedy=f"Choose one of them: '{path}?split={sorted(splits)[-1]}'.",
        )
    chosen = next(iter(splits)) if split is None else split
    if chosen not in splits:
        raise unknown_name("split", chosen, splits, where=path)
    return splits[chosen], chosen


def _split_of(file: Path, root: Path) -> str:
    """The split of a file, by its name or that of its folder; empty if they name none.

    >>> [_split_of(Path(name), Path()) for name in ("test-00000-of-00002.parquet", "x.arrow")]
    ['test', '']
    >>> [_split_of(Path(name), Path()) for name in ("birds-train.arrow", "val/0000.parquet")]
    ['train', 'val']
    """
    shard = _SHARD.fullmatch(file.stem)
    last = (shard[1] if shard else file.stem).rpartition("-")[2]
    if last in SPLIT_NAMES or (shard and last != "data"):
        return last
    folders = file.relative_to(root).parts[:-1]
    return next((name for name in folders[::-1] if name in SPLIT_NAMES), "")


def _open(file: Path) -> _ParquetFile | _ArrowFile:
    import pyarrow as pa

    reject_special_files(file)
    try:
        return _ParquetFile(file) if file.suffix.lower() == ".parquet" else _ArrowFile(file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"is not a {file.suffix[1:]} file that can be read: {error}",
            where=file,
            remedy="Download it again.",
        ) from error


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """Hugging Face's description of the columns, by name; empty if there is none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {key: value for key, value in features.items() if isinstance(value, dict)}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _image_column(schema: Any, name: str | None, where: object) -> str:
    """The column with the content of image files; "image.bytes" for a field of a structure."""
    leaves = {}
    for column in schema:
        if _is_binary(column.type):
            leaves[column.name] = column.name
        elif _is_image(column.type):
            leaves[column.name] = f"{column.name}.bytes"
    if name in leaves:
        return str(leaves[name])
    if name is None and len(leaves) == 1:
        return str(next(iter(leaves.values())))
    what = f"has {len(leaves)} columns of encoded images" if name is None else (
        f"has no column '{name}' of encoded images"
    )  # fmt: skip
    columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
    raise InputError(
        what,
        where=where,
        remedy=f"Its columns are: {shown(columns)}. Choose one: '{where}?image=COLUMN'.",
    )


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_image(kind: Any) -> bool:
    from pyarrow import types

    index = kind.get_field_index("bytes") if types.is_struct(kind) else -1
    return index >= 0 and _is_binary(kind.field(index).type)


def _label_column(
    schema: Any, features: Mapping[str, dict[str, Any]], name: str | None, where: object
) -> str:
    marked = [key for key, one in features.items() if one.get("_type") == "ClassLabel"]
    if name is None and len(marked) == 1 and marked[0] in schema.names:
        return marked[0]
    return chosen_column(schema.names, name, "label", LABEL_COLUMNS, where)


def _groups(tables: Sequence[_ParquetFile | _ArrowFile]) -> Iterator[_Group]:
    first = 0
    for file, table in enumerate(tables):
        for index, rows in enumerate(table.rows):
            if rows:
                yield _Group(file, index, first, rows)
            first += rows


def _values(
    tables: Sequence[_ParquetFile | _ArrowFile], column: str, where: object
) -> list[Any]:
    """The values of a column in all files."""
    import pyarrow as pa

    try:
        return [value for table in tables for value in table.column(column).to_pylist()]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"its column '{column}' cannot be read: {error}",
            where=where,
            remedy="Download it again.",
        ) from error


def _texts(
    tables: Sequence[_ParquetFile | _ArrowFile], column: str, where: object
) -> list[str]:
    """A column as text; InputError if a value is missing."""
    values = _values(tables, column, where)
    if any(isinstance(value, list | dict | bytes) for value in values[:1]):
        kind = tables[0].schema.field(column).type
        raise InputError(f"its column '{column}' holds {kind}, not one label each", where=where)
    if None in values:
        raise InputError(
            f"its column '{column}' has no value in row {values.index(None)}", where=where
        )
    return [str(value).strip() for value in values]


def _ids(
    tables: Sequence[_ParquetFile | _ArrowFile],
    image: str,
    column: str | None,
    split: str,
    where: object,
) -> list[str]:
    schema = tables[0].schema
    if column is not None:
        name = chosen_column(schema.names, column, "id", (), where)
        return list(map(printable, _texts(tables, name, where)))
    paths: list[Any] = []
    if image not in schema.names:
        name = image.rpartition(".")[0]
        if schema.field(name).type.get_field_index("path") >= 0:
            paths = [row and row["path"] for row in _values(tables, f"{name}.path", where)]
    if paths and all(isinstance(path, str) and path for path in paths):
        ids = [printable(path) for path in paths]
        if len(set(ids)) == len(ids):
            return ids
    total = sum(sum(table.rows) for table in tables)
    return [f"{split}/{row:06d}" if split else f"{row:06d}" for row in range(total)]
