"""A flat folder of images with a labels file."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from noctule.data import devkit, imagenet
from noctule.data.dataset import class_index
from noctule.data.files import (
    FileDataset,
    LeftOut,
    base_name,
    is_folder,
    is_hidden,
    is_image_name,
    listing,
    missing_path,
    printable,
    some,
)
from noctule.data.labels import numbered_labels
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError
from noctule.input_files import MAX_LIST_BYTES, reject_large_files, reject_special_files

_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_QUOTED = re.compile(r'"((?:[^"]|"")+)"\s+(\S+)')
_SEPARATORS = (",", "\t", ";", " ")
_BOX_FIELDS = 4  # after name and label in Tiny-ImageNet's val_annotations.txt
_MAX_LABEL_LENGTH = 500
_SAMPLED_LINES = 2000
_DIGITS = re.compile(r"[+-]?\d{31,}")
_FORMS = (
    "Write one image per line, as 'name label' or 'name,label' (or with a tab or semicolon), "
    "where the label is a class index from 0, a WordNet id or a class name."
)


class _Line(NamedTuple):
    number: int
    name: str | None
    label: str


def _is_flat_folder(request: DataRequest) -> bool:
    return request.labels_file is not None and request.path.is_dir()


@data_source(
    "flat",
    ("FOLDER --labels FILE", "a flat folder; the file has a line 'name label' for each image"),
    claims=_is_flat_folder,
    opens_paths=True,
    takes_labels=True,
)
def open_with_labels(request: DataRequest) -> FileDataset:
    """The images of a flat folder with a labels file; see `open_flat`."""
    assert request.labels_file is not None
    return open_flat(request.path, request.labels_file)


def open_flat(folder: Path, labels_file: Path) -> FileDataset:
    """Open the images directly in a folder, sorted by name, labelled by a text or CSV file.

    A line of the labels file is "name label" or "name,label", or has a tab or a semicolon as
    separator; a name that contains separators may be in double quotes. Tiny-ImageNet's
    val_annotations.txt is supported. Images and lines are joined by name. In the file, the name
    may include folders, lack its suffix, or be in another Unicode normalisation form. A header
    line is skipped. The labels are either all class indices from 0, or all names, such as
    WordNet ids; the classes are then the names in the file, sorted. Lines for missing images
    are ignored; images without a line are an error.

    Lines with only a label are supported for ImageNet validation images only, in the order of
    the numbers in their names, and only with equal numbers of lines and images. The labels of
    these images may also be the folder of ImageNet's development kit (`noctule.data.devkit`).

    The domain is "imagenet-1k-val" if the names and the range of the labels match. There are
    then 1000 classes; otherwise the highest index determines their number.

    Raises:
        InputError: The folder has no images, the labels file cannot be read or parsed (the line
            is named), an image has no label or two, or labels of ImageNet images follow
            ImageNet's own class order.
    """
    left_out = LeftOut()
    names = _image_names(folder, labels_file, left_out)
    class_names, labels = labels_of(names, labels_file, folder)
    return FileDataset(
        base_name(folder),
        class_names,
        folder,
        names,
        labels,
        domain=imagenet.domain_of(names, class_names, labels),
        left_out=str(left_out),
    )


def labels_of(
    names: Sequence[str], labels_file: Path, folder: object
) -> tuple[list[str], list[int]]:
    """Class names, and the class index of each image of a flat folder; see `open_flat`."""
    if not names:
        raise InputError(
            "this folder contains no images for the labels file",
            where=folder,
            remedy="Use the folder that directly contains the images.",
        )
    keys = _keys(names)
    lines = _read_lines(labels_file, keys)
    if all(line.name is None for line in lines):
        label_of = _join_by_number(names, lines, labels_file)
    else:
        label_of = _join_by_name(names, keys, lines, labels_file)
    return _classes(names, label_of, lines, labels_file)


def _image_names(folder: Path, labels_file: Path, left_out: LeftOut) -> list[str]:
    """Sorted names of the images in a folder; other files are added to `left_out`."""
    names = []
    for entry in listing(folder):
        if is_folder(entry) or (folder / entry.name).absolute() == labels_file.absolute():
            continue
        if not is_image_name(entry.name):
            left_out.add_file(entry.name)
        elif is_hidden(entry.name):
            left_out.add_hidden(entry.name)
        else:
            names.append(entry.name)
    return names


def _read_lines(labels_file: Path, keys: Mapping[str, str]) -> list[_Line]:
    if wnids := devkit.ground_truth(labels_file):
        return [
            _Line(number, imagenet.validation_name(number), wnid)
            for number, wnid in enumerate(wnids, start=1)
        ]
    reject_special_files(labels_file)
    try:
        reject_large_files(labels_file, MAX_LIST_BYTES)
        text = labels_file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise missing_path(labels_file, "labels file") from error
    except UnicodeDecodeError as error:
        raise InputError("this is not a text file", where=labels_file, remedy=_FORMS) from error
    except OSError as error:
        raise InputError(
            f"cannot read the labels: {error.strerror}", where=labels_file
        ) from error
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]
    try:
        separator = _separator([line for _, line in numbered], keys)
        lines = [_parse(number, line, separator, labels_file) for number, line in numbered]
    except csv.Error as error:  # such as a huge field
        raise InputError(f"is not a labels file: {error}", where=labels_file) from error
    if not lines:
        raise InputError("this labels file is empty", where=labels_file, remedy=_FORMS)
    deviating = [line for line in lines if (line.name is None) != (lines[-1].name is None)]
    if deviating and deviating != lines[:1]:  # a header may differ
        message = "only some of the lines have a name"
        raise _line_error(deviating[-1].number, message, labels_file)
    return [line for line in lines if line not in deviating]


def _separator(lines: Sequence[str], keys: Mapping[str, str]) -> str:
    """The separator with which most names are those of images."""
    sample = lines[:: max(1, len(lines) // _SAMPLED_LINES)]

    def matches(separator: str) -> int:
        return sum(_key(_fields(line, separator)[0]) in keys for line in sample)

    counts = {separator: matches(separator) for separator in _SEPARATORS}
    if any(counts.values()):
        return max(_SEPARATORS, key=counts.__getitem__)
    return next((each for each in _SEPARATORS if all(each in line for line in lines)), " ")


def _fields(text: str, separator: str) -> list[str]:
    if separator != " ":
        row = next(csv.reader([text], delimiter=separator, skipinitialspace=True))
        fields = [field.strip() for field in row]
        boxes = fields[2:]
        if len(boxes) == _BOX_FIELDS and all(map(_NUMBER.fullmatch, boxes)):
            return fields[:2]
        return fields
    if quoted := _QUOTED.fullmatch(text.strip()):
        return [quoted[1].replace('""', '"'), quoted[2]]
    return text.rsplit(maxsplit=1)


def _parse(number: int, text: str, separator: str, labels_file: Path) -> _Line:
    fields = _fields(text, separator)
    if len(fields[-1]) > _MAX_LABEL_LENGTH or _DIGITS.fullmatch(fields[-1]):
        message = f"its label has {len(fields[-1]):,} characters"
        raise _line_error(number, message, labels_file)
    if len(fields) == 1:
        return _Line(number, None, fields[0])
    if len(fields) != 2 or not all(fields):
        shown = text.strip()[:_MAX_LABEL_LENGTH]
        raise _line_error(number, f"'{shown}' is not a name and a label", labels_file)
    name, label = fields
    first = label.split()[0]
    # ImageNet's CSV of solutions has boxes after the WordNet id.
    return _Line(number, name.replace("\\", "/"), first if _WNID.fullmatch(first) else label)


def _join_by_number(
    names: Sequence[str], lines: Sequence[_Line], labels_file: Path
) -> Mapping[str, str]:
    """Join line k to the k-th image; only safe for ImageNet's files."""
    if not imagenet.all_validation_names(names) or len(lines) != len(names):
        raise InputError(
            f"its {len(lines)} lines have labels without file names, for {len(names)} images",
            where=labels_file,
            remedy=f"If joined by position, one missing file would shift all labels. {_FORMS}",
        )
    return {name: line.label for name, line in zip(sorted(names), lines, strict=True)}


