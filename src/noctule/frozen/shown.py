"""Pictures of a frozen set as they go into a model's preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from noctule.benchmarks import Condition
from noctule.data import Dataset
from noctule.errors import UnreadableImageError
from noctule.frozen.read import FrozenSet
from noctule.models import Preprocessing


class ShownPictures(Dataset):
    """Chosen pictures of a frozen set, as they go into the model's preprocessing.

    Args:
        frozen: the set.
        chosen: (condition, index of the image) of each.
        prepare: from a picture that is not in the frozen set but in the data beside it.
        picture_px: the size that the set's pictures must have; None is any.
    """

    def __init__(
        self,
        frozen: FrozenSet,
        chosen: Sequence[tuple[Condition, int]],
        prepare: Callable[[Image.Image], Image.Image],
        picture_px: tuple[int, int] | None,
    ) -> None:
        self.frozen = frozen
        self.chosen = chosen
        self.prepare = prepare
        self.picture_px = picture_px
        ids = [f"{condition}/{frozen.ids[index]}" for condition, index in chosen]
        labels = frozen.labels[[index for _, index in chosen]]
        super().__init__(frozen.name, frozen.class_names, ids, labels)

    def read(self, index: int) -> Image.Image:
        """Picture `index`.

        Raises:
            UnreadableImageError: it cannot be decoded, or has another size than all must have.
        """
        condition, image = self.chosen[index]
        picture = self.frozen.pictures[condition].read(image)
        if condition.corruption is None and self.frozen.clean_from == "data":
            return self.prepare(picture)
        size = (picture.height, picture.width)
        if self.picture_px is not None and self.picture_px != size:
            raise UnreadableImageError(
                self.ids[index],
                f"it is {size[0]} × {size[1]} px, and the set's others are "
                f"{' × '.join(map(str, self.picture_px))} px",
            )
        return picture

    def content(self) -> Iterator[bytes]:
        """Nothing: its fingerprint is never taken."""
        return iter(())


class Prepared:
    """The model's whole preprocessing, for clean images that were never resized; picklable."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image as the corrupted pictures lie on disk: of their size, not normalised."""
        pixels = self.preprocessing.picture(image).permute(1, 2, 0).numpy()
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else np.array(pixels))


def unchanged(image: Image.Image) -> Image.Image:
    """The image itself: the model's preprocessing does the rest."""
    return image
