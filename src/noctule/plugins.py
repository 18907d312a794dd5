"""Plugins: modules outside noctule that add corruptions, models, data sources and so on.

A plugin is imported by `--plugin`, by looking up an entry of an installed package (see
`noctule.registry`), or by the user's own program. Importing it runs its code. Plugins in use
are recorded here, for worker processes to import and for the provenance of runs.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from noctule.errors import InputError, NoctuleError
from noctule.input_files import reject_special_files

SCRIPTS = ("__main__", "__mp_main__")
"""Module names of the user's script in the main process and in worker processes."""


class PluginError(InputError):
    """A plugin cannot be imported, or its file has changed since it was imported."""


class Plugin(NamedTuple):
    """A module outside noctule that is in use.

    Attributes:
        module: Name of the module.
        file: Source file; None for a module without one, such as a notebook.
        sha256: SHA-256 (hex) of the file at the time of the import.
        by_path: Whether the module was imported by path instead of by name.
    """

    module: str
    file: Path | None
    sha256: str | None
    by_path: bool = False


LOADED: dict[str, Plugin] = {}
"""The plugins in use by module name."""


def load_plugin(name_or_file: str) -> None:
    """Import a plugin: a module by name, or a .py file by path.

    The working directory is on the import path, as with `python -m`.

    Raises:
        PluginError: The plugin does not exist, its import fails, or its file has the name of
            another module.
        InputError: The plugin registers a name that is taken.
    """
    if name_or_file.endswith(".py"):
        _load_file(Path(name_or_file))
    else:
        module = import_module(name_or_file, "--plugin")
        if hasattr(module, "__path__") and getattr(module, "__file__", None) is None:
            raise PluginError(
                f"'{name_or_file}' is a folder without __init__.py, not a module",
                where="--plugin",
                remedy="Name a module or a .py file in it.",
            )
        note(module.__name__)


def import_module(name: str, where: object) -> ModuleType:
    """Import a module of the user by name; the working directory is put on the import path.

    Raises:
        PluginError: The import fails; the original exception is the cause.
        InputError: The module itself raises it, such as for a duplicate name.
    """
    here = str(Path.cwd())
    # Never removed: the user's functions may import their neighbours when called, and spawned
    # workers start with a copy of this path.
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except NoctuleError:
        raise
    except (Exception, SystemExit) as error:  # importing runs the user's code
        raise PluginError(
            f"cannot import '{name}': {type(error).__name__}: {error}",
            where=where,
            remedy="Run from the folder that contains it, or install it.",
        ) from error


def note(module: str) -> None:
    """Record that a module outside noctule is in use."""
    if module not in LOADED:
        file = getattr(sys.modules.get(module), "__file__", None)
        LOADED[module] = _plugin(module, None if file is None else Path(file))


def in_use() -> tuple[Plugin, ...]:
    """The plugins that a new process must import, in order."""
    return tuple(LOADED.values())


def load_in_worker(plugins: Iterable[Plugin]) -> None:
    """Import the plugins of the parent process in this one.

    Raises:
        PluginError: A plugin cannot be imported here, or its file has changed.
    """
    for plugin in plugins:
        if plugin.module in SCRIPTS:
            continue  # multiprocessing runs the script itself
        if plugin.by_path and plugin.file is not None:
            _load_file(plugin.file)
        else:
            note(import_module(plugin.module, "worker process").__name__)
        if LOADED[plugin.module].sha256 != plugin.sha256:
            raise PluginError(
                "has changed since it was imported, so worker processes would run different "
                "code",
                where=plugin.file,
                remedy="Rerun the command.",
            )


def records() -> list[dict[str, Any]]:
    """Module, file, hash, package and version of each plugin in use, for provenance."""
    packages = packages_distributions() if LOADED else {}
    return [
        {
            "module": plugin.module,
            "file": plugin.file.name if plugin.file else None,
            "sha256": plugin.sha256,
            "package": (package := _package(plugin.module, packages)),
            "version": _version(package),
        }
        for plugin in LOADED.values()
    ]


def _package(module: str, packages: Any) -> str | None:
    return next(iter(packages.get(module.partition(".")[0], ())), None)


def _version(package: str | None) -> str | None:
    try:
        return None if package is None else version(package)
    except PackageNotFoundError:
        return None


def _load_file(path: Path) -> None:
    """Import a .py file under its own name, unless it is already imported."""
    path = path.expanduser().absolute()
    reject_special_files(path)
    if not path.exists():
        raise PluginError("there is no such file", where=path)
    name = path.stem
    if name in LOADED and LOADED[name].file == path:
        return
    _refuse_taken(name, path)
    plugin = _plugin(name, path)._replace(by_path=True)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the file name ends in .py
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    LOADED[name] = plugin
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name], LOADED[name]
        if isinstance(error, NoctuleError) or not isinstance(error, Exception | SystemExit):
            raise
        raise PluginError(
            f"cannot be imported: {type(error).__name__}: {error}",
            where=path,
            remedy="Run it with python to see the traceback.",
        ) from error


def _refuse_taken(name: str, path: Path) -> None:
    """Refuse a file whose module name is invalid or belongs to another module."""
    existing = sys.modules.get(name) or (
        importlib.util.find_spec(name) if name.isidentifier() else None
    )
    other = getattr(existing, "__file__", None) or getattr(existing, "origin", None)
    if not name.isidentifier() or (existing is not None and Path(str(other)) != path):
        what = f"the name of another module, {other}" if existing else "not a valid module name"
        raise PluginError(
            f"'{name}' is {what}",
            where=path,
            remedy="Rename the file to something unique, such as my_plugin.py.",
        )


def _plugin(module: str, file: Path | None) -> Plugin:
    try:
        data = None if file is None else file.read_bytes()
    except OSError:
        data = None
    return Plugin(module, file, None if data is None else hashlib.sha256(data).hexdigest())
