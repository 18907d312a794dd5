"""Python datasets: a PyTorch `Dataset`, or anything with a length and items."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from noctule.data import imagenet
from noctule.data.dataset import Dataset, class_index
from noctule.data.files import printable
from noctule.data.labels import classes_of
from noctule.data.sources.arrays import open_array_pair
from noctule.errors import InputError, UnreadableImageError

if TYPE_CHECKING:
    from PIL import Image

_LABELS: Final = ("targets", "labels", "_labels")
_IMAGE_KEYS: Final = ("image", "img", "pixel_values")
_LABEL_KEYS: Final = ("label", "labels", "target", "fine_label")
_HASHED_IMAGES: Final = 256
_REMEDY: Final = (
    "Items are pairs (image, label) or dictionaries with 'image' and 'label'; an image is a "
    "PIL image, an array (height, width, channels) or a tensor (channels, height, width), of "
    "uint8 or of floats in [0, 1]. Leave out Normalize and random transforms: noctule resizes, "
    "corrupts and then normalises."
)


class ItemDataset(Dataset):
    """The items of a Python dataset.

    Args:
        items: Anything with a length and items; `open_items` describes the items.
    """

    def __init__(self, items: Any) -> None:
        self._items = items
        ids = _ids(items)
        texts = [_label_text(label) for label in _labels(items)]
        class_names, labels = classes_of(texts, ids, _title(items))
        if class_index(class_names[0]) is not None:
            class_names = _class_names(items) or class_names
        domain = imagenet.domain_of(ids, class_names, labels.tolist())
        super().__init__(_title(items), class_names, ids, labels, domain=domain)

    def read(self, index: int) -> Image.Image:
        """The image of item `index` as 8-bit "RGB" or "L"."""
        try:
            return _as_image(_pair(self._items[index])[0])
        except InputError as error:
            raise UnreadableImageError(self.ids[index], error.what) from error
        except Exception as error:  # items are the user's code
            reason = f"{type(error).__name__}: {error}"
            raise UnreadableImageError(self.ids[index], reason) from error

    def content(self) -> Iterator[bytes]:
        """The pixels of up to 256 images, evenly spaced: all would take as long as the run."""
        for index in np.unique(np.linspace(0, len(self) - 1, _HASHED_IMAGES).astype(int)):
            try:
                image = self.read(int(index))
                yield f"{image.mode} {image.size}".encode() + image.tobytes()
            except UnreadableImageError:
                yield b"unreadable"


def open_items(items: Any) -> ItemDataset:
    """Open a PyTorch `Dataset`, the dataset of a `DataLoader`, or one of Hugging Face.

    Of a DataLoader, only the dataset is used: its order, batches and workers are noctule's. An
    item is a pair (image, label) or a mapping with "image" and "label". Labels are those of the
    attribute targets or labels, or else every item is read once. The ids are the paths of an
    ImageFolder, or else the indices; those of a Subset are the ids in the whole dataset.

    Raises:
        InputError: The dataset cannot be indexed, or the first item is not a pair, is
            normalised, or differs when it is read again.
    """
    items = _dataset_of(items)
    title = _title(items)
    if not hasattr(items, "__getitem__") or not hasattr(items, "__len__"):
        raise InputError(
            f"a {title} has no length, or items cannot be read by index",
            remedy="Use a dataset with __len__ and __getitem__: images are read in any order, "
            "by several processes.",
        )
    if len(items) == 0:
        raise InputError("this dataset has no images", where=title)
    try:
        images = [_as_image(_pair(items[0])[0]) for _ in range(2)]
    except InputError as error:
        raise InputError(error.what, where=f"{title}[0]", remedy=_REMEDY) from error
    except Exception as error:  # items are the user's code
        what = f"cannot be read: {type(error).__name__}: {error}"
        raise InputError(what, where=f"{title}[0]", remedy=_REMEDY) from error
    if images[0].tobytes() != images[1].tobytes():
        what = "gives another image each time it is read"
        raise InputError(what, where=f"{title}[0]", remedy=_REMEDY)
    return ItemDataset(items)


def is_items(value: Any) -> bool:
    """Whether a value is a dataset for `open_items`, not an array or a container of Python."""
    if isinstance(value, str | bytes | tuple | list | Mapping | np.ndarray | Path):
        return False
    if (torch := sys.modules.get("torch")) is not None:
        if isinstance(value, torch.Tensor | torch.nn.Module):
            return False
        if isinstance(value, torch.utils.data.Dataset | torch.utils.data.DataLoader):
            return True
    return hasattr(value, "__getitem__") and hasattr(value, "__len__")


def _dataset_of(items: Any) -> Any:
    torch = sys.modules.get("torch")
    is_loader = torch is not None and isinstance(items, torch.utils.data.DataLoader)
    dataset = items.dataset if is_loader else items
    if torch is not None and isinstance(dataset, torch.utils.data.IterableDataset):
        raise InputError(
            f"a {_title(dataset)} can only be iterated, and images are read in any order",
            remedy="Use a dataset with __len__ and __getitem__.",
        )
    return dataset


def _title(items: Any) -> str:
    inner, _ = _subset(items)
    return type(inner).__name__


def _subset(items: Any) -> tuple[Any, Sequence[int] | None]:
    """The whole dataset and the indices of a Subset; the dataset itself and None otherwise."""
    indices: Sequence[int] | None = None
    torch = sys.modules.get("torch")
    while torch is not None and isinstance(items, torch.utils.data.Subset):
        own = [int(index) for index in items.indices]
        indices = own if indices is None else [own[index] for index in indices]
        items = items.dataset
    return items, indices


def _ids(items: Any) -> list[str]:
    inner, indices = _subset(items)
    samples, root = getattr(inner, "samples", None), getattr(inner, "root", None)
    chosen = range(len(items)) if indices is None else indices
    if isinstance(samples, list) and len(samples) == len(inner) and root is not None:
        base = Path(root)
        paths = [Path(samples[index][0]) for index in chosen]
        if all(path.is_relative_to(base) for path in paths):
            return [printable(path.relative_to(base).as_posix()) for path in paths]
    return [f"{index:06d}" for index in chosen]


def _labels(items: Any) -> Sequence[Any]:
    """The labels without reading images if possible; otherwise, every item is read."""
    inner, indices = _subset(items)
    if getattr(inner, "target_transform", None) is None:
        for name in _LABELS:
            labels = getattr(inner, name, None)
            if labels is not None and hasattr(labels, "__len__") and len(labels) == len(inner):
                return [labels[index] for index in indices] if indices is not None else labels
    columns = getattr(items, "column_names", None)  # a dataset of Hugging Face
    for name in _LABEL_KEYS:
        if isinstance(columns, list) and name in columns:
            return list(items[name])
    return [_pair(items[index])[1] for index in range(len(items))]


def _class_names(items: Any) -> list[str] | None:
    inner, _ = _subset(items)
    names = getattr(inner, "classes", None)
    features = getattr(inner, "features", None)
    for name in _LABEL_KEYS:
        if names is None and isinstance(features, Mapping) and name in features:
            names = getattr(features[name], "names", None)
    if not isinstance(names, list | tuple):
        return None
    return [name if isinstance(name, str) else ", ".join(map(str, name)) for name in names]


def _label_text(label: Any) -> str:
    return label if isinstance(label, str) else str(int(label))


def _pair(item: Any) -> tuple[Any, Any]:
    """Image and label of an item."""
    if isinstance(item, Mapping):
        image = next((key for key in _IMAGE_KEYS if key in item), None)
        label = next((key for key in _LABEL_KEYS if key in item), None)
        if image is not None and label is not None:
            return item[image], item[label]
        raise InputError(f"has the keys {', '.join(map(str, item))}")
    if isinstance(item, tuple | list) and len(item) >= 2:
        return item[0], item[1]
    raise InputError(f"is a {type(item).__name__}, not a pair of image and label")


def _as_image(image: Any) -> Image.Image:
    from PIL import Image

    from noctule.data.decode import eight_bit

    if isinstance(image, Image.Image):
        return eight_bit(image)
    if not hasattr(image, "shape"):
        raise InputError(f"its image is a {type(image).__name__}")
    return open_array_pair(image[None], [0]).read(0)
