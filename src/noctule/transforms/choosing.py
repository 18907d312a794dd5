"""Which corruption each image gets, as a function of a seed and the image's id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from noctule.arguments import (
    choice,
    image_ids,
    is_sequence,
    real_number,
    seed_number,
    whole_number,
)
from noctule.corruptions import CORRUPTIONS, MODES, SEVERITIES, Corruption, Mode
from noctule.corruptions.content import content_ids
from noctule.errors import InputError, unknown_name
from noctule.sampling import fresh_seed, image_words, integers, key_of, unit_interval
from noctule.transforms.warp import GEOMETRY, Origins, origins_of

Ids = str | int | Sequence[str | int] | Tensor | None


class AppliedCorruption(NamedTuple):
    """What a transform did, so that it can be done again.

    `noctule.corrupt(image, names[i], severity=severities[i], seed=seed, ids=[ids[i]])` gives
    image i again, to the bit.

    Attributes:
        seed: The seed.
        ids: The id of each image.
        names: The corruption of each image; None for an image that was left as it is.
        severities: The severity of each image; None is the full range.
    """

    seed: int
    ids: tuple[str | int, ...]
    names: tuple[str | None, ...]
    severities: tuple[int | None, ...]


@dataclass(frozen=True)
class CorruptionChoice:
    """The checked arguments of a transform.

    Attributes:
        names: The corruptions to choose from.
        p: Probability that an image is corrupted.
        severities: The severities to choose from; (None,) is the full range.
        seed: Seed; None for a new one in each call.
        mode: One of `MODES`.
        per: Whether each "image" of a batch has its own random numbers, or the "batch" shares.
        fixed: Parameters that are not drawn.
    """

    names: tuple[str, ...]
    p: float
    severities: tuple[int | None, ...]
    seed: int | None
    mode: Mode
    per: str
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def checked(
        cls, names: Any, p: Any, severity: Any, seed: Any, mode: Any, per: Any, fixed: Any
    ) -> CorruptionChoice:
        """Check the arguments of a transform.

        Raises:
            InputError: One of them is unknown or out of range.
        """
        if not is_sequence(names) or not len(names):
            raise InputError(
                "is not a list of corruptions", where="names", remedy="Use ['blur', 'rain']."
            )
        for name in names:
            if name not in CORRUPTIONS:
                raise unknown_name("corruption", name, CORRUPTIONS)
        choices = cls(
            tuple(names),
            real_number(p, "p", low=0, high=1),
            _severities(severity),
            None if seed is None else seed_number(seed),
            choice(mode, "mode", MODES),
            choice(per, "per", ("image", "batch")),
            dict(fixed),
        )
        for name in names:
            choices.corruption(name).given(choices.fixed, 1)
        return choices

    def corruption(self, name: str) -> Corruption:
        """A corruption in the mode of the transform."""
        return CORRUPTIONS[name].in_mode(self.mode)

    def decide(self, images: Tensor, ids: Ids) -> AppliedCorruption:
        """Choose for each image of a batch.

        Args:
            images: (batch, channels, height, width).
            ids: An id for each image; one id for a batch of one image; or None.

        Raises:
            InputError: The number of ids is wrong.
        """
        count = len(images)
        keys: Sequence[str | int]
        if ids is not None:
            single = isinstance(ids, str | int)
            keys = image_ids([ids] if single else ids, "id")
            if len(keys) != count:
                raise InputError(f"{len(keys)} ids for {count} images", where="id")
        elif self.seed is None:
            keys = range(count)
        else:
            keys = content_ids(images)
        if self.per == "batch":
            keys = [*keys[:1]] * count
        seed = self.seed
        if seed is None:
            seed = fresh_seed() if ids is None else 0
        if self.p == 1 and len(self.names) == 1 and len(self.severities) == 1:
            return AppliedCorruption(
                seed, tuple(keys), self.names * count, self.severities * count
            )
        parts = ("coin", "name", "severity")
        words = image_words([key_of("RandomCorruption", part, seed) for part in parts], keys)
        names = integers(words[1][0], 0, len(self.names) - 1).tolist()
        severities = integers(words[2][0], 0, len(self.severities) - 1).tolist()
        corrupted = (unit_interval(words[0][0]) < self.p).tolist()
        chosen = [
            self.names[k] if yes else None for k, yes in zip(names, corrupted, strict=True)
        ]
        strengths = [self.severities[k] for k in severities]
        return AppliedCorruption(seed, tuple(keys), tuple(chosen), tuple(strengths))

    def origins(self, applied: AppliedCorruption, size: tuple[int, int]) -> Origins | None:
        """Where the pixels of the image come from, or None if they stayed where they are.

        Args:
            applied: What was done to the image.
            size: Its height and width.

        Raises:
            InputError: There are several images, or the corruption does more than move pixels.
        """
        moved = [
            name
            for name in applied.names
            if name is not None and self.corruption(name).family == GEOMETRY
        ]
        if not moved:
            return None
        if len(applied.ids) > 1:
            raise InputError(
                f"{moved[0]} moves each image of a batch in another way: boxes, masks and key "
                "points cannot follow",
                remedy="Transform one image at a time, before they are batched.",
            )
        return origins_of(
            self.corruption(moved[0]),
            size,
            image_id=applied.ids[0],
            seed=applied.seed,
            severity=applied.severities[0],
            fixed=self.fixed,
        )

    def apply(self, images: Tensor, applied: AppliedCorruption) -> Tensor:
        """Corrupt each image of a batch as chosen; the images are not modified."""
        groups: dict[tuple[str | None, int | None], list[int]] = {}
        for index, group in enumerate(zip(applied.names, applied.severities, strict=True)):
            groups.setdefault(group, []).append(index)
        result = None if len(groups) == 1 else torch.empty_like(images)
        for (name, severity), which in groups.items():
            part = images if result is None else images[which]
            if name is not None:
                part = self.corruption(name)(
                    part,
                    ids=[applied.ids[index] for index in which],
                    seed=applied.seed,
                    severity=severity,
                    **self.fixed,
                )
            if result is None:
                return part.clone() if name is None else part
            result[which] = part
        return images.clone() if result is None else result


def _severities(severity: Any) -> tuple[int | None, ...]:
    """The severities of None, a number, or a pair (lowest, highest)."""
    if severity is None:
        return (None,)
    low, high = SEVERITIES[0], SEVERITIES[-1]
    if not is_sequence(severity):
        return (whole_number(severity, "severity", low=low, high=high),)
    if len(severity) != 2:
        raise InputError(
            f"{severity!r} is not a pair", where="severity", remedy="Use a pair such as (1, 5)."
        )
    first, last = (whole_number(one, "severity", low=low, high=high) for one in severity)
    if first > last:
        raise InputError(
            f"{first} is above {last}", where="severity", remedy="Put the lower one first."
        )
    return tuple(range(first, last + 1))
