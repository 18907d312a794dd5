"""What a corruption is: a pure function of a batch and of per-image parameters, plus data.

`@corruption` registers a kernel; the command line, the tables, the gallery, the tests and the
benchmarks find it in the registry.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from noctule.corruptions.draws import LEVELS, Choice, Draw, Field, Integer, Uniform
from noctule.errors import InputError, unknown_name
from noctule.sampling import Stream, image_words, key_of

MIN_SIDE_PX = 16
# Batches are cut into pieces whose intermediate results take about this much memory: on a CPU
# little enough to stay in cache and to be reused without new page faults. The result cannot
# tell, and the memory needed does not grow with the batch.
CPU_WORKING_BYTES = 1 << 24
CUDA_WORKING_BYTES = 1 << 31
# glibc returns freed memory to the system at once, and every large temporary then costs page
# faults (measured: up to half the time), until a block about this large has been freed once.
PRIMING_BYTES = (1 << 25) - (1 << 16)

Parameters = dict[str, Tensor | Stream]
Kernel = Callable[..., Tensor]


@dataclass(frozen=True)
class Corruption:
    """A named family of transformations with a range.

    Call it on a batch to draw parameters and apply them; `sample` and `apply` are the two
    halves. Both treat every image on its own: `c(x, ids=i)[k]` equals
    `c(x[k:k+1], ids=i[k:k+1])[0]` to the bit.

    Attributes:
        name: its name in files, tables and on the command line.
        family: noise, blur, geometry, occlusion, color, digital or weather.
        source: where it was published.
        draws: what is drawn for each image, by parameter name.
        kernel: the function `(images, **parameters) -> images`.
        channels: the number of channels it needs, or None if any.
        bytes_per_value: working memory the kernel needs, roughly, per value of the images.
    """

    name: str
    family: str
    source: str
    draws: Mapping[str, Draw]
    kernel: Kernel = field(repr=False)
    channels: int | None = None
    bytes_per_value: int = 3

    @property
    def summary(self) -> str:
        """The first line of the kernel's docstring."""
        return (inspect.getdoc(self.kernel) or "").partition("\n")[0]

    def __call__(
        self,
        images: Tensor,
        *,
        ids: Sequence[str | int] | Tensor | None = None,
        seed: int = 0,
        level: int | None = None,
        **fixed: float | int | str | Tensor,
    ) -> Tensor:
        """Corrupt a batch; see `noctule.corrupt` for the arguments."""
        check_images(images, self)
        names = _as_ids(ids, len(images))
        parameters = self.sample(names, seed=seed, level=level, device=images.device)
        parameters.update(self._fixed(fixed, images))
        return self.apply(images, **parameters)

    def sample(
        self,
        ids: Sequence[str | int],
        *,
        seed: int = 0,
        level: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Parameters:
        """Draw the parameters of each image, by name, from its id, the seed and the level.

        Raises:
            InputError: if the level is not None or 1 to 5.
        """
        if level is not None and level not in LEVELS:
            raise InputError(
                f"there is no level {level!r}",
                where=self.name,
                remedy="Use 1 (mild) to 5 (severe), or None for the full range.",
            )
        keys = [key_of(seed, self.name, name) for name in self.draws]
        words = image_words(keys, ids, device)
        return {
            name: draw.sample(word, level)
            for (name, draw), word in zip(self.draws.items(), words, strict=True)
        }

    def apply(self, images: Tensor, **parameters: Tensor | Stream) -> Tensor:
        """Apply given parameters, a value (or stream) per image; nothing is drawn."""
        check_images(images, self)
        images = images.contiguous()
        size = max(
            1,
            _working_bytes(images.device) // max(1, images[:1].numel() * self.bytes_per_value),
        )
        if len(images) <= size:
            return self.kernel(images, **parameters) if len(images) else images.clone()
        result = torch.empty_like(images)
        for start in range(0, len(images), size):
            piece = slice(start, start + size)
            result[piece] = self.kernel(
                images[piece], **{name: value[piece] for name, value in parameters.items()}
            )
        return result

    def _fixed(self, fixed: Mapping[str, Any], images: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for name, value in fixed.items():
            draw = self.draws.get(name)
            if draw is None or isinstance(draw, Field):
                known = [key for key, d in self.draws.items() if not isinstance(d, Field)]
                raise unknown_name("parameter", name, known, where=self.name)
            if isinstance(draw, Choice) and isinstance(value, str):
                if value not in draw.options:
                    raise unknown_name(
                        "option", value, draw.options, where=f"{self.name}.{name}"
                    )
                value = draw.options.index(value)
            tensor = _checked_values(f"{self.name}.{name}", draw, value, len(images))
            tensor = tensor.to(images.device)
            values[name] = tensor.expand(len(images)).contiguous()
        return values


def _checked_values(
    where: str, draw: Uniform | Integer | Choice, value: Any, count: int
) -> Tensor:
    """One number or `count` of them, float64 or int64, within the draw's limits."""
    try:
        numbers = torch.as_tensor(value, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{value!r} is not a number", where=where) from error
    if numbers.dim() > 1 or numbers.numel() not in (1, count):
        raise InputError(
            f"has shape {tuple(numbers.shape)} for {count} images",
            where=where,
            remedy="Give one number, or one for each image.",
        )
    low, high = draw.limits
    whole = not isinstance(draw, Uniform)
    good = torch.isfinite(numbers) & (numbers >= low) & (numbers <= high)
    if whole:
        good &= numbers == numbers.round()
    if not bool(good.all()):
        wrong = numbers.flatten()[~good.flatten()][0].item()
        kind = "a whole number" if whole else "a number"
        raise InputError(
            f"is {wrong:g}", where=where, remedy=f"Use {kind} from {low:g} to {high:g}."
        )
    return numbers.to(torch.int64) if whole else numbers


@functools.cache
def _working_bytes(device: torch.device) -> int:
    if device.type != "cpu":
        return CUDA_WORKING_BYTES
    torch.empty(PRIMING_BYTES, dtype=torch.uint8)  # never written, so it costs no memory
    return CPU_WORKING_BYTES


def _as_ids(ids: Sequence[str | int] | Tensor | None, count: int) -> Sequence[str | int]:
    if ids is None:
        return range(count)
    if isinstance(ids, Tensor):
        ids = ids.tolist()
    if len(ids) != count:
        raise InputError(f"{len(ids)} ids for {count} images", where="ids")
    return ids


def check_images(images: Tensor, corruption: Corruption) -> None:
    """Refuse what no corruption is defined on.

    Raises:
        InputError: wrong type, rank, dtype, number of channels, size or range.
    """
    where = corruption.name
    if not isinstance(images, Tensor):
        raise InputError(
            f"images is a {type(images).__name__}", where=where, remedy="Pass a torch.Tensor."
        )
    if images.dtype not in (torch.uint8, torch.float32):
        raise InputError(
            f"images has dtype {images.dtype}",
            where=where,
            remedy="Use uint8, or float32 in [0, 1].",
        )
    if images.dim() != 4 or images.shape[1] not in (1, 3):
        raise InputError(
            f"images has shape {tuple(images.shape)}",
            where=where,
            remedy="Use (batch, channels, height, width) with 1 or 3 channels.",
        )
    if corruption.channels is not None and images.shape[1] != corruption.channels:
        raise InputError(
            f"needs {corruption.channels} channels, the images have {images.shape[1]}",
            where=where,
            remedy="Convert grey images to RGB, or leave this corruption out.",
        )
    if min(images.shape[2:]) < MIN_SIDE_PX:
        raise InputError(
            f"images are {images.shape[2]} × {images.shape[3]} px",
            where=where,
            remedy=f"The shorter side must be at least {MIN_SIDE_PX} px.",
        )
    if images.dtype == torch.float32 and images.numel():
        low, high = (value.item() for value in torch.aminmax(images))
        if not (low >= 0 and high <= 1):  # also catches NaN
            raise InputError(
                f"pixel values run from {low:g} to {high:g}, outside [0, 1]",
                where=where,
                remedy="Corrupt before normalising; divide 0…255 by 255.",
            )


class Registry(Mapping[str, Corruption]):
    """The corruptions by name, in order of registration.

    Indexing also takes aliases, and an unknown name raises InputError with the nearest one.
    """

    def __init__(self) -> None:
        self._corruptions: dict[str, Corruption] = {}
        self._aliases: dict[str, str] = {}

    def __getitem__(self, name: str) -> Corruption:
        found = self._corruptions.get(self._aliases.get(name, name))
        if found is None:
            raise unknown_name("corruption", name, self._corruptions)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._corruptions or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._corruptions)

    def __len__(self) -> int:
        return len(self._corruptions)

    def register(self, corruption: Corruption, aliases: Sequence[str] = ()) -> None:
        """Add a corruption.

        Raises:
            ValueError: if the name is taken, or the kernel's parameters are not the draws.
        """
        for name in (corruption.name, *aliases):
            if name in self:
                raise ValueError(f"a corruption named {name!r} exists already")
        wanted = list(inspect.signature(corruption.kernel).parameters)[1:]
        if wanted != list(corruption.draws):
            raise ValueError(
                f"{corruption.name}: draws {list(corruption.draws)}, but kernel takes {wanted}"
            )
        self._corruptions[corruption.name] = corruption
        self._aliases.update(dict.fromkeys(aliases, corruption.name))


CORRUPTIONS = Registry()


def corruption(
    *,
    family: str,
    source: str,
    draws: Mapping[str, Draw],
    channels: int | None = None,
    bytes_per_value: int = 3,
    aliases: Sequence[str] = (),
) -> Callable[[Kernel], Kernel]:
    """Register the decorated kernel under its own name; the arguments are `Corruption`'s."""

    def register(kernel: Kernel) -> Kernel:
        CORRUPTIONS.register(
            Corruption(
                kernel.__name__, family, source, dict(draws), kernel, channels, bytes_per_value
            ),
            aliases,
        )
        return kernel

    return register
