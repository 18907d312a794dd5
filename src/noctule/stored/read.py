"""A stored set: the same images under every condition, as they lie on disk."""

from __future__ import annotations

import copy
import functools
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from noctule.arguments import path_like
from noctule.benchmarks import Benchmark, Condition, Selection
from noctule.data import Dataset, open_dataset
from noctule.data.files import base_name, missing_path
from noctule.data.subset import SubsetDataset
from noctule.errors import InputError, UnreadableImageError
from noctule.input_files import real_path, reject_special_files
from noctule.store.comparability import check_stored_benchmark
from noctule.store.identity import RUN_FILE
from noctule.store.sums import SUMS_FILE, FileSum, hash_file, read_sums
from noctule.stored.found import found_benchmark
from noctule.stored.images import (
    DIGEST_BYTES,
    ChosenImages,
    DatasetImages,
    FileImages,
    Images,
    ShardImages,
)
from noctule.stored.layout import (
    SHARD_SIZE,
    Layout,
    find_layout,
    shard_name,
)
from noctule.stored.listing import list_condition, names_in_order
from noctule.stored.manifest import (
    AGAIN,
    IMAGES_FILE,
    LABELS_FILE,
    MANIFEST_FILE,
    ImageEntry,
    Manifest,
    read_images,
    read_manifest,
)
from noctule.stored.published import (
    Contents,
    SetImages,
    array_images,
    array_sha256,
    published_arrays,
    published_folders,
)
from noctule.stored.write import suffix_of

if TYPE_CHECKING:
    from PIL import Image

SAMPLED_IMAGES = 3


class StoredSet(Dataset):
    """Images that lie on disk under every condition; made by `open_stored`.

    As a dataset it shows the uncorrupted images or, without them, the mildest images it has.

    Attributes:
        benchmark: The benchmark whose conditions it has.
        images: By condition; clean may be missing.
        clean_from: "folder", "data" or, without clean images, None.
        manifest: What it was made from, if noctule wrote it.
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
        # Names and sizes of all files or, if noctule wrote them, their hashes.
        self._content = [f"{digest}\n" for digest in (kind, *contents.digests)]
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
            if sizes.total() == SAMPLED_IMAGES:
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

    def part(self, subset: SubsetDataset) -> StoredSet:
        """The images of a subset of the set, under every condition."""
        view = copy.copy(self)
        view.name, view.ids, view.labels = subset.name, subset.ids, subset.labels
        view.subset, view.image_px = subset.subset, self.image_px
        view.images = {
            condition: ChosenImages(images, subset.indices)
            for condition, images in self.images.items()
        }
        view._content = [self.fingerprint()]
        return view

    @property
    def live_fingerprint(self) -> str | None:
        """The fingerprint of the data, or of the part of it, that noctule made the set of."""
        if self.manifest is None:
            return None
        fingerprint = str(self.manifest.dataset["fingerprint"])
        if self.subset is None:
            return fingerprint
        live = copy.copy(self)
        live._content = [fingerprint]
        return live.fingerprint()

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
        """Names and sizes of all files or, if noctule wrote them, their hashes.

        Of a part of a set, the fingerprint of the whole.
        """
        return (text.encode() for text in self._content)


def open_stored(
    folder: str | Path,
    benchmark: Benchmark | None = None,
    data: Dataset | None = None,
    selection: Selection | None = None,
    *,
    limit: int | None = None,
    ids_file: str | Path | None = None,
) -> StoredSet:
    """The stored set in a folder, checked for completeness; no image is decoded.

    An image has the same id under every condition: that of the dataset, if noctule wrote the
    set or `data` is given; else CLASS/FILE, as in the folder of originals, or its index in the
    arrays. Classes are class folders sorted by name, or as in `data`.

    Args:
        folder: See `noctule.stored.layout`.
        benchmark: The benchmark whose conditions are wanted; None takes that of a set that
            noctule wrote, or else what is found, see `noctule.stored.found`.
        data: The uncorrupted images, for a set that was published without them or without an
            order of its classes. Images are matched by name, or in arrays by position.
        selection: Which conditions of the benchmark are wanted, if not all.
        limit: Number of images to use, see `noctule.open_dataset`.
        ids_file: Text file with the ids of the images to use, one per line.

    Raises:
        InputError: Conditions, images or classes are missing or superfluous (they are named);
            an array has another shape or is damaged; or a set that noctule wrote is not
            finished, has a manifest, list of images, labels or arrays that are not what was
            written, or has other corruptions than the benchmark's. Changed images in files and
            shards are found when they are read: `UnreadableImageError`.
    """
    folder = path_like(folder, "folder").expanduser()
    refuse_no_folder(folder)
    stored = _open_whole(folder, benchmark, data, selection or Selection())
    subset = open_dataset(stored, limit=limit, ids_file=ids_file)
    return stored.part(subset) if isinstance(subset, SubsetDataset) else stored


def _open_whole(
    folder: Path, benchmark: Benchmark | None, data: Dataset | None, chosen: Selection
) -> StoredSet:
    manifest = read_manifest(folder)
    if data is not None and data.right_labels is not None:
        raise InputError(
            "stored images have one label each, these have several right labels",
            where=data.name,
            remedy="Evaluate the images live.",
        )
    if manifest is None:
        if (folder / RUN_FILE).is_file():
            raise InputError(
                "is a run folder, not a folder of images",
                where=folder,
                remedy="Pass the folder of the images. To score a run, use `noctule metrics`.",
            )
        whole = benchmark or found_benchmark(folder)
        return _open_published(folder, chosen.of(whole), data)
    if data is not None:
        raise InputError(
            "has uncorrupted images, labels and ids of its own",
            where=folder,
            remedy=f"Leave {data.name} out.",
        )
    whole = benchmark or manifest.the_benchmark(folder)
    return _open_exported(folder, chosen.of(whole), manifest)


def refuse_no_folder(folder: Path) -> None:
    """Raise InputError if a stored set's folder is missing, or is a file."""
    if folder.is_dir():
        return
    if folder.exists():
        raise InputError("is a file, not a folder of a stored set", where=folder)
    raise missing_path(folder, "folder")


