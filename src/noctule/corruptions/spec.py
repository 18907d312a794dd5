"""What a corruption is: a pure function of a batch and of per-image parameters, plus data."""

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
Mode = Literal["paper", "released"]
MODES: tuple[Mode, ...] = ("paper", "released")


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
        bytes_per_value: working memory per value of the images, by which batches are cut into
            pieces: roughly what the kernel needs, or what was found to be fastest.
        published_name: what its authors call it, and so its folder or file in their datasets.
        mode: "paper" does what the publication says; "released" what the released code
            does, mistakes included, where the kernel's docstring says that they differ.
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
        # Tables of draws cannot be hashed; what is equal has the same name and mode.
        return hash((self.name, self.mode))

    @property
    def has_modes(self) -> bool:
        """Whether the released code differs from what was published, and both can be had."""
        return "released" in inspect.signature(self.kernel).parameters

    def in_mode(self, mode: Mode) -> Corruption:
        """The corruption in one of `MODES`; the same where there is no difference.

        Raises:
            InputError: no such mode.
        """
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES, where=self.name)
        return replace(self, mode=mode)

    def with_tables(self, tables: Mapping[str, Sequence[float]]) -> Corruption:
        """The corruption with other values for the five severities, by parameter name.

        Raises:
            InputError: no such table, not five values, or a value beyond its limits.
        """
        draws = dict(self.draws)
        known = {key: d for key, d in self.draws.items() if isinstance(d, PerSeverity)}
        for name, values in tables.items():
            if not known:
                raise InputError(
                    "no parameter of it has a table of severities", where=self.name
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
        """Corrupt a batch; see `noctule.corrupt` for the arguments."""
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
        """Draw the parameters of each image, by name, from its id, the seed and the severity.

        On the CPU, whatever the device they are for: another may fuse a product and a sum, and
        round once where the CPU rounds twice.

        Raises:
            InputError: the seed or the severity is not a whole number, or out of range.
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
                # One lot decides on the severity of every table, so that they stay together.
                keys[name] = key_of(seed, self.name, "level")
            else:
                values[name] = draw.at(severity, len(ids))
        words = image_words(list(keys.values()), ids) if keys else []
        for name, word in zip(keys, words, strict=True):
            values[name] = self.draws[name].sample(word, severity)
        return {name: values[name].to(device) for name in self.draws}

    def apply(self, images: Tensor, **parameters: Tensor | Stream) -> Tensor:
        """Apply given parameters, a value (or stream) per image; nothing is drawn."""
        images = checked_images(images, where=self.name, channels=self.channels)
        images = images.detach().contiguous()
        kernel = self.kernel
        if self.has_modes:
            kernel = functools.partial(kernel, released=self.mode == "released")
        size = max(
            1,
            _working_bytes(images.device) // max(1, images[:1].numel() * self.bytes_per_value),
        )
        if len(images) <= size:  # without a copy, whose threads would disturb a codec's
            return kernel(images, **parameters) if len(images) else images.clone()
        # Made outside of the inference mode, so that a network can be trained on it. Inside,
        # operations are quicker to start.
        result = torch.empty_like(images)
        with torch.inference_mode():
            for piece in even_parts(len(images), -(-len(images) // size)):
                values = {name: value[piece] for name, value in parameters.items()}
                result[piece] = kernel(images[piece], **values)
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
    torch.empty(PRIMING_BYTES, dtype=torch.uint8)  # never written, so it costs no memory
    return CPU_WORKING_BYTES
