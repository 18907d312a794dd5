"""The registry of corruptions: `@corruption` registers a kernel under its own name.

The command line, tables, contact sheets, benchmarks and tests look corruptions up here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

from noctule.corruptions.draws import Draw
from noctule.corruptions.spec import Corruption, Kernel
from noctule.errors import unknown_name


class Registry(Mapping[str, Corruption]):
    """The corruptions by name, in order of registration.

    Indexing also accepts aliases; an unknown name raises an InputError that suggests the
    nearest one.
    """

    def __init__(self) -> None:
        self._corruptions: dict[str, Corruption] = {}
        self._aliases: dict[str, str] = {}

    def __getitem__(self, name: str) -> Corruption:
        is_text = isinstance(name, str)  # other types may not be hashable
        corruption = self._corruptions.get(self._aliases.get(name, name)) if is_text else None
        if corruption is None:
            raise unknown_name("corruption", name, self._corruptions)
        return corruption

    def __contains__(self, name: object) -> bool:
        return name in self._corruptions or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        return iter(self._corruptions)

    def __len__(self) -> int:
        return len(self._corruptions)

    def register(self, corruption: Corruption, aliases: Sequence[str] = ()) -> None:
        """Add a corruption.

        Raises:
            ValueError: The name is taken, or the kernel's parameters are not the draws.
        """
        for name in (corruption.name, *aliases):
            if name in self:
                raise ValueError(f"a corruption named {name!r} exists already")
        parameters = list(inspect.signature(corruption.kernel).parameters)[1:]
        if "released" in parameters:
            parameters.remove("released")
        if parameters != list(corruption.draws):
            raise ValueError(
                f"{corruption.name}: the draws are {list(corruption.draws)}, but the kernel "
                f"takes {parameters}"
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
    published_name: str | None = None,
    aliases: Sequence[str] = (),
) -> Callable[[Kernel], Kernel]:
    """Register the decorated kernel under its own name.

    Args:
        family, source, draws, channels, bytes_per_value, published_name: See `Corruption`.
        aliases: Other names by which the registry finds it.

    Raises:
        ValueError: A name is taken, or the kernel's parameters are not the draws.
    """

    def register(kernel: Kernel) -> Kernel:
        CORRUPTIONS.register(
            Corruption(
                name=kernel.__name__,
                family=family,
                source=source,
                draws=dict(draws),
                kernel=kernel,
                channels=channels,
                bytes_per_value=bytes_per_value,
                published_name=published_name or kernel.__name__,
            ),
            aliases,
        )
        return kernel

    return register