def refuse_unfinished(folder: Path) -> None:
    """Raise InputError if a stored set has no SHA256SUMS, which is written last."""
    reject_special_files(folder / SUMS_FILE)
    if not (folder / SUMS_FILE).exists():
        raise InputError(f"is not finished: it has no {SUMS_FILE}", where=folder, remedy=AGAIN)


def _open_exported(folder: Path, benchmark: Benchmark, manifest: Manifest) -> StoredSet:
    """A set that noctule wrote."""
    refuse_unfinished(folder)
    labels = [LABELS_FILE] if manifest.format == "npy" else []
    _refuse_changed(folder, [MANIFEST_FILE, IMAGES_FILE, *labels])
    check_stored_benchmark(benchmark, manifest.the_benchmark(folder), folder)
    layout = find_layout(folder, benchmark, manifest)
    if Condition() not in layout.locations:
        raise InputError("lacks its uncorrupted images", where=folder, remedy=AGAIN)
    entries = read_images(folder, manifest)
    contents = Contents(digests=[hash_file(folder, SUMS_FILE).sha256])
    if layout.kind == "arrays":
        _refuse_changed_arrays(folder, layout)
        for condition, location in layout.locations.items():
            contents.images[condition] = array_images(location, len(entries), contents)
    else:
        contents.images = _hashed_images(folder, layout, manifest, entries)
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


def _refuse_changed(folder: Path, names: Sequence[str]) -> None:
    """Compare a few small files with their hashes.

    Raises:
        InputError: One is missing or changed, or has no hash.
    """
    expected = set(names)
    for file_sum in read_sums(folder, AGAIN):
        if file_sum.path in expected:
            expected.remove(file_sum.path)
            _refuse_if_changed(folder, file_sum)
        if not expected:  # they come first, before millions of images
            return
    what = f"has no hash of {', '.join(sorted(expected))}"
    raise InputError(what, where=folder / SUMS_FILE, remedy=AGAIN)


