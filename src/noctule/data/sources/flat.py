"""A folder of images with a file beside it that says the label of each."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from noctule.data import imagenet
from noctule.data.dataset import class_index, numbered_classes
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
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError
from noctule.input_files import MAX_LIST_BYTES, reject_large_files, reject_special_files

_WNID = re.compile(r"n\d{8}")
_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_QUOTED = re.compile(r'"((?:[^"]|"")+)"\s+(\S+)')
_SEPARATORS = (",", "\t", ";", " ")
_BOX_FIELDS = 4  # behind name and label in Tiny-ImageNet's val_annotations.txt
_MAX_LABEL_LENGTH = 500
_SAMPLED_LINES = 2000
_DIGITS = re.compile(r"[+-]?\d{31,}")
_FORMS = (
    "Give one image per line, as 'name label' or 'name,label' (tabs and semicolons will do as "
    "well), where the label is a class index from 0, a WordNet id or a class name."
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
)
def open_with_labels(request: DataRequest) -> FileDataset:
    """The images of a flat folder with a labels file; see `open_flat`."""
    assert request.labels_file is not None
    return open_flat(request.path, request.labels_file)


def open_flat(folder: Path, labels_file: Path) -> FileDataset:
    """The images directly in a folder, sorted by name, labelled by a text or CSV file.

    A line of the labels file is "name label" or "name,label", or has a tab or a semicolon
    between the two; a name with separators in it may stand in double quotes. Tiny-ImageNet's
    val_annotations.txt is read as it is. Images and lines are joined by name. The name may
    carry folders before it, may lack its ending, and may be in another Unicode normalisation
    form; a heading on the first line is passed over. All labels are class indices from 0, or
    all are names, such as WordNet ids, whose classes are then the names in the file, sorted.
    Lines for images that are not in the folder are allowed, images without a line are not.

    Lines of a lone label each are joined to ImageNet validation images only, in the order of
    the numbers in their names, and only where there are as many lines as images.

    The domain is "imagenet-1k-val" where the names and the range of the labels say so; there
    are 1000 classes then, else as many as the highest index asks for.

    Raises:
        InputError: for a folder without images, an unreadable labels file, a line that does
            not parse (naming its number), an image with no or two labels, and for labels of
            ImageNet images that count the classes in ImageNet's own order.
    """
    left_out = LeftOut()
    names = _image_names(folder, labels_file, left_out)
    if not names:
        raise InputError(
            "this folder holds no images to go with the labels file",
            where=folder,
            remedy="Give the folder the images lie in directly.",
        )
    keys = _keys(names)
    lines = _read_lines(labels_file, keys)
    if all(line.name is None for line in lines):
        label_of = _join_by_number(names, lines, labels_file)
    else:
        label_of = _join_by_name(names, keys, lines, labels_file)
    class_names, labels = _classes(names, label_of, lines, labels_file)
    real = imagenet.all_validation_names(names) and (
        imagenet.has_all_wnids(class_names)
        or (class_index(label_of[names[0]]) is not None and imagenet.labels_fit(names, labels))
    )
    return FileDataset(
        base_name(folder),
        class_names,
        folder,
        names,
        labels,
        domain=imagenet.DOMAIN if real else None,
        left_out=str(left_out),
    )


def _image_names(folder: Path, labels_file: Path, left_out: LeftOut) -> list[str]:
    """Names of the images in a folder, sorted; what else is there is noted."""
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
    except csv.Error as error:  # such as a field of a megabyte
        raise InputError(f"is not a labels file: {error}", where=labels_file) from error
    if not lines:
        raise InputError("this labels file is empty", where=labels_file, remedy=_FORMS)
    odd = [line for line in lines if (line.name is None) != (lines[-1].name is None)]
    if odd and odd != lines[:1]:  # a heading may differ
        raise _line_error(odd[-1].number, "some lines have a name and some not", labels_file)
    return [line for line in lines if line not in odd]


def _separator(lines: Sequence[str], keys: Mapping[str, str]) -> str:
    """What separates names from labels: that with which most names are those of images."""
    sample = lines[:: max(1, len(lines) // _SAMPLED_LINES)]

    def matches(separator: str) -> int:
        return sum(_key(_fields(line, separator)[0]) in keys for line in sample)

    counts = {one: matches(one) for one in _SEPARATORS}
    if any(counts.values()):
        return max(_SEPARATORS, key=counts.__getitem__)
    return next((one for one in _SEPARATORS if all(one in line for line in lines)), " ")


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
    # ImageNet's CSV of solutions has boxes behind the WordNet id.
    return _Line(number, name.replace("\\", "/"), first if _WNID.fullmatch(first) else label)


def _join_by_number(
    names: Sequence[str], lines: Sequence[_Line], labels_file: Path
) -> Mapping[str, str]:
    """Line k of the labels belongs to the k-th image: believed of ImageNet's files only."""
    if not imagenet.all_validation_names(names) or len(lines) != len(names):
        raise InputError(
            f"its {len(lines)} lines hold labels without file names, for {len(names)} images",
            where=labels_file,
            remedy=f"Joined by position, one missing file shifts every label. {_FORMS}",
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
    for number, given, label in lines:
        name = keys.get(_key(given or ""))
        if name is None:
            continue
        if name in line_of:
            message = f"'{given}' has a label on line {line_of[name]} already"
            raise _line_error(number, message, labels_file)
        label_of[name], line_of[name] = label, number
    without = [printable(name) for name in names if name not in label_of]
    if without:
        raise InputError(
            f"{len(without)} of {len(names)} images have no label here: {some(without)}",
            where=labels_file,
            remedy=f"Its first line names '{lines[0].name}'. Complete it: names must match.",
        )
    return label_of


def _keys(names: Sequence[str]) -> dict[str, str]:
    """Image of each name and, where only one image has it, of each name without ending."""
    whole = [_key(name) for name in names]
    if len(set(whole)) < len(whole):  # some disks hold both forms of a name
        twice = Counter(whole).most_common(1)[0][0]
        raise InputError(
            f"the names of two images differ in nothing but their Unicode form: "
            f"'{printable(twice)}'",
            remedy="Rename one of the two.",
        )
    stems = [PurePosixPath(key).stem for key in whole]
    keys = dict(zip(stems, names, strict=True)) if len(set(stems)) == len(stems) else {}
    return keys | dict(zip(whole, names, strict=True))


def _key(name: str) -> str:
    """A file's name without folders, in one Unicode form: disks and labels files differ."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return unicodedata.normalize("NFC", last)


def _classes(
    names: Sequence[str],
    label_of: Mapping[str, str],
    lines: Sequence[_Line],
    labels_file: Path,
) -> tuple[list[str], list[int]]:
    """Class names and the label of each image, from labels that are indices or names."""
    used = set(label_of.values())
    integers = {text: index for text in used if (index := class_index(text)) is not None}
    if integers and len(integers) != len(used):
        odd = next(line for line in lines if line.label in used - integers.keys())
        message = f"'{odd.label}' is not a class index, as other labels are"
        raise _line_error(odd.number, message, labels_file)
    if integers:
        labels = [integers[label_of[name]] for name in names]
        return _numbered_classes(names, labels, lines, labels_file), labels
    counted = lines[1:] if _is_heading(lines, used) else lines
    class_names = sorted({line.label for line in counted})
    index_of = {name: index for index, name in enumerate(class_names)}
    return class_names, [index_of[label_of[name]] for name in names]


def _is_heading(lines: Sequence[_Line], used: set[str]) -> bool:
    """Whether the first line is a heading: neither its name nor its label looks like data."""
    first, known = lines[0], used | {line.label for line in lines[1:]}
    return not (
        first.label in known or _WNID.fullmatch(first.label) or is_image_name(first.name or "")
    )


def _numbered_classes(
    names: Sequence[str], labels: Sequence[int], lines: Sequence[_Line], labels_file: Path
) -> list[str]:
    wrong = imagenet.contradiction(names, labels)
    in_foreign_order = max(labels) == imagenet.NUM_CLASSES and min(labels) > 0
    if in_foreign_order or (wrong and lines[0].name is None):
        raise _foreign_order(wrong, labels_file)
    whole = imagenet.labels_fit(names, labels)
    return numbered_classes([imagenet.NUM_CLASSES - 1] if whole else labels, labels_file)


def _foreign_order(wrong: tuple[str, int, int] | None, labels_file: Path) -> InputError:
    what = "the class indices run from 1 to 1000"
    if wrong:
        what = f"'{wrong[0]}' is labelled {wrong[1]}, but its class is {wrong[2]}"
    return InputError(
        f"{what}: these labels do not count the sorted WordNet ids from 0, as classifiers do",
        where=labels_file,
        remedy="ILSVRC2012_validation_ground_truth.txt has an order of its own. Use a file "
        "with WordNet ids, or one with lines such as 'ILSVRC2012_val_00000001.JPEG 65'.",
    )


def _line_error(number: int, what: str, labels_file: Path) -> InputError:
    return InputError(what, where=f"{labels_file}, line {number}", remedy=_FORMS)
