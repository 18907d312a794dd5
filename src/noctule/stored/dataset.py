"""Images of a stored set as they go into a model's preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from noctule.benchmarks import Condition
from noctule.data import Dataset
from noctule.errors import UnreadableImageError
from noctule.models import Preprocessing
from noctule.stored.read import StoredSet


class ShownImages(Dataset):
    """Chosen images of a stored set, as they go into the model's preprocessing.

    Args:
        stored: the set.
        chosen: (condition, index of the image) of each.
        prepare: from an image that is not in the stored set but in the data beside it.
        image_px: the size that the set's images must have; None is any.
    """

    def __init__(
        self,
        stored: StoredSet,
        chosen: Sequence[tuple[Condition, int]],
        prepare: Callable[[Image.Image], Image.Image],
        image_px: tuple[int, int] | None,
    ) -> None:
        self.stored = stored
        self.chosen = chosen
        self.prepare = prepare
        self.image_px = image_px
        ids = [f"{condition}/{stored.ids[index]}" for condition, index in chosen]
        labels = stored.labels[[index for _, index in chosen]]
        super().__init__(stored.name, stored.class_names, ids, labels)

    def read(self, index: int) -> Image.Image:
        """Image `index`.

        Raises:
            UnreadableImageError: it cannot be decoded, or has another size than all must have.
        """
        condition, position = self.chosen[index]
        image = self.stored.images[condition].read(position)
        if condition.corruption is None and self.stored.clean_from == "data":
            return self.prepare(image)
        size = (image.height, image.width)
        if self.image_px is not None and self.image_px != size:
            raise UnreadableImageError(
                self.ids[index],
                f"it is {size[0]} × {size[1]} px, and the set's others are "
                f"{' × '.join(map(str, self.image_px))} px",
            )
        return image

    def content(self) -> Iterator[bytes]:
        """Nothing: its fingerprint is never taken."""
        return iter(())


class Prepared:
    """The model's whole preprocessing, for clean images that were never resized; picklable."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image as the corrupted images lie on disk: of their size, not normalised."""
        pixels = self.preprocessing.prepare(image).permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.array(pixels))


def unchanged(image: Image.Image) -> Image.Image:
    """The image itself: the model's preprocessing does the rest."""
    return image
