"""Registries of named entries, which other packages and the user's own files can extend.

Importing the module that defines an entry registers it. The module is part of noctule, a plugin
named with `--plugin`, or the target of an entry point of an installed package:

    [project.entry-points."noctule.corruptions"]
    vignette = "my_package.corruptions"

The entry point has the name of the entry that its module registers. The module is imported when
this entry is looked up.
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

    Names from entry points come last. Indexing also accepts aliases; for an unknown name it
    raises InputError and suggests the nearest one.

    Args:
        kind: Name of the kind of entry in messages, such as "corruption".
        group: Entry point group, such as "noctule.corruptions".
        package: Package in noctule whose modules register entries. They are imported on first
            use of the registry.

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
        """A decorator that adds the decorated object; it raises the errors of `add`."""

        def add(value: T) -> T:
            self.add(name, value, origin=str(value.__module__), aliases=aliases)
            return value

        return add

    def add(self, name: str, value: T, *, origin: str, aliases: Sequence[str] = ()) -> None:
        """Add an entry.

        Args:
            name: Name of the entry.
            value: The entry.
            origin: Name of the module that defines it.
            aliases: Other names of the entry.

        Raises:
            InputError: A name is taken. Only a script or notebook may redefine its own entries.
        """
        for new_name in (name, *aliases):
            proper = self._aliases.get(new_name, new_name)
            before = self._origins.get(proper)
            if before is not None and not before == origin == plugins.SCRIPTS[0]:
                raise self._duplicate(new_name, before, origin)
        self._entries[name] = value
        self._origins[name] = origin
        self._aliases.update(dict.fromkeys(aliases, name))
        if not origin.startswith("noctule."):
            plugins.note(origin)

    def plugin_of(self, name: str) -> plugins.Plugin | None:
        """The plugin that defines an entry, or None if noctule defines it."""
        _ = self[name]
        return plugins.LOADED.get(self._origins[self._aliases.get(name, name)])

    def __getitem__(self, name: str) -> T:
        proper = self._find(name) if isinstance(name, str) else None
        if proper is None:
            error = unknown_name(self.kind, str(name), self)
            raise InputError(error.what, remedy=f"{error.remedy}{_HOW_TO_ADD}")
        return self._entries[proper]

    def __contains__(self, name: object) -> bool:
        """Whether the entry exists; its entry point is not imported."""
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
        """The entries registered so far, without importing entry points."""
        self._import_own()
        return dict(self._entries)

    def _find(self, name: str) -> str | None:
        """The proper name of an entry, whose entry point is imported if necessary."""
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
        """The entry points of installed packages by name, not yet imported."""
        if self._points is None:
            self._points = {}
            for point in sorted(entry_points(group=self.group), key=lambda point: point.name):
                self._points.setdefault(point.name, []).append(point)
        return self._points

    def _load(self, name: str) -> None:
        """Import the module of an entry point, which registers the entry."""
        point, *others = self._entry_points()[name]
        if others:
            raise self._duplicate(name, _describe(point), _describe(others[0]))
        where = f"the {self.kind} '{name}' of {_describe(point)}"
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
                f"its module registers no {self.kind} with this name",
                where=where,
                remedy=remedy,
            )

    def _refuse_shadowing(self, name: str, points: Sequence[EntryPoint]) -> None:
        """Refuse entries of different packages with the same name."""
        origins = [self._origins[name]] if name in self._origins else []
        origins += [_describe(point) for point in points]
        for origin in origins[1:]:
            if origins[0].partition(".")[0] != origin.partition(".")[0]:
                raise self._duplicate(name, origins[0], origin)

    def _duplicate(self, name: str, before: str, origin: str) -> InputError:
        return InputError(
            f"two entries of the kind {self.kind} are named '{name}': in {before}, and in "
            f"{origin}",
            remedy="Rename one of them, or remove the plugin.",
        )


def import_modules(package: str) -> None:
    """Import the modules of a package in alphabetical order, to register their entries."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")


def _describe(point: EntryPoint) -> str:
    package = f", package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.module}{package}"