def _join_by_name(
    names: Sequence[str],
    keys: Mapping[str, str],
    lines: Sequence[_Line],
    labels_file: Path,
) -> Mapping[str, str]:
    label_of: dict[str, str] = {}
    line_of: dict[str, int] = {}
    for number, listed_name, label in lines:
        name = keys.get(_key(listed_name or ""))
        if name is None:
            continue
        if name in line_of:
            message = f"'{listed_name}' already has a label on line {line_of[name]}"
            raise _line_error(number, message, labels_file)
        label_of[name], line_of[name] = label, number
    unlabelled = [printable(name) for name in names if name not in label_of]
    if unlabelled:
        raise InputError(
            f"{len(unlabelled)} of {len(names)} images have no label here: {some(unlabelled)}",
            where=labels_file,
            remedy=f"Add them. Names must match; the first line has '{lines[0].name}'.",
        )
    return label_of


def _keys(names: Sequence[str]) -> dict[str, str]:
    """Image names by normalised name and, if unambiguous, also without suffix."""
    full = [_key(name) for name in names]
    if len(set(full)) < len(full):  # some file systems allow both forms
        repeated = Counter(full).most_common(1)[0][0]
        raise InputError(
            f"the names of two images differ only in Unicode normalisation: "
            f"'{printable(repeated)}'",
            remedy="Rename one of the two.",
        )
    stems = [PurePosixPath(key).stem for key in full]
    keys = dict(zip(stems, names, strict=True)) if len(set(stems)) == len(stems) else {}
    return keys | dict(zip(full, names, strict=True))


def _key(name: str) -> str:
    """A file name without folders, NFC-normalised."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return unicodedata.normalize("NFC", last)


def _classes(
    names: Sequence[str],
    label_of: Mapping[str, str],
    lines: Sequence[_Line],
    labels_file: Path,
) -> tuple[list[str], list[int]]:
    """Class names, and the class index of each image."""
    used = set(label_of.values())
    integers = {text: index for text in used if (index := class_index(text)) is not None}
    if integers and len(integers) != len(used):
        line = next(line for line in lines if line.label in used - integers.keys())
        message = f"'{line.label}' is not a class index, unlike other labels"
        raise _line_error(line.number, message, labels_file)
    if integers:
        labels = [integers[label_of[name]] for name in names]
        by_position = lines[0].name is None
        return numbered_labels(names, labels, labels_file, by_position=by_position), labels
    data_lines = lines[1:] if _is_header(lines, used) else lines
    class_names = sorted({line.label for line in data_lines})
    index_of = {name: index for index, name in enumerate(class_names)}
    return class_names, [index_of[label_of[name]] for name in names]


def _is_header(lines: Sequence[_Line], used: set[str]) -> bool:
    """Whether neither the name nor the label on the first line looks like data."""
    first, known = lines[0], used | {line.label for line in lines[1:]}
    return not (
        first.label in known or _WNID.fullmatch(first.label) or is_image_name(first.name or "")
    )


def _line_error(number: int, what: str, labels_file: Path) -> InputError:
    return InputError(what, where=f"{labels_file}, line {number}", remedy=_FORMS)