def _refuse_changed_arrays(folder: Path, layout: Layout) -> None:
    """Compare each array with its hash; it is hashed once, also for its fingerprint."""
    sums = {file_sum.path: file_sum for file_sum in read_sums(folder, AGAIN)}
    for file in dict.fromkeys(location.path for location in layout.locations.values()):
        expected = sums.get(file.name)
        if expected is None or array_sha256(file) != expected.sha256:
            raise _changed(file)


def _refuse_if_changed(folder: Path, file_sum: FileSum) -> None:
    state = state_of(folder, file_sum)
    if state == "missing":
        raise InputError("is missing", where=folder / file_sum.path, remedy=AGAIN)
    if state == "changed":
        raise _changed(folder / file_sum.path)


def _changed(file: Path) -> InputError:
    what = f"is not what was written: its hash is not that in {SUMS_FILE}"
    return InputError(what, where=file, remedy=AGAIN)


def state_of(folder: Path, expected: FileSum) -> Literal["good", "missing", "changed"]:
    """Whether a file is there and has its hash; a link counts as changed."""
    # A link could lead out of the set, where its file may change.
    if not os.path.lexists(folder / expected.path):
        return "missing"
    if real_path(folder / expected.path) != real_path(folder) / expected.path:
        return "changed"
    try:
        found = hash_file(folder, expected.path)
    except OSError:
        return "changed"
    return "good" if found == expected else "changed"


def _hashed_images(
    folder: Path, layout: Layout, manifest: Manifest, entries: Sequence[ImageEntry]
) -> dict[Condition, Images]:
    """Images in files or shards, with the hashes that they must have."""
    suffix = suffix_of(manifest.encoder)
    if layout.kind == "shards":
        names = [shard_name(first) for first in range(0, len(entries), SHARD_SIZE)]
    else:
        keys = [f"{entry.folder}/{entry.name}" for entry in entries]
        names = [f"{key}.{suffix}" for key in keys]
        for location in layout.locations.values():
            listed = list_condition(location.path, with_sizes=False)
            names_in_order(keys, listed, location.path, "the manifest", AGAIN)
    digests = _digests(folder, [where.path for where in layout.locations.values()], names)
    return {
        condition: ShardImages(where.path, suffix, digests[where.path])
        if layout.kind == "shards"
        else FileImages(where.path, names, digests[where.path])
        for condition, where in layout.locations.items()
    }


def _digests(
    folder: Path, conditions: Sequence[Path], names: Sequence[str]
) -> dict[Path, bytes]:
    """The hashes of files that have the same names in the folders of several conditions.

    Millions of hashes as text, by path, would fill a gigabyte: here each is 32 bytes.

    Returns:
        By folder, the hashes in the order of the names; 0, which is no file's hash, where
        SHA256SUMS has none.
    """
    digests = {path: bytearray(DIGEST_BYTES * len(names)) for path in conditions}
    path_of = {path.relative_to(folder).as_posix(): path for path in conditions}
    start_of = {name: DIGEST_BYTES * index for index, name in enumerate(names)}
    depth = names[0].count("/") + 1
    for file_sum in read_sums(folder, AGAIN):
        condition, *parts = file_sum.path.rsplit("/", depth)
        start = start_of.get("/".join(parts))
        if start is not None and condition in path_of:
            digest = bytes.fromhex(file_sum.sha256)
            digests[path_of[condition]][start : start + DIGEST_BYTES] = digest
    return {path: bytes(digest) for path, digest in digests.items()}


def _open_published(folder: Path, benchmark: Benchmark, data: Dataset | None) -> StoredSet:
    """A set that others published: its images are those of the released code."""
    benchmark = benchmark if benchmark.stored_only else benchmark.in_mode("released")
    layout = find_layout(folder, benchmark, None)
    read = published_arrays if layout.kind == "arrays" else published_folders
    images, contents = read(folder, layout, data)
    clean_from = "folder" if Condition() in contents.images else None
    if data is not None:
        assert images.indices_in_data is not None
        # The data's images, even if the folder has clean ones: the ids are theirs.
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
