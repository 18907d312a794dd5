"""Tar archives: WebDataset shards, or one folder of images per class.

In a WebDataset shard, members with the same path up to the first dot of their name are one
sample: "000123.jpg" is an image, "000123.cls" its label, and "000123.json" a table that may
hold the label, the image's id and the name of its class.
"""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from noctule.data import imagenet
from noctule.data.dataset import class_index
from noctule.data.encoded import EncodedDataset, check_member, in_class_folders
from noctule.data.files import (
    LeftOut,
    base_name,
    is_folder,
    is_hidden,
    is_image_name,
    listing,
    missing_path,
    printable,
)
from noctule.data.labels import classes_of
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError, shown
from noctule.input_files import reject_special_files

LABEL: Final = "cls"
JSON: Final = "json"
JSON_LABELS: Final = ("label", "cls")
CLASS_NAMES: Final = ("class", "class_name")

_BLOCK: Final = 512
_PADDING: Final = 2**20
_MOST_TEXT_BYTES: Final = 2**20  # of a label or a JSON member
_MOST_SHARDS: Final = 100_000
_COMPRESSED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES: Final = re.compile(r"\{(\d+)\.\.(\d+)\}")


class _Position(NamedTuple):
    """Where an image lies: number of the shard, offset and size in bytes."""

    shard: int
    offset: int
    size: int


@dataclass
class _Sample:
    """The members of one sample.

    Attributes:
        endings: Endings of all members.
        images: Positions of the images by the endings of their names.
        labels: Label as text, by where it is from: a member's ending, or "json".
        image_id: The id in the JSON; None if it has none.
        class_name: The name of the class in the JSON; None if it has none.
    """

    endings: list[str] = field(default_factory=list)
    images: dict[str, _Position] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    image_id: str | None = None
    class_name: str | None = None

    @property
    def label(self) -> str:
        """The label; that of a member precedes that of the JSON."""
        return min(self.labels.items(), key=lambda item: item[0] == JSON)[1]


class TarDataset(EncodedDataset):
    """The images in uncompressed tar archives, read at their offsets.

    Args:
        shards: The archives.
        positions: Position of each image.
        left_out: Description of the members that are not used.
    """

    def __init__(
        self,
        name: str,
        class_names: Sequence[str],
        ids: Sequence[str],
        labels: Any,
        *,
        shards: Sequence[Path],
        positions: Sequence[_Position],
        domain: str | None,
        left_out: str,
    ) -> None:
        self._shards = tuple(shard.absolute() for shard in shards)
        self._shard_of = np.array([one.shard for one in positions], np.int64)
        self._offsets = np.array([one.offset for one in positions], np.int64)
        sizes = [one.size for one in positions]
        super().__init__(
            name, class_names, ids, labels, sizes=sizes, domain=domain, left_out=left_out
        )

    def encoded(self, index: int) -> bytes:
        """See `EncodedDataset.encoded`."""
        with self.file(index).open("rb") as stream:
            stream.seek(self._offsets[index])
            data = stream.read(self.sizes[index])
        if len(data) < self.sizes[index]:
            raise ValueError("the archive is shorter than when it was opened")
        return data

    def file(self, index: int) -> Path:
        """See `EncodedDataset.file`."""
        return self._shards[int(self._shard_of[index])]


def _is_tar(request: DataRequest) -> bool:
    path = request.path
    if path.name.lower().endswith((".tar", *_COMPRESSED)):
        return bool(_BRACES.search(str(path))) or path.exists()
    if request.labels_file is not None or not path.is_dir():
        return False
    entries = [entry for entry in listing(path) if not is_hidden(entry.name)]
    has_shards = any(entry.name.lower().endswith(".tar") for entry in entries)
    return has_shards and not any(map(is_folder, entries))


@data_source(
    "tar",
    (
        "FILE.tar, FOLDER of .tar, or 'shard-{000..146}.tar'",
        "WebDataset shards, or class folders",
    ),
    claims=_is_tar,
    opens_paths=True,
    options=("image", "label", "split"),
)
def open_shards(request: DataRequest) -> TarDataset:
    """The images in tar archives; see `open_tar`."""
    return open_tar(request.path, request.options)


