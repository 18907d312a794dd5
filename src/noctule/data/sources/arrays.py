"""Images and labels in arrays: .npz, .npy, or a pair in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from noctule.data.dataset import Dataset, class_index, numbered_classes
from noctule.data.files import base_name, missing_path
from noctule.data.registry import DataRequest, data_source
from noctule.errors import InputError
from noctule.input_files import (
    MAX_LIST_BYTES,
    reject_beyond_memory,
    reject_large_files,
    reject_special_files,
    reject_zip_bombs,
)

if TYPE_CHECKING:
    from PIL import Image

_PAIRS: Final = (
    ("x_test", "y_test"),
    ("test_images", "test_labels"),
    ("images", "labels"),
    ("image", "label"),
    ("data", "labels"),
    ("data", "targets"),
    ("x", "y"),
    ("arr_0", "arr_1"),
)
_CLASS_NAME_KEYS: Final = ("class_names", "label_names", "classes")
# Resizing and conversion can exceed [0, 1] by a few float32 rounding errors.
ROUNDING_EXCESS = 1e-6
_CHUNK = 1024
_MOST_SHOWN = 80
MOST_IMAGES: Final = 10**8
_MOST_TEXT: Final = f"An array holds at most {MOST_IMAGES:,} images or labels."


class ArrayDataset(Dataset):
    """Images in one array.

    Args:
        name: Name of the dataset.
        images: (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, if unambiguous. Values
            are integers in [0, 255], or floats in [0, 1], which are rounded to 8 bits.
        labels: Class indices, (N,) or (N, 1).
        class_names: Names of the classes; by default their indices.
        ids: Ids of the images; by default "000000", "000001", ….
        reopen: Function and arguments that open this dataset again; pickling then stores them
            instead of the values.

    Raises:
        InputError: An array has another shape or type, or floats are outside [0, 1].
    """

    in_memory = True

    def __init__(
        self,
        name: str,
        images: NDArray[Any],
        labels: NDArray[Any],
        *,
        class_names: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        reopen: tuple[Callable[..., Dataset], tuple[Any, ...]] | None = None,
    ) -> None:
        self._images = _eight_bit(_channels_last(images, name), name)
        self._reopen = reopen
        indices = _indices(labels, name)
        if class_names is None:
            class_names = numbered_classes(indices, name)
        if ids is None:
            ids = [f"{index:06d}" for index in range(len(images))]
        super().__init__(name, class_names, ids, indices)

    def __reduce__(self) -> str | tuple[Any, ...]:
        return super().__reduce__() if self._reopen is None else self._reopen

    def read(self, index: int) -> Image.Image:
        """Image `index` as "RGB", or as "L" if the array has one channel."""
        from PIL import Image

        pixels = np.array(self._images[index])
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)

    def content(self) -> Iterator[bytes]:
        """The shape and all values."""
        yield str(self._images.shape).encode()
        for start in range(0, len(self._images), _CHUNK):
            yield np.ascontiguousarray(self._images[start : start + _CHUNK]).tobytes()


def _is_array_file(request: DataRequest) -> bool:
    suffix = request.path.suffix.lower()
    return suffix in (".npz", ".npy") and request.path.exists() and not request.path.is_dir()


@data_source(
    "arrays",
    ("FILE.npz", "arrays such as images and labels, or x_test and y_test"),
    ("FILE.npy", "an array of images, with labels.npy beside it or --labels FILE"),
    claims=_is_array_file,
    opens_paths=True,
    takes_labels=True,
)
def open_arrays(request: DataRequest) -> ArrayDataset:
    """The images of an array file; see `open_array_file`."""
    return open_array_file(request.path, request.labels_file)


def open_array_pair(images: Any, labels: Any) -> ArrayDataset:
    """Images and labels in memory: NumPy arrays, tensors, or values NumPy can convert.

    >>> open_array_pair(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 2, 0])
    <ArrayDataset 'arrays': 4 images, 3 classes>
    """
    return ArrayDataset("arrays", _as_array(images), _as_array(labels))


def open_array_file(file: Path, labels_file: Path | None = None) -> ArrayDataset:
    """Open the images in a .npz file, or in a .npy file with labels beside it.

    A .npz file contains images and labels under common names (x_test and y_test, images and
    labels, data and labels, x and y, arr_0 and arr_1, …; a test set takes precedence) and
    optionally class_names. The labels of a .npy file are in labels.npy in its folder. A labels
    file, .npy or text with one class index per line, takes precedence over both.

    Raises:
        InputError: The file is missing, damaged, pickled, or lacks these arrays; also as for
            `ArrayDataset`.
    """
    if file.suffix.lower() == ".npz":
        images, labels, class_names = _open_npz(file, labels_file)
    else:
        images, class_names = load_npy(file, mmap=True), None
        labels = _load_labels(labels_file or file.with_name("labels.npy"))
    reopen = (open_array_file, (file.absolute(), labels_file and labels_file.absolute()))
    name = base_name(file)
    return ArrayDataset(name, images, labels, class_names=class_names, reopen=reopen)


def _open_npz(
    file: Path, labels_file: Path | None
) -> tuple[NDArray[Any], NDArray[Any], list[str] | None]:
    reject_special_files(file)
    reject_zip_bombs(file)
    with _explained(file):
        stream = file.open("rb")
    with stream:  # opened here, because NumPy leaves damaged archives open
        with _explained(file):
            archive = np.load(stream, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise _wrong_kind(file, ".npy")
        key_of = {key.lower(): key for key in archive.files}
        image_key, label_key = _pair(key_of, file, needs_labels=labels_file is None)
        images = _entry(archive, image_key, file)
        labels = _load_labels(labels_file) if labels_file else _entry(archive, label_key, file)
        name_key = next((key for key in _CLASS_NAME_KEYS if key in key_of), None)
        names = None
        if name_key:
            names = [str(name) for name in _entry(archive, key_of[name_key], file).reshape(-1)]
    return images, labels, names


def _pair(key_of: Mapping[str, str], file: Path, *, needs_labels: bool) -> tuple[str, str]:
    for images, labels in _PAIRS:
        if images in key_of and (labels in key_of or not needs_labels):
            return key_of[images], key_of.get(labels, "")
    known = "; ".join(f"{images} and {labels}" for images, labels in _PAIRS)
    raise InputError(
        f"no pair of arrays for images and labels among: {', '.join(key_of.values()) or '-'}",
        where=file,
        remedy=f"Use one of these pairs of names: {known}.",
    )


def load_npy(file: Path, *, mmap: bool = False) -> NDArray[Any]:
    """Load the array in a .npy file; pickles are refused.

    Raises:
        InputError: The file cannot be read, or is not an array.
    """
    reject_special_files(file)
    with _explained(file):
        with file.open("rb") as stream:
            _check_header(stream, file.stat().st_size, file, in_memory=not mmap)
        array = np.load(file, mmap_mode="r" if mmap else None, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        array.close()
        raise _wrong_kind(file, ".npz")
    return array


def _check_header(
    stream: IO[bytes], size_bytes: int, where: object, *, in_memory: bool
) -> None:
    """Refuse an array that, by its header, exceeds the file or the available memory.

    Args:
        stream: Start of a .npy file; other formats pass, because NumPy refuses them.
        size_bytes: Size of the file, including the header.
        where: The file, for the message.
        in_memory: Whether the whole array will be read into memory.
    """
    if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        return
    stream.seek(0)
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else (
        np.lib.format.read_array_header_2_0
    )  # fmt: skip
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        return  # NumPy refuses pickles
    needed = math.prod(shape) * dtype.itemsize
    if needed > size_bytes:
        raise InputError(
            f"its header declares {dtype} of shape {shape}, {needed:,} bytes, but it has "
            f"{size_bytes:,}",
            where=where,
            remedy="It is truncated or damaged: download or save it again.",
        )
    if len(shape) and shape[0] > MOST_IMAGES:
        raise InputError(f"has {shape[0]:,} entries", where=where, remedy=_MOST_TEXT)
    if in_memory:
        reject_beyond_memory(needed, where)


def _entry(archive: Any, key: str, file: Path) -> NDArray[Any]:
    where = f"{file}, '{key}'"
    with _explained(where):
        name = key if key in archive.zip.namelist() else f"{key}.npy"
        with archive.zip.open(name) as stream:
            _check_header(stream, archive.zip.getinfo(name).file_size, where, in_memory=True)
        array: NDArray[Any] = archive[key]
    return array


@contextmanager
def _explained(where: object) -> Iterator[None]:
    """Convert any exception while loading a file to an InputError."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise missing_path(Path(str(where)), "array file") from error
    except Exception as error:  # numpy and zipfile can raise any exception for damaged files
        if any(word in str(error) for word in ("allow_pickle", "pickled", "Python objects")):
            raise InputError(
                "this is, or contains, a pickled object, which could run any code when loaded",
                where=where,
                remedy="Save plain arrays of numbers with numpy.save or numpy.savez.",
            ) from error
        raise InputError(f"cannot load this array: {error}", where=where) from error


