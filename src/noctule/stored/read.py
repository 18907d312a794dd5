"""A stored set: the same images under every condition, as they lie on disk."""

from __future__ import annotations

import copy
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
from noctule.input_files import reject_special_files
from noctule.store.comparability import check_stored_benchmark
from noctule.store.identity import RUN_FILE
from noctule.stored.images import DatasetImages, FileImages, Images, ShardImages
from noctule.stored.layout import LABELS_FILE, Layout, find_layout, refuse_no_folder
from noctule.stored.manifest import (
    IMAGES_FILE,
    MANIFEST_FILE,
    SUMS_FILE,
    ImageEntry,
    Manifest,
    read_images,
    read_manifest,
)
from noctule.stored.names import SHARD_SIZE, shard_name
from noctule.stored.published import (
    Contents,
    SetImages,
    array_images,
    array_sha256,
    published_arrays,
    published_folders,
)
from noctule.stored.scan import list_condition, names_in_order
from noctule.stored.sums import AGAIN, digests_by_place, refuse_changed, sum_of
from noctule.stored.write import suffix_of

if TYPE_CHECKING:
    from PIL import Image

FEW = 3


class StoredSet(Dataset):
    """Images that lie on disk under every condition; made by `open_stored`.

    As a dataset it shows the uncorrupted images or, without them, the mildest images it has.

    Attributes:
        benchmark: whose conditions it has.
        images: by condition; clean may lack.
        clean_from: "folder", "data" or, if there are none, None.
        manifest: what it was made from, if noctule wrote it.
        kind: "folders", "arrays" or "shards".
    """

    def __init__(
        self,
        name: str,
        images: SetImages,
        contents: Contents,
        *,
        benchmark: Benchmark,
        kind: str,
        clean_from: str | None,
        manifest: Manifest | None,
    ) -> None:
        self.benchmark = benchmark
        self.images: Mapping[Condition, Images] = contents.images
        self.kind = kind
        self.clean_from = clean_from
        self.manifest = manifest
        self.condition: Condition | None = None
        self.required_px: tuple[int, int] | None = None
        self._digests = tuple(contents.digests)
        super().__init__(
            name, images.class_names, images.ids, images.labels, domain=images.domain
        )

    @functools.cached_property
    def image_px(self) -> tuple[int, int]:
        """Height and width of the images: the manifest's, or those of most of a few."""
        if self.manifest is not None:
            height, width = self.manifest.image_px
            return height, width
        corrupted = next(one for one in self.images if one.corruption is not None)
        sizes: Counter[tuple[int, int]] = Counter()
        for index in range(len(self)):
            try:
                image = self.images[corrupted].read(index)
            except UnreadableImageError:
                continue
            sizes[image.height, image.width] += 1
            if sizes.total() == FEW:
                break
        if not sizes:
            raise InputError(f"no image of {corrupted} can be decoded", where=self.name)
        return sizes.most_common(1)[0][0]

    def mildest(self, index: int) -> Condition:
        """Clean or, without it, a condition of the lowest severity: another for each image."""
        if Condition() in self.images:
            return Condition()
        lowest = min(condition.severity or 0 for condition in self.images)
        mild = [one for one in self.images if (one.severity or 0) == lowest]
        return mild[index % len(mild)]

    def under(self, condition: Condition | None, image_px: tuple[int, int] | None) -> StoredSet:
        """The set showing other images.

        Args:
            condition: Whose images it shows; None for the mildest.
            image_px: The height and width that stored images must have; None allows any.
        """
        view = copy.copy(self)
        view.condition, view.required_px = condition, image_px
        return view

    def read(self, index: int) -> Image.Image:
        """Image `index` under the condition shown.

        Raises:
            UnreadableImageError: It cannot be decoded, or has another size than required.
        """
        condition = self.condition or self.mildest(index)
        image = self.images[condition].read(index)
        size = (image.height, image.width)
        is_stored = condition.corruption is not None or self.clean_from != "data"
        if is_stored and self.required_px not in (None, size):
            raise UnreadableImageError(
                self.ids[index],
                f"it is {size[0]} × {size[1]} px, and the set's others are "
                f"{self.image_px[0]} × {self.image_px[1]} px",
            )
        return image

    def content(self) -> Iterator[bytes]:
        """Names and sizes of all files or, if noctule wrote them, their hashes."""
        return (f"{digest}\n".encode() for digest in (self.kind, *self._digests))