def open_tar(path: Path, options: Mapping[str, str] | None = None) -> TarDataset:
    """Open a tar archive, all archives in a folder, or a range such as "{000..146}.tar".

    The archives are read once for their index; images are then read at their offsets, in any
    order. The samples of WebDataset shards keep the order of the archives. An id is the "id" in
    the sample's JSON, as `noctule export` writes it, or else the sample's key; if ids repeat,
    the name of the shard precedes each. Archives without any label are taken for class folders,
    with the order and ids of `noctule.data.sources.folder`.

    Args:
        path: The archive, folder or range.
        options: `image`: ending of the images, such as jpg, if samples have several. `label`:
            ending or JSON key of the labels; by default cls, or label in the JSON. `split`:
            folder of the split to use, of class folders.

    Raises:
        InputError: An archive is compressed, damaged or truncated, a member is a link or has a
            path outside the archive, or a sample lacks its image or label.
    """
    options = options or {}
    shards, left_out = _shards(path), LeftOut()
    samples: dict[tuple[int, str], _Sample] = {}
    for number, shard in enumerate(shards):
        _index(shard, number, options.get("label"), samples, left_out)
    with_image = {key: sample for key, sample in samples.items() if sample.images}
    if not with_image:
        raise InputError("contains no images", where=path)
    if not any(sample.labels for sample in samples.values()):
        return _in_folders(path, shards, with_image, options, left_out)
    positions = [
        _position(sample, options.get("image"), key, shards[number])
        for (number, key), sample in samples.items()
    ]
    ids = _ids(samples, shards)
    class_names, labels = classes_of([one.label for one in samples.values()], ids, path)
    class_names = _named(class_names, labels.tolist(), samples.values())
    return TarDataset(
        base_name(path),
        class_names,
        ids,
        labels,
        shards=shards,
        positions=positions,
        domain=imagenet.domain_of(ids, class_names, labels.tolist()),
        left_out=str(left_out),
    )


def _in_folders(
    path: Path,
    shards: Sequence[Path],
    samples: Mapping[tuple[int, str], _Sample],
    options: Mapping[str, str],
    left_out: LeftOut,
) -> TarDataset:
    """The dataset of archives whose images lie in class folders."""
    images = {
        f"{key}.{ending}": position
        for (_, key), sample in samples.items()
        for ending, position in sample.images.items()
    }
    if not any("/" in name for name in images):
        raise InputError(
            f"has images without labels, such as '{next(iter(images))}'",
            where=path,
            remedy=f"Add a member with the label, such as '{next(iter(samples))[1]}.{LABEL}', "
            "or put the images into folders named after their classes.",
        )
    if sum(len(sample.images) for sample in samples.values()) > len(images):
        raise InputError("has two members of the same name", where=path)
    folders = in_class_folders(list(images), options.get("split"), left_out, path)
    positions = list(images.values())
    return TarDataset(
        base_name(path),
        list(map(printable, folders.class_names)),
        list(map(printable, folders.names)),
        folders.labels,
        shards=shards,
        positions=[positions[index] for index in folders.order],
        domain=imagenet.domain_of(folders.names, folders.class_names, folders.labels),
        left_out=str(left_out),
    )


def _shards(path: Path) -> list[Path]:
    if path.is_dir():
        names = [entry.name for entry in listing(path) if not is_hidden(entry.name)]
        shards = [path / name for name in names if name.lower().endswith(".tar")]
    else:
        shards = [Path(text) for text in expanded(str(path))]
    for shard in shards:
        if shard.name.lower().endswith(_COMPRESSED):
            raise InputError(
                "is compressed, so that its images cannot be read one by one",
                where=shard,
                remedy="Decompress it: images in it are compressed already.",
            )
        if not shard.exists():
            raise missing_path(shard, "shard")
        reject_special_files(shard)
    return shards


