"""A CSV or TSV file that lists images and their labels in named columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from noctule.data import imagenet
from noctule.data.files import FileDataset, base_name, missing_path, printable, some
from noctule.data.labels import classes_of
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError, nearest
from noctule.input_files import MAX_LIST_BYTES, reject_large_files, reject_special_files

IMAGE_COLUMNS: Final = (
    "path", "file", "filename", "file_name", "file_path", "filepath", "image", "image_path",
    "image_file", "img", "img_path", "imageid", "image_id",
)  # fmt: skip
"""Names, in lower case, of columns that hold the images' paths."""
LABEL_COLUMNS: Final = (
    "label", "labels", "class", "class_name", "class_id", "classname", "category", "target",
    "wnid", "label_id", "label_name",
)  # fmt: skip
"""Names, in lower case, of columns that hold the labels."""

_SUFFIXES: Final = {".csv": ",", ".tsv": "\t"}


def _is_table(request: DataRequest) -> bool:
    return request.path.suffix.lower() in _SUFFIXES and request.path.is_file()


@data_source(
    "table",
    ("FILE.csv?image=COLUMN&label=COLUMN", "a CSV or TSV list of image files; root=FOLDER"),
    claims=_is_table,
    opens_paths=True,
    options=("image", "label", "id", "root"),
)
def open_listed(request: DataRequest) -> FileDataset:
    """The images that a CSV or TSV file lists; see `open_table`."""
    return open_table(request.path, request.options)


def open_table(file: Path, options: Mapping[str, str] | None = None) -> FileDataset:
    """Open the images that a CSV or TSV file lists, in its order.

    The first line names the columns. Paths of images are absolute, or relative to the root.
    The ids are the paths as they are in the file, unless a column holds others.

    Args:
        file: File with commas (or semicolons) for .csv, or tabs for .tsv.
        options: `image` and `label`: columns of paths and labels; by default the only one with
            a usual name (`IMAGE_COLUMNS`, `LABEL_COLUMNS`). `id`: column of the ids. `root`:
            folder that paths are relative to; by default the file's.

    Raises:
        InputError: The file cannot be read, lacks a column (its header is named) or a value
            (the line is named), or lists images that do not exist.
    """
    options = options or {}
    header, rows = _read(file)
    image = chosen_column(header, options.get("image"), "image", IMAGE_COLUMNS, file)
    label = chosen_column(header, options.get("label"), "label", LABEL_COLUMNS, file)
    key = chosen_column(header, options.get("id", image), "id", (), file)
    names = [_path(row[header.index(image)], line, file) for line, row in rows]
    ids = [printable(row[header.index(key)].replace("\\", "/")) for _, row in rows]
    labels = [row[header.index(label)].strip() for _, row in rows]
    if not names:
        raise InputError("lists no images", where=file)
    root = Path(options.get("root", file.absolute().parent))
    _check_files(root, names, file)
    class_names, indices = classes_of(labels, names, file)
    return FileDataset(
        base_name(file),
        class_names,
        root,
        names,
        indices,
        ids=ids,
        domain=imagenet.domain_of(names, class_names, indices.tolist()),
    )


def chosen_column(
    header: Sequence[str], name: str | None, role: str, usual: Sequence[str], where: object
) -> str:
    """The column with a role: the one that an option names, or the only one of a usual name.

    Args:
        header: Names of all columns.
        name: Name from the user, or None.
        role: "image", "label" or "id": the name of the option.
        usual: Usual names, in lower case.
        where: The file, for the message.

    Raises:
        InputError: There is no such column, or there are several.

    >>> chosen_column(["Path", "species"], None, "image", IMAGE_COLUMNS, "list.csv")
    'Path'
    """
    columns = ", ".join(header)
    if name is not None:
        if name in header:
            return name
        guess = nearest(name, header)
        hint = f"Did you mean '{guess}'? " if guess else ""
        what = f"has no column '{name}'"
        raise InputError(what, where=where, remedy=f"{hint}Its columns are: {columns}.")
    matches = [column for column in header if column.lower() in usual]
    if len(matches) == 1:
        return matches[0]
    many = f"has {len(matches)} columns that may be the {role}: {', '.join(matches)}"
    raise InputError(
        many if matches else f"has no column with a usual name for the {role}",
        where=where,
        remedy=f"Its columns are: {columns}. Choose one: '{where}?{role}=COLUMN'.",
    )


def read_columns(file: Path, names: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of some columns in each row of a CSV or TSV file, without surrounding spaces.

    Raises:
        InputError: The file cannot be read, lacks a column, or has an empty value.
    """
    header, rows = _read(file)
    positions = [header.index(chosen_column(header, name, name, (), file)) for name in names]
    found = []
    for line, row in rows:
        values = tuple(row[position].strip() for position in positions)
        if "" in values:
            what = f"has no {names[values.index('')]}"
            raise InputError(what, where=f"{file}, line {line}")
        found.append(values)
    return found


def _read(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the line number and fields of each row."""
    reject_special_files(file)
    try:
        reject_large_files(file, MAX_LIST_BYTES)
        with file.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            delimiter = _SUFFIXES[file.suffix.lower()]
            if delimiter == "," and "," not in first and ";" in first:
                delimiter = ";"
            stream.seek(0)
            rows = list(_rows(stream, delimiter, file))
    except FileNotFoundError as error:
        raise missing_path(file, "file") from error
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=file, remedy="Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"cannot be read: {error}", where=file) from error
    if not rows:
        raise InputError("is empty", where=file, remedy="The first line names the columns.")
    return _header(rows[0][1], file), rows[1:]


def _header(fields: Sequence[str], file: Path) -> list[str]:
    header = [name.strip() for name in fields]
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise InputError(f"has two columns '{repeated[0]}'", where=file)
    return header


def _rows(stream: Iterator[str], delimiter: str, file: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    expected = None
    for row in reader:
        if row and expected is not None and len(row) != expected:
            raise InputError(
                f"has {len(row)} fields, and the first line {expected}",
                where=f"{file}, line {reader.line_num}",
                remedy=f"Put fields that contain '{delimiter}' in double quotes.",
            )
        if row:
            expected = len(row)
            yield reader.line_num, row


def _path(text: str, line: int, file: Path) -> str:
    name = text.strip().replace("\\", "/")
    if not name or "\0" in name:
        raise InputError("has no path of an image", where=f"{file}, line {line}")
    return name


def _check_files(root: Path, names: Sequence[str], file: Path) -> None:
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(names)} images do not exist below {root}: "
            f"{some(list(map(printable, missing)), most=2)}",
            where=file,
            remedy=f"Correct the paths, or name their folder: '{file}?root=FOLDER'.",
        )
