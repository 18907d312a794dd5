"""The registry of corruptions: `@corruption` registers a kernel under its own name.

The command line, tables, contact sheets, benchmarks and tests look corruptions up here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence

from noctule.corruptions.draws import Draw
from noctule.corruptions.spec import Corruption, Kernel
from noctule.registry import Registry

CORRUPTIONS: Registry[Corruption] = Registry("corruption", "noctule.corruptions")


def corruption(
    *,
    family: str,
    source: str,
    draws: Mapping[str, Draw],
    channels: int | None = None,
    bytes_per_value: int = 3,
    published_name: str | None = None,
    aliases: Sequence[str] = (),
) -> Callable[[Kernel], Kernel]:
    """Register the decorated kernel under its own name.

    Args:
        family, source, draws, channels, bytes_per_value, published_name: See `Corruption`.
        aliases: Other names by which the registry finds it.

    Raises:
        InputError: A name is taken.
        ValueError: The kernel's parameters are not the draws.
    """

    def register(kernel: Kernel) -> Kernel:
        parameters = [
            name for name in inspect.signature(kernel).parameters if name != "released"
        ]
        if parameters[1:] != list(draws):
            raise ValueError(
                f"{kernel.__name__}: the draws are {list(draws)}, but the kernel takes "
                f"{parameters[1:]}"
            )
        value = Corruption(
            name=kernel.__name__,
            family=family,
            source=source,
            draws=dict(draws),
            kernel=kernel,
            channels=channels,
            bytes_per_value=bytes_per_value,
            published_name=published_name or kernel.__name__,
        )
        CORRUPTIONS.add(value.name, value, origin=kernel.__module__, aliases=aliases)
        return kernel

    return register
