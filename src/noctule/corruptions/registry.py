"""The registry: `@corruption` registers a kernel under its own name.

The command line, the tables, the gallery, the tests and the benchmarks find it there.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

from noctule.corruptions.draws import Draw
from noctule.corruptions.spec import Corruption, Kernel
from noctule.errors import unknown_name


class Registry(Mapping[str, Corruption]):
    """The corruptions by name, in order of registration.

    Indexing also takes aliases, and an unknown name raises InputError with the nearest one.
    """

    def __init__(self) -> None:
        self._corruptions: dict[str, Corruption] = {}
        self._aliases: dict[str, str] = {}

    def __getitem__(self, name: str) -> Corruption:
        known = isinstance(name, str)  # what is not may not even be hashed
        found = self._corruptions.get(self._aliases.get(name, name)) if known else None
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
        if "released" in wanted:
            wanted.remove("released")
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
    published_name: str | None = None,
    aliases: Sequence[str] = (),
) -> Callable[[Kernel], Kernel]:
    """Register the decorated kernel under its own name; the arguments are `Corruption`'s."""

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