def _wrong_kind(file: Path, suffix: str) -> InputError:
    return InputError(
        f"the content is that of a {suffix} file",
        where=file,
        remedy=f"Rename it to end in {suffix}.",
    )


def _load_labels(file: Path) -> NDArray[Any]:
    if file.suffix.lower() == ".npy" or not file.exists():
        return load_npy(file)
    labels = []
    reject_special_files(file)
    try:
        reject_large_files(file, MAX_LIST_BYTES)
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the labels: {error}", where=file) from error
    for number, line in enumerate("\n".join(lines).rstrip().split("\n"), start=1):
        index = class_index(line.strip())
        if index is None or index < 0:
            raise InputError(
                f"'{line.strip()[:_MOST_SHOWN]}' is not a class index",
                where=f"{file}, line {number}",
                remedy="Write one integer per line, in the order of the images.",
            )
        labels.append(index)
    return np.array(labels)


def _as_array(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):  # a tensor, perhaps on another device
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # NumPy has no bfloat16
            values = values.float()
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"these values do not form an array: {error}",
            where="arrays",
            remedy="All images in an array must have the same size; use a folder otherwise.",
        ) from error


def _channels_last(images: NDArray[Any], name: str) -> NDArray[Any]:
    """The images as (N, H, W, C)."""
    if images.ndim == 3:
        return images[..., np.newaxis]
    first = images.ndim == 4 and images.shape[1] in (1, 3)
    last = images.ndim == 4 and images.shape[3] in (1, 3)
    if first == last:
        reason = (
            "could be (N, C, H, W) or (N, H, W, C)" if first else "is not a batch of images"
        )
        raise InputError(
            f"the images' shape {images.shape} {reason}",
            where=name,
            remedy="Use (N, H, W, C) with 1 or 3 channels C and sides over 3 px.",
        )
    return images if last else np.moveaxis(images, 1, 3)