def expanded(text: str) -> list[str]:
    """All names of a range.

    >>> expanded("a-{08..10}.tar")
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    pieces = _BRACES.split(text)
    ranges = []
    for first, last in zip(pieces[1::3], pieces[2::3], strict=True):
        numbers = range(int(first), int(last) + 1)
        if not 0 < len(numbers) <= _MOST_SHARDS:
            raise InputError(f"{{{first}..{last}}} is not a range of shards", where=text)
        ranges.append([f"{number:0{len(first)}d}" for number in numbers])
    return [
        "".join(itertools.chain(*zip(pieces[::3], (*chosen, ""), strict=True)))
        for chosen in itertools.product(*ranges)
    ]


def _index(
    shard: Path,
    number: int,
    label: str | None,
    samples: dict[tuple[int, str], _Sample],
    left_out: LeftOut,
) -> None:
    """Add the samples of one archive."""
    with shard.open("rb") as stream:
        for member in _members(shard, stream):
            name = check_member(member.name, shard)
            if member.isdir():
                continue
            if not member.isreg() or member.issparse():
                raise InputError(
                    f"its member '{shown(name)}' is a link or a special file",
                    where=shard,
                    remedy="Create the archive again, with links resolved (tar --dereference).",
                )
            folder, slash, file_name = name.rpartition("/")
            if any(map(is_hidden, name.split("/"))):
                left_out.add_hidden(name)
                continue
            stem, _, ending = file_name.partition(".")
            is_image = is_image_name(name)
            if not is_image and ending not in (LABEL, JSON, label):
                left_out.add_file(file_name)
                continue
            sample = samples.setdefault((number, f"{folder}{slash}{stem}"), _Sample())
            if ending in sample.endings:
                raise InputError(f"has two members '{shown(name)}'", where=shard)
            sample.endings.append(ending)
            if is_image:
                sample.images[ending] = _Position(number, member.offset_data, member.size)
            else:
                _read_field(sample, ending, _text(stream, member, shard), label)


def _members(shard: Path, stream: Any) -> Iterator[tarfile.TarInfo]:
    """The members of an archive, which must be complete."""
    end = 0
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            while (member := archive.next()) is not None:
                vars(archive)["members"] = []  # otherwise, all of them stay in memory
                if archive.offset <= end:  # a negative size leads back for ever
                    raise tarfile.ReadError("negative size")
                end = archive.offset
                yield member
    except (tarfile.TarError, OSError, ValueError, EOFError) as error:
        raise InputError(
            f"is not a tar archive that can be read: {error}",
            where=shard,
            remedy="Download or create it again.",
        ) from error
    stream.seek(end)
    rest = stream.read(_PADDING)
    # Python ends without an error at a damaged or missing header.
    if len(rest) < _BLOCK or any(rest[:_BLOCK]):
        raise InputError(
            f"is truncated or damaged at byte {end:,}",
            where=shard,
            remedy="Download or create it again.",
        )
    if rest.strip(b"\0"):
        raise InputError(
            f"has data after its end at byte {end:,}, as archives that were joined",
            where=shard,
            remedy="Use the separate archives.",
        )


def _text(stream: Any, member: tarfile.TarInfo, shard: Path) -> str:
    """The content of a label or a table."""
    where = f"{shard}, member '{shown(member.name)}'"
    if member.size > _MOST_TEXT_BYTES:
        raise InputError(f"has {member.size:,} bytes, too many for a label", where=where)
    stream.seek(member.offset_data)
    try:
        return str(stream.read(member.size).decode("utf-8-sig")).strip()
    except UnicodeDecodeError as error:
        raise InputError("is not UTF-8 text", where=where) from error


def _read_field(sample: _Sample, ending: str, text: str, label: str | None) -> None:
    """Add a label, or the values of a table, to a sample."""
    if ending != JSON:
        if label in (None, ending):
            sample.labels[ending] = text
        return
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return  # without a label elsewhere, the sample is refused
    if not isinstance(table, dict):
        return
    keys = JSON_LABELS if label is None else (label,)
    plain = {key: str(value) for key, value in table.items() if isinstance(value, str | int)}
    if found := [plain[key] for key in keys if key in plain]:
        sample.labels[JSON] = found[0]
    sample.image_id = plain.get("id")
    sample.class_name = next((plain[key] for key in CLASS_NAMES if key in plain), None)


def _position(sample: _Sample, image: str | None, key: str, shard: Path) -> _Position:
    """Where the image of a sample lies; InputError if the sample is incomplete."""
    chosen = [image] if image in sample.images else list(sample.images) if image is None else []
    if len(chosen) == 1 and sample.labels:
        return sample.images[chosen[0]]
    what = f"has {len(chosen)} images" if len(chosen) != 1 else "has no label"
    if image is not None and not chosen:
        what = f"has no member '.{image}'"
    raise InputError(
        what,
        where=f"{shard}, sample '{shown(key)}'",
        remedy=f"Its members end in {', '.join(sample.endings)}. A sample needs one image, and "
        f"a label in .{LABEL} or under the key {JSON_LABELS[0]} in .{JSON}; "
        "'?image=jpg&label=cls' chooses among several.",
    )


def _ids(samples: Mapping[tuple[int, str], _Sample], shards: Sequence[Path]) -> list[str]:
    own = [sample.image_id for sample in samples.values()]
    ids = [
        key if None in own else str(name) for (_, key), name in zip(samples, own, strict=True)
    ]
    if len(set(ids)) < len(ids):
        numbers = (number for number, _ in samples)
        ids = [
            f"{shards[number].stem}/{name}" for number, name in zip(numbers, ids, strict=True)
        ]
    return list(map(printable, ids))


def _named(
    class_names: list[str], labels: Sequence[int], samples: Iterable[_Sample]
) -> list[str]:
    """The names of numbered classes, if the samples hold exactly one for each."""
    pairs = {(label, one.class_name) for label, one in zip(labels, samples, strict=True)}
    name_of = {label: name for label, name in pairs if name is not None}
    is_numbered = class_index(class_names[0]) is not None
    if not is_numbered or not len(pairs) == len(name_of) == len(set(name_of.values())):
        return class_names
    return [name_of.get(label, number) for label, number in enumerate(class_names)]