def open_stored(
    folder: str | Path, benchmark: Benchmark | None = None, data: Dataset | None = None
) -> StoredSet:
    """The stored set in a folder, checked for completeness; no image is decoded.

    An image has the same id under every condition: that of the dataset, where noctule wrote the
    set or `data` is given; else CLASS/FILE, which is what it has in the folder of originals, or
    its index in the arrays. Classes are class folders sorted by name, or as in `data`.

    Args:
        folder: as `noctule.stored.layout` describes.
        benchmark: whose conditions are wanted; None takes that of a set that noctule wrote.
        data: the uncorrupted images, for a set that was published without them or without an
            order of its classes; images are matched by name, or in arrays by position.

    Raises:
        InputError: conditions, images or classes are missing or too many, which are named; an
            array has another shape or is damaged; or what noctule wrote is not finished, has a
            manifest, list of images, labels or arrays that are not what was written, or is of
            other corruptions than the benchmark's. Changed images in files and shards are
            found when they are read: `UnreadableImageError`.
    """
    folder = path_like(folder, "folder").expanduser()
    refuse_no_folder(folder)
    manifest = read_manifest(folder)
    if manifest is None:
        if (folder / RUN_FILE).is_file():
            raise InputError(
                "is a run folder, not a folder of images",
                where=folder,
                remedy="Give the folder that the images lie in. A run is scored with "
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


def _open_own(folder: Path, benchmark: Benchmark, manifest: Manifest) -> StoredSet:
    """A set that noctule wrote."""
    reject_special_files(folder / SUMS_FILE)
    if not (folder / SUMS_FILE).exists():
        raise InputError(f"is not finished: it has no {SUMS_FILE}", where=folder, remedy=AGAIN)
    labels = [LABELS_FILE] if manifest.format == "npy" else []
    refuse_changed(folder, [MANIFEST_FILE, IMAGES_FILE, *labels])
    check_stored_benchmark(benchmark, manifest.the_benchmark(folder), folder)
    layout = find_layout(folder, benchmark, manifest)
    if Condition() not in layout.places:
        raise InputError("lacks its uncorrupted images", where=folder, remedy=AGAIN)
    entries = read_images(folder, manifest)
    contents = Contents(digests=[hashlib.sha256((folder / SUMS_FILE).read_bytes()).hexdigest()])
    if layout.kind == "arrays":
        _refuse_changed_arrays(folder, layout)
        for condition, place in layout.places.items():
            contents.images[condition] = array_images(place, len(entries), contents)
    elif layout.kind == "shards":
        contents.images = _shards(folder, layout, manifest, len(entries))
    else:
        contents.images = _files(folder, layout, manifest, entries)
    images = SetImages(
        [entry.id for entry in entries],
        [entry.label for entry in entries],
        manifest.dataset["class_names"],
        manifest.dataset.get("domain"),
    )
    return StoredSet(
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
) -> dict[Condition, Images]:
    suffix = suffix_of(manifest.encoder)
    names = [shard_name(first) for first in range(0, num_images, SHARD_SIZE)]
    digests = _digests(folder, layout, names)
    return {
        condition: ShardImages(place.path, suffix, digests[condition])
        for condition, place in layout.places.items()
    }


def _files(
    folder: Path, layout: Layout, manifest: Manifest, entries: Sequence[ImageEntry]
) -> dict[Condition, Images]:
    keys = [f"{entry.folder}/{entry.name}" for entry in entries]
    names = [f"{key}.{suffix_of(manifest.encoder)}" for key in keys]
    for place in layout.places.values():
        found = list_condition(place.path, with_sizes=False)
        names_in_order(keys, found, place.path, "the manifest", AGAIN)
    digests = _digests(folder, layout, names)
    return {
        condition: FileImages(place.path, names, digests[condition])
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


def _open_published(folder: Path, benchmark: Benchmark, data: Dataset | None) -> StoredSet:
    """A set that others published, and so the released code's images."""
    benchmark = benchmark.in_mode("released")
    layout = find_layout(folder, benchmark, None)
    read = published_arrays if layout.kind == "arrays" else published_folders
    images, contents = read(folder, layout, data)
    clean_from = "folder" if Condition() in contents.images else None
    if data is not None:
        assert images.indices_in_data is not None
        # The data's images, whatever the folder has: these are what the ids belong to.
        clean: Images = DatasetImages(data, images.indices_in_data)
        contents.images = {**contents.images, Condition(): clean}
        contents.digests.append(data.fingerprint())
        clean_from = "data"
    return StoredSet(
        base_name(folder),
        images,
        contents,
        benchmark=benchmark,
        kind=layout.kind,
        clean_from=clean_from,
        manifest=None,
    )