def _eight_bit(images: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if images.size == 0:
        raise InputError(f"these images are empty: shape {images.shape}", where=name)
    if images.dtype == np.uint8:
        return images
    if images.dtype.kind not in "iuf":
        raise InputError(
            f"the images have dtype {images.dtype}",
            where=name,
            remedy="Use uint8, 0 to 255, or floats in [0, 1].",
        )
    floating = images.dtype.kind == "f"
    _check_range(images, name, highest=1 if floating else 255)
    out = np.empty(images.shape, np.uint8)
    for start in range(0, len(images), _CHUNK):
        part = images[start : start + _CHUNK]
        out[start : start + _CHUNK] = (
            np.rint(part.astype(np.float64).clip(0, 1) * 255) if floating else part
        )
    return out


def _check_range(images: NDArray[Any], name: str, *, highest: int) -> None:
    low, high = images.min(), images.max()
    excess = ROUNDING_EXCESS if images.dtype.kind == "f" else 0
    if low >= -excess and high <= highest + excess:
        return
    remedy = "Use uint8 images, 0 to 255, or floats in [0, 1]."
    if images.dtype.kind != "f":
        what = f"the images are integers from {low} to {high}, not in 0 to 255"
    elif not np.isfinite(low) or not np.isfinite(high):
        what = "the images contain values that are not finite"
    elif low < 0:
        what = f"the images are floats from {low:.3g} to {high:.3g}: already normalised?"
        remedy += " Corruptions apply before normalisation, which the classifier does."
    else:
        what = f"the images are floats from {low:.3g} to {high:.3g}, not in [0, 1]"
        remedy += " If the range is 0 to 255, convert them to uint8."
    raise InputError(what, where=name, remedy=remedy)


def _indices(labels: NDArray[Any], name: str) -> NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise InputError(
            f"the labels are {labels.dtype} of shape {labels.shape}",
            where=name,
            remedy="Use one integer per image: its class index, from 0.",
        )
    return labels.astype(np.int64)
