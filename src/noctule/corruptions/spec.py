"""The class `Corruption`: a pure function of images and per-image parameters, plus data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from noctule.arguments import seed_number, whole_number
from noctule.corruptions.checks import as_ids, checked_images, checked_values, with_values
from noctule.corruptions.draws import SEVERITIES, Choice, Draw, NoiseField, PerSeverity
from noctule.corruptions.grouping import even_parts
from noctule.errors import InputError, unknown_name
from noctule.sampling import Stream, image_words, key_of

# Batches are split into chunks whose temporaries take about this much memory: on a CPU, little
# enough to stay in the cache and to be reused without page faults. Results do not depend on it,
# and memory does not grow with the batch.
CPU_WORKING_BYTES = 1 << 24
CUDA_WORKING_BYTES = 1 << 31
# glibc returns freed memory to the system immediately, so that every large temporary costs page
# faults (measured: up to half the time), until a block of about this size has been freed once.
PRIMING_BYTES = (1 << 25) - (1 << 16)

Parameters = dict[str, Tensor | Stream]
Kernel = Callable[..., Tensor]
Mode = Literal["paper", "released"]
MODES: tuple[Mode, ...] = ("paper", "released")


@dataclass(frozen=True)
class Corruption:
    """A named corruption with a range for each of its parameters.

    Calling it on a batch draws the parameters and applies them; `sample` and `apply` are the
    two steps. Both treat every image independently: `c(x, ids=i)[k]` is bit-identical to
    `c(x[k:k+1], ids=i[k:k+1])[0]`.

    Attributes:
        name: Name in files, tables and on the command line.
        family: One of noise, blur, geometry, occlusion, color, digital and weather.
        source: Publication, and name in its released code.
        draws: Distribution of each parameter, by parameter name.
        kernel: Function `(images, **parameters) -> images`.
        channels: Number of channels it requires, or None for any.
        bytes_per_value: Working memory per value of the images, which determines the size of
            chunks: roughly what the kernel needs, or what was measured to be fastest.
        published_name: Name that the authors use, as for folders or files of their datasets.
        mode: "paper" does what the publication describes, "released" what the authors'
            released code does, mistakes included. They differ where the kernel's docstring
            says so.
    """

    name: str
    family: str
    source: str
    draws: Mapping[str, Draw]
    kernel: Kernel = field(repr=False)
    channels: int | None = None
    bytes_per_value: int = 3
    published_name: str = ""
    mode: Mode = "paper"

    def __hash__(self) -> int:
        # Draws cannot be hashed; equal corruptions have the same name and mode.
        return hash((self.name, self.mode))

    @property
    def has_modes(self) -> bool:
        """Whether the released code differs from the paper, so that there are two modes."""
        return "released" in inspect.signature(self.kernel).parameters

    def in_mode(self, mode: Mode) -> Corruption:
        """Return the corruption in one of `MODES`.

        Raises:
            InputError: The mode is unknown.
        """
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES, where=self.name)
        return replace(self, mode=mode)

    def with_tables(self, tables: Mapping[str, Sequence[float]]) -> Corruption:
        """Return the corruption with other values for the five severities, by parameter name.

        Raises:
            InputError: A parameter has no table, or its values are not five, or out of range.
        """
        draws = dict(self.draws)
        known = {key: d for key, d in self.draws.items() if isinstance(d, PerSeverity)}
        for name, values in tables.items():
            if not known:
                raise InputError(
                    "none of its parameters has one value per severity", where=self.name
                )
            if name not in known:
                raise unknown_name("table of severities", name, known, where=self.name)
            draws[name] = with_values(known[name], values, f"{self.name}.{name}")
        return replace(self, draws=draws)

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
        severity: int | None = None,
        **fixed: float | int | str | Tensor,
    ) -> Tensor:
        """Corrupt a batch; the arguments are those of `noctule.corrupt`."""
        images = checked_images(images, where=self.name, channels=self.channels)
        names = as_ids(ids, images)
        with torch.inference_mode():
            parameters = self.sample(names, seed=seed, severity=severity, device=images.device)
        parameters.update(self._fixed(fixed, images))
        return self.apply(images, **parameters)

    def sample(
        self,
        ids: Sequence[str | int],
        *,
        seed: int = 0,
        severity: int | None = None,
        device: torch.device | str = "cpu",
    ) -> Parameters:
        """Draw the parameters of each image, by name.

        They are computed on the CPU and then moved to the device, because another device may
        fuse a product and a sum, and round once where the CPU rounds twice.

        Args:
            ids: An integer or string for each image.
            seed: Seed of all random numbers.
            severity: 1 to 5, or None for the full published range.
            device: Device of the result.

        Returns:
            For each name in `draws`, one value, (len(ids),), or a stream of random words.

        Raises:
            InputError: The seed or the severity is not an integer, or is out of range.
        """
        seed = seed_number(seed)
        if severity is not None:
            remedy = "Use 1 (mild) to 5 (severe), or None for the full range."
            severity = whole_number(
                severity, "severity", low=SEVERITIES[0], high=SEVERITIES[-1], remedy=remedy
            )
        values: Parameters = {}
        keys = {}
        for name, draw in self.draws.items():
            if not isinstance(draw, PerSeverity):
                keys[name] = key_of(seed, self.name, name)
            elif severity is None:
                # One draw chooses the severity for all tables of a corruption. Its name is
                # part of the random key, as are the names of all draws: renaming any of them
                # changes pixels. Hence "level", the former word for severity.
                keys[name] = key_of(seed, self.name, "level")
            else:
                values[name] = draw.at(severity, len(ids))
        words = image_words(list(keys.values()), ids) if keys else []
        for name, word in zip(keys, words, strict=True):
            values[name] = self.draws[name].sample(word, severity)
        return {name: values[name].to(device) for name in self.draws}

    def apply(self, images: Tensor, **parameters: Tensor | Stream) -> Tensor:
        """Apply the kernel with these parameters: one value, or one stream, for each image."""
        images = checked_images(images, where=self.name, channels=self.channels)
        images = images.detach().contiguous()
        kernel = self.kernel
        if self.has_modes:
            kernel = functools.partial(kernel, released=self.mode == "released")
        size = max(
            1,
            _working_bytes(images.device) // max(1, images[:1].numel() * self.bytes_per_value),
        )
        if len(images) <= size:  # without a copy, whose threads would compete with a codec's
            return kernel(images, **parameters) if len(images) else images.clone()
        # Allocated outside inference mode, so that networks can be trained on it. Inside,
        # operations have less overhead.
        result = torch.empty_like(images)
        with torch.inference_mode():
            for chunk in even_parts(len(images), -(-len(images) // size)):
                values = {name: value[chunk] for name, value in parameters.items()}
                result[chunk] = kernel(images[chunk], **values)
        return result

    def _fixed(self, fixed: Mapping[str, Any], images: Tensor) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for name, value in fixed.items():
            draw = self.draws.get(name)
            if draw is None or isinstance(draw, NoiseField):
                known = [key for key, d in self.draws.items() if not isinstance(d, NoiseField)]
                raise unknown_name("parameter", name, known, where=self.name)
            if isinstance(draw, Choice) and isinstance(value, str):
                if value not in draw.options:
                    raise unknown_name(
                        "option", value, draw.options, where=f"{self.name}.{name}"
                    )
                value = draw.options.index(value)
            tensor = checked_values(f"{self.name}.{name}", draw, value, len(images))
            tensor = tensor.to(images.device)
            values[name] = tensor.expand(len(images)).contiguous()
        return values


@functools.cache
def _working_bytes(device: torch.device) -> int:
    if device.type != "cpu":
        return CUDA_WORKING_BYTES
    torch.empty(PRIMING_BYTES, dtype=torch.uint8)  # never written, so it takes no memory
    return CPU_WORKING_BYTES
