"""Registries: named entries of one kind, open to other packages and to a user's own files.

An entry is registered when the module that defines it is imported. That is a module of noctule,
a plugin that the user names with `--plugin`, or a module that an installed package names as an
entry point:

    [project.entry-points."noctule.corruptions"]
    vignette = "my_package.corruptions"

The name of an entry point is the name of the entry; the module registers it when imported. It
is imported when that name is asked for, or when the entries are looked at one by one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from noctule import plugins
from noctule.errors import InputError, NoctuleError, unknown_name

T = TypeVar("T")

_HOW_TO_ADD = " A plugin can add it: --plugin FILE.py."


class Registry(Mapping[str, T]):
    """Entries of one kind by name, in order of registration.

    Names of installed packages' entries come last. Indexing also takes aliases; an unknown
    name raises InputError and suggests the nearest one.

    Args:
        kind: What an entry is called in messages, such as "corruption".
        group: The group of entry points that add entries, such as "noctule.corruptions".
        package: A package of noctule's whose modules register entries; they are imported when
            the registry is first used.

    >>> SHAPES: Registry[type] = Registry("shape", "noctule.shapes")
    >>> @SHAPES.register("square", aliases=["box"])
    ... class Square:
    ...     pass
    >>> SHAPES["box"].__name__, list(SHAPES)
    ('Square', ['square'])
    """

    def __init__(self, kind: str, group: str, package: str | None = None) -> None:
        self.kind = kind
        self.group = group
        self._package = package
        self._entries: dict[str, T] = {}
        self._aliases: dict[str, str] = {}
        self._origins: dict[str, str] = {}
        self._points: dict[str, list[EntryPoint]] | None = None

    def register(self, name: str, *, aliases: Sequence[str] = ()) -> Callable[[T], T]:
        """A decorator that adds what it decorates; errors as of `add`."""

        def add(value: T) -> T:
            self.add(name, value, origin=str(value.__module__), aliases=aliases)
            return value

        return add

    def add(self, name: str, value: T, *, origin: str, aliases: Sequence[str] = ()) -> None:
        """Add an entry.

        Args:
            name: Its name.
            value: The entry.
            origin: The module that defines it.
            aliases: Other names for it.

        Raises:
            InputError: A name is taken. What a script or notebook defines may be defined again.
        """
        for one in (name, *aliases):
            proper = self._aliases.get(one, one)
            before = self._origins.get(proper)
            if before is not None and not before == origin == plugins.SCRIPTS[0]:
                raise self._duplicate(one, before, origin)
        self._entries[name] = value
        self._origins[name] = origin
        self._aliases.update(dict.fromkeys(aliases, name))
        if not origin.startswith("noctule."):
            plugins.note(origin)

    def plugin_of(self, name: str) -> plugins.Plugin | None:
        """The plugin that defines an entry; None if noctule does."""
        _ = self[name]
        return plugins.LOADED.get(self._origins[self._aliases.get(name, name)])

    def __getitem__(self, name: str) -> T:
        found = self._find(name) if isinstance(name, str) else None
        if found is None:
            error = unknown_name(self.kind, str(name), self)
            raise InputError(error.what, remedy=f"{error.remedy}{_HOW_TO_ADD}")
        return self._entries[found]

    def __contains__(self, name: object) -> bool:
        """Whether there is such an entry; nothing is imported for it."""
        if not isinstance(name, str):
            return False
        self._import_own()
        known = name in self._entries or name in self._aliases
        return known or name in self._entry_points()

    def __iter__(self) -> Iterator[str]:
        self._import_own()
        for name, points in self._entry_points().items():
            self._refuse_shadowing(name, points)
        yield from [*dict.fromkeys([*self._entries, *self._entry_points()])]

    def __len__(self) -> int:
        return len(list(iter(self)))

    def loaded(self) -> dict[str, T]:
        """The entries that are registered by now; no other package is imported for it."""
        self._import_own()
        return dict(self._entries)

    def _find(self, name: str) -> str | None:
        """The proper name of an entry, imported if need be."""
        self._import_own()
        proper = self._aliases.get(name, name)
        if proper not in self._entries and name in self._entry_points():
            self._load(name)
        return proper if proper in self._entries else None

    def _import_own(self) -> None:
        if self._package is not None:
            package, self._package = self._package, None
            import_modules(package)

    def _entry_points(self) -> dict[str, list[EntryPoint]]:
        """The entry points of installed packages by name; none of them is imported."""
        if self._points is None:
            self._points = {}
            for point in sorted(entry_points(group=self.group), key=lambda one: one.name):
                self._points.setdefault(point.name, []).append(point)
        return self._points

    def _load(self, name: str) -> None:
        """Import the module of an entry point, which registers the entry."""
        point, *others = self._entry_points()[name]
        if others:
            raise self._duplicate(name, _described(point), _described(others[0]))
        where = f"the {self.kind} '{name}' of {_described(point)}"
        remedy = "Repair the package, or uninstall it."
        try:
            point.load()
        except NoctuleError:
            raise
        except (Exception, SystemExit) as error:  # importing runs the package's code
            raise plugins.PluginError(
                f"cannot be imported: {type(error).__name__}: {error}",
                where=where,
                remedy=remedy,
            ) from error
        if name not in self._entries:
            raise plugins.PluginError(
                f"its module registers no {self.kind} of this name", where=where, remedy=remedy
            )

    def _refuse_shadowing(self, name: str, points: Sequence[EntryPoint]) -> None:
        """Refuse an installed package's entry that has the name of another package's."""
        origins = [self._origins[name]] if name in self._origins else []
        origins += [_described(point) for point in points]
        for origin in origins[1:]:
            if origins[0].partition(".")[0] != origin.partition(".")[0]:
                raise self._duplicate(name, origins[0], origin)

    def _duplicate(self, name: str, before: str, origin: str) -> InputError:
        return InputError(
            f"two entries of the kind {self.kind} are named '{name}': one of {before}, one of "
            f"{origin}",
            remedy="Rename one of them, or leave out or uninstall the plugin.",
        )


def import_modules(package: str) -> None:
    """Import every module of a package in alphabetical order, which registers its entries."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def _described(point: EntryPoint) -> str:
    package = f", package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.module}{package}"
