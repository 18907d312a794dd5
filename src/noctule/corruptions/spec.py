"""The class `Corruption`: a pure function of images and per-image parameters, plus data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.arguments import seed_number, whole_number
from noctule.corruptions.checks import (
    as_ids,
    checked_images,
    checked_tables,
    checked_values,
    with_values,
)
from noctule.corruptions.draws import (
    CONSTANT,
    SEVERITIES,
    Choice,
    Draw,
    NoiseField,
    PerSeverity,
)
from noctule.corruptions.grouping import even_parts
from noctule.errors import InputError, unknown_name
from noctule.sampling import Stream, id_words

# Batches are split into chunks whose temporaries take about this much memory: on a CPU, little
# enough to stay in the cache and to be reused without page faults. Results do not depend on it,
# and memory does not grow with the batch.
CPU_WORKING_BYTES = 1 << 24
CUDA_WORKING_BYTES = 1 << 31

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
        return self._modes[mode]

    @functools.cached_property
    def _modes(self) -> dict[Mode, Corruption]:
        return {mode: self if mode == self.mode else replace(self, mode=mode) for mode in MODES}

    def with_tables(self, tables: Mapping[str, Sequence[float]]) -> Corruption:
        """Return the corruption with other values for the five severities, by parameter name.

        Raises:
            InputError: A parameter has no table, or its values are not five, or out of range.
        """
        draws = dict(self.draws)
        known = {key: d for key, d in self.draws.items() if isinstance(d, PerSeverity)}
        for name, values in checked_tables(tables, self.name).items():
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
        given = self.given(fixed, len(images))
        random = self.is_random(severity, given)
        if ids is not None or random:
            ids = as_ids(ids, images)
        drawn = self.draw(ids if random else None, seed, severity, len(images))
        for name, value in given.items():
            drawn.values[:, list(self.draws).index(name)] = value
        return self._run(images, drawn)

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
        return self._parameters(self.draw(ids, seed, severity), device)

    def apply(self, images: Tensor, **parameters: Tensor | Stream) -> Tensor:
        """Corrupt images with these parameters: one value, or one stream, for each image.

        Raises:
            InputError: The images are unsuitable, or a parameter is outside its limits.
        """
        images = checked_images(images, where=self.name, channels=self.channels)
        drawn = Drawn.empty(len(images), len(self.draws))
        for column, (name, draw) in enumerate(self.draws.items()):
            parameter = parameters[name]
            if isinstance(parameter, Stream):
                drawn.keys[:, column] = parameter.keys.cpu().numpy().view(np.uint32)
            else:
                drawn.values[:, column] = self._checked(name, draw, parameter, len(images))
        return self._run(images, drawn)

    def apply_kernel(self, images: Tensor, drawn: Drawn) -> Tensor:
        """Apply the torch kernel, in chunks that do not need too much memory.

        On a CPU this is the second opinion on the compiled loop.
        """
        images = images.detach().contiguous()
        kernel, parameters = self.kernel, self._parameters(drawn, images.device)
        if self.has_modes:
            kernel = functools.partial(kernel, released=self.mode == "released")
        per_image = max(1, images[:1].numel() * self.bytes_per_value)
        size = max(1, _working_bytes(images.device) // per_image)
        if len(images) <= size:
            return kernel(images, **parameters) if len(images) else images.clone()
        # Allocated outside inference mode, so that networks can be trained on it. Inside,
        # operations have less overhead.
        result = torch.empty_like(images)
        with torch.inference_mode():
            for chunk in even_parts(len(images), -(-len(images) // size)):
                values = {name: value[chunk] for name, value in parameters.items()}
                result[chunk] = kernel(images[chunk], **values)
        return result

    def _run(self, images: Tensor, drawn: Drawn) -> Tensor:
        if images.is_cpu:
            array, (_, driver) = images.numpy(force=True), _loops()
            out = driver.empty_like(array)
            if driver.run(self, array, out, drawn):
                return torch.from_numpy(out)
        return self.apply_kernel(images, drawn)

    def draw(
        self, ids: Sequence[str | int] | None, seed: int, severity: int | None, count: int = 1
    ) -> Drawn:
        """`sample` as arrays of numbers, with which `apply_kernel` is called.

        Without ids, for `count` images, nothing may be random, see `is_random`.
        """
        words = np.zeros((count, 2), np.uint32) if ids is None else id_words(ids)
        drawn = Drawn.empty(len(words), len(self.draws))
        # One draw chooses the severity for all tables of a corruption. Its name is part of the
        # random key, as are the names of all draws: renaming any of them changes pixels. Hence
        # "level", the former word for severity.
        drawing, _ = _loops()
        keys = drawing.keys_of(seed_number(seed), self.name, self._key_names)
        drawing.draw(self._rows(severity)[0], keys, words, *drawn)
        return drawn

    @functools.cached_property
    def _key_names(self) -> tuple[str, ...]:
        return tuple(
            "level" if isinstance(draw, PerSeverity) else name
            for name, draw in self.draws.items()
        )

    @functools.cached_property
    def _known_rows(self) -> dict[int | None, tuple[NDArray[np.float64], frozenset[str]]]:
        return {}

    def _rows(self, severity: int | None) -> tuple[NDArray[np.float64], frozenset[str]]:
        """The draws at a severity as numbers, float64 (draws, 7), and those that are random."""
        if severity is not None:
            remedy = "Use 1 (mild) to 5 (severe), or None for the full range."
            severity = whole_number(
                severity, "severity", low=SEVERITIES[0], high=SEVERITIES[-1], remedy=remedy
            )
        rows = self._known_rows.get(severity)
        if rows is None:
            by_name = {name: draw.row(severity) for name, draw in self.draws.items()}
            random = frozenset(name for name, row in by_name.items() if row[0] != CONSTANT)
            rows = np.array([*by_name.values()], np.float64).reshape(-1, 7), random
            self._known_rows[severity] = rows
        return rows

    def is_random(self, severity: int | None, given: Collection[str] = ()) -> bool:
        """Whether anything is random, given the values of some parameters."""
        return not self._rows(severity)[1].issubset(given)

    def _parameters(self, drawn: Drawn, device: torch.device | str) -> Parameters:
        values = torch.from_numpy(drawn.values).to(device)
        keys = torch.from_numpy(drawn.keys.view(np.int32)).to(device)
        parameters: Parameters = {}
        for column, (name, draw) in enumerate(self.draws.items()):
            if isinstance(draw, NoiseField):
                parameters[name] = Stream(keys[:, column])
            else:
                value = values[:, column]
                parameters[name] = value.to(torch.int64) if draw.whole else value.clone()
        return parameters

    def given(self, fixed: Mapping[str, Any], count: int) -> dict[str, NDArray[Any]]:
        """The parameters that the user sets, checked: one number, or one for each image.

        Raises:
            InputError: There is no such parameter, or its value is out of range.
        """
        found = {}
        for name, value in fixed.items():
            draw = self.draws.get(name)
            if draw is None or isinstance(draw, NoiseField):
                known = [key for key, d in self.draws.items() if not isinstance(d, NoiseField)]
                raise unknown_name("parameter", name, known, where=self.name)
            found[name] = self._checked(name, draw, value, count)
        return found

    def _checked(self, name: str, draw: Draw, value: Any, count: int) -> NDArray[Any]:
        where = f"{self.name}.{name}"
        if isinstance(draw, NoiseField):
            raise InputError("is not a stream of random words", where=where)
        if isinstance(draw, Choice) and isinstance(value, str):
            if value not in draw.options:
                raise unknown_name("option", value, draw.options, where=where)
            value = draw.options.index(value)
        return checked_values(where, draw, value, count)


class Drawn(NamedTuple):
    """The parameters of a batch of images, as numbers.

    Attributes:
        values: One number for each draw, float64 (batch, draws).
        keys: The keys of streams, uint32 (batch, draws, 2).
    """

    values: NDArray[np.float64]
    keys: NDArray[np.uint32]

    @classmethod
    def empty(cls, images: int, draws: int) -> Drawn:
        """Undefined values."""
        return cls(np.empty((images, draws)), np.empty((images, draws, 2), np.uint32))


@functools.cache
def _loops() -> tuple[Any, Any]:
    """The modules `drawing` and `driver` of the loops, whose import of Numba takes long."""
    from noctule.corruptions.loops import drawing, driver

    return drawing, driver


def _working_bytes(device: torch.device) -> int:
    return CPU_WORKING_BYTES if device.type == "cpu" else CUDA_WORKING_BYTES
