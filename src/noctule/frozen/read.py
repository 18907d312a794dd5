"""A frozen set: the same images under every condition, as they lie on disk."""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noctule.arguments import path_like
from noctule.benchmarks import Benchmark, Condition
from noctule.data import Dataset
from noctule.data.files import base_name
from noctule.errors import InputError, UnreadableImageError
from noctule.frozen.layout import LABELS_FILE, Layout, find_layout, refuse_no_folder
from noctule.frozen.manifest import (
    IMAGES_FILE,
    MANIFEST_FILE,
    SUMS_FILE,
    ImageEntry,
    Manifest,
    read_images,
    read_manifest,
)
from noctule.frozen.names import SHARD_SIZE, shard_name
from noctule.frozen.pictures import DatasetPictures, FilePictures, Pictures, ShardPictures
from noctule.frozen.published import (
    Contents,
    Images,
    array_pictures,
    array_sha256,
    published_arrays,
    published_folders,
)
from noctule.frozen.same import refuse_other_pictures
from noctule.frozen.scan import list_condition, names_in_order
from noctule.frozen.sums import AGAIN, digests_by_place, refuse_changed, sum_of
from noctule.frozen.write import suffix_of
from noctule.input_files import reject_special_files
from noctule.store.identity import RUN_FILE

if TYPE_CHECKING:
    from PIL import Image

FEW = 3


class FrozenSet(Dataset):
    """Images that lie on disk under every condition; made by `open_frozen`.

    As a dataset it shows the uncorrupted images or, without them, the mildest pictures it has.

    Attributes:
        benchmark: whose conditions it has.
        pictures: by condition; clean may lack.
        clean_from: "folder", "data" or, if there are none, None.
        manifest: what it was made from, if noctule wrote it.
        kind: "folders", "arrays" or "shards".
    """

    def __init__(
        self,
        name: str,
        images: Images,
        contents: Contents,
        *,
        benchmark: Benchmark,
        kind: str,
        clean_from: str | None,
        manifest: Manifest | None,
    ) -> None:
        self.benchmark = benchmark
        self.pictures: Mapping[Condition, Pictures] = contents.pictures
        self.kind = kind
        self.clean_from = clean_from
        self.manifest = manifest
        self._digests = tuple(contents.digests)
        super().__init__(
            name, images.class_names, images.ids, images.labels, domain=images.domain
        )

    @functools.cached_property
    def picture_px(self) -> tuple[int, int]:
        """Height and width of the pictures: the manifest's, or those of most of a few."""
        if self.manifest is not None:
            height, width = self.manifest.picture_px
            return height, width
        corrupted = next(one for one in self.pictures if one.corruption is not None)
        sizes: Counter[tuple[int, int]] = Counter()
        for index in range(len(self)):
            try:
                picture = self.pictures[corrupted].read(index)
            except UnreadableImageError:
                continue
            sizes[picture.height, picture.width] += 1
            if sizes.total() == FEW:
                break
        if not sizes:
            raise InputError(f"no picture of {corrupted} can be decoded", where=self.name)
        return sizes.most_common(1)[0][0]

    def mildest(self, index: int) -> Condition:
        """Clean or, without it, a condition at the lowest level: each image another one."""
        if Condition() in self.pictures:
            return Condition()
        lowest = min(one.level or 0 for one in self.pictures)
        mild = [one for one in self.pictures if (one.level or 0) == lowest]
        return mild[index % len(mild)]

    def read(self, index: int) -> Image.Image:
        """Image `index`, uncorrupted if it is there."""
        return self.pictures[self.mildest(index)].read(index)

    def content(self) -> Iterator[bytes]:
        """Names and sizes of all files or, if noctule wrote them, their hashes."""
        return (f"{digest}\n".encode() for digest in (self.kind, *self._digests))


def open_frozen(
    folder: str | Path, benchmark: Benchmark | None = None, data: Dataset | None = None
) -> FrozenSet:
    """The frozen set in a folder, checked for completeness; no picture is decoded.

    An image has the same id under every condition: that of the dataset, where noctule wrote the
    set or `data` is given; else CLASS/FILE, which is what it has in the folder of originals, or
    its index in the arrays. Classes are class folders sorted by name, or as in `data`.

    Args:
        folder: as `noctule.frozen.layout` describes.
        benchmark: whose conditions are wanted; None takes that of a set that noctule wrote.
        data: the uncorrupted images, for a set that was published without them or without an
            order of its classes; images are matched by name, or in arrays by position.

    Raises:
        InputError: conditions, images or classes are missing or too many, which are named; an
            array has another shape or is damaged; or what noctule wrote is not finished, has a
            manifest, list of images, labels or arrays that are not what was written, or is of
            other corruptions than the benchmark's. Changed pictures in files and shards are
            found when they are read: `UnreadableImageError`.
    """
    folder = path_like(folder, "folder").expanduser()
    refuse_no_folder(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        if (folder / RUN_FILE).is_file():
            raise InputError(
                "is a run folder, not a folder of pictures",
                where=folder,
                remedy="Give the folder that the pictures lie in. A run is scored with "
                "`noctule metrics`.",
            )
        if benchmark is None:
            raise InputError(
                "has no manifest that says its benchmark",
                where=folder,
                remedy="Name it with --benchmark.",
            )
        return _open_published(folder, benchmark, data)
    if data is not None:
        raise InputError(
            "has uncorrupted images, labels and ids of its own",
            where=folder,
            remedy=f"Leave {data.name} out.",
        )
    return _open_own(folder, benchmark or manifest.the_benchmark(folder), manifest)


def _open_own(folder: Path, benchmark: Benchmark, manifest: Manifest) -> FrozenSet:
    """A set that noctule wrote."""
    reject_special_files(folder / SUMS_FILE)
    if not (folder / SUMS_FILE).exists():
        raise InputError(f"is not finished: it has no {SUMS_FILE}", where=folder, remedy=AGAIN)
    labels = [LABELS_FILE] if manifest.format == "npy" else []
    refuse_changed(folder, [MANIFEST_FILE, IMAGES_FILE, *labels])
    refuse_other_pictures(benchmark, manifest.the_benchmark(folder), folder)
    layout = find_layout(folder, benchmark, manifest)
    if Condition() not in layout.places:
        raise InputError("lacks its uncorrupted images", where=folder, remedy=AGAIN)
    entries = read_images(folder, manifest)
    contents = Contents(digests=[hashlib.sha256((folder / SUMS_FILE).read_bytes()).hexdigest()])
    if layout.kind == "arrays":
        _refuse_changed_arrays(folder, layout)
        for condition, place in layout.places.items():
            contents.pictures[condition] = array_pictures(place, len(entries), contents)
    elif layout.kind == "shards":
        contents.pictures = _shards(folder, layout, manifest, len(entries))
    else:
        contents.pictures = _files(folder, layout, manifest, entries)
    images = Images(
        [entry.id for entry in entries],
        [entry.label for entry in entries],
        manifest.dataset["class_names"],
        manifest.dataset.get("domain"),
    )
    return FrozenSet(
        base_name(folder),
        images,
        contents,
        benchmark=benchmark,
        kind=layout.kind,
        clean_from="folder",
        manifest=manifest,
    )


def _refuse_changed_arrays(folder: Path, layout: Layout) -> None:
    for file in {place.path for place in layout.places.values()}:
        if array_sha256(file) != sum_of(folder, file.name):
            what = f"is not what was written: its hash is not that in {SUMS_FILE}"
            raise InputError(what, where=file, remedy=AGAIN)


def _shards(
    folder: Path, layout: Layout, manifest: Manifest, num_images: int
) -> dict[Condition, Pictures]:
    suffix = suffix_of(manifest.encoder)
    names = [shard_name(first) for first in range(0, num_images, SHARD_SIZE)]
    digests = _digests(folder, layout, names)
    return {
        condition: ShardPictures(place.path, suffix, digests[condition])
        for condition, place in layout.places.items()
    }


def _files(
    folder: Path, layout: Layout, manifest: Manifest, entries: Sequence[ImageEntry]
) -> dict[Condition, Pictures]:
    keys = [f"{entry.folder}/{entry.name}" for entry in entries]
    names = [f"{key}.{suffix_of(manifest.encoder)}" for key in keys]
    for place in layout.places.values():
        found = list_condition(place.path, with_sizes=False)
        names_in_order(keys, found, place.path, "the manifest", AGAIN)
    digests = _digests(folder, layout, names)
    return {
        condition: FilePictures(place.path, names, digests[condition])
        for condition, place in layout.places.items()
    }


def _digests(folder: Path, layout: Layout, names: Sequence[str]) -> dict[Condition, bytes]:
    """The hashes that the files of each condition must have, in the order of their names."""
    place_of = {
        condition: place.path.relative_to(folder).as_posix()
        for condition, place in layout.places.items()
    }
    digests = digests_by_place(folder, place_of.values(), names)
    return {condition: digests[place] for condition, place in place_of.items()}


def _open_published(folder: Path, benchmark: Benchmark, data: Dataset | None) -> FrozenSet:
    """A set that others published, and so the released code's pictures."""
    benchmark = benchmark.in_mode("published")
    layout = find_layout(folder, benchmark, None)
    read = published_arrays if layout.kind == "arrays" else published_folders
    images, contents = read(folder, layout, data)
    clean_from = "folder" if Condition() in contents.pictures else None
    if data is not None:
        assert images.indices_in_data is not None
        # The data's images, whatever the folder has: these are what the ids belong to.
        clean: Pictures = DatasetPictures(data, images.indices_in_data)
        contents.pictures = {**contents.pictures, Condition(): clean}
        contents.digests.append(data.fingerprint())
        clean_from = "data"
    return FrozenSet(
        base_name(folder),
        images,
        contents,
        benchmark=benchmark,
        kind=layout.kind,
        clean_from=clean_from,
        manifest=None,
    )
