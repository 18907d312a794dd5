"""Plugins: modules outside noctule that add corruptions, models, data sources and the like.

A plugin is imported when the user names it with `--plugin`, when an entry of an installed
package is asked for (see `noctule.registry`), or by the user's own program. Importing it runs
its code. Each is recorded here, so that worker processes import it as well and runs record
what they used.
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
"""Names of the user's script, in the first process and in those that multiprocessing starts."""


class PluginError(InputError):
    """A plugin cannot be imported, or is not the same in a worker process."""


class Plugin(NamedTuple):
    """A module outside noctule that is in use.

    Attributes:
        module: Its name.
        file: Its source file; None for one without, such as a notebook.
        sha256: SHA-256 of that file, as hex, when the module was imported.
        by_path: Whether it was imported by the path of its file, not by its name.
    """

    module: str
    file: Path | None
    sha256: str | None
    by_path: bool = False


LOADED: dict[str, Plugin] = {}
"""The plugins in use, by the name of their module."""


def load_plugin(name_or_file: str) -> None:
    """Import a plugin: a module by its name, or a .py file by its path.

    The working directory is importable, as it is for `python -m`.

    Raises:
        PluginError: It does not exist, its import fails, or its file has the name of another
            module.
        InputError: It registers a name that is taken.
    """
    if name_or_file.endswith(".py"):
        _load_file(Path(name_or_file))
    else:
        note(import_module(name_or_file, "--plugin").__name__)


def import_module(name: str, where: object) -> ModuleType:
    """Import a module of the user's by its name; the working directory is on the path.

    Raises:
        PluginError: The import fails; the original exception is the cause.
        InputError: As the module raises it, such as for a duplicate name.
    """
    here = str(Path.cwd())
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
            remedy="Run from the folder that holds it, or install it.",
        ) from error


def note(module: str) -> None:
    """Record that a module outside noctule is in use."""
    if module not in LOADED:
        file = getattr(sys.modules.get(module), "__file__", None)
        LOADED[module] = _plugin(module, None if file is None else Path(file))


def in_use() -> tuple[Plugin, ...]:
    """What a new process has to import, in order."""
    return tuple(LOADED.values())


def load_in_worker(plugins: Iterable[Plugin]) -> None:
    """Import in this process the plugins that the process which started it uses.

    Raises:
        PluginError: One cannot be imported here, or its file has changed.
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
                "has changed since it was imported, so that worker processes would run other "
                "code",
                where=plugin.file,
                remedy="Start the command again.",
            )


def records() -> list[dict[str, Any]]:
    """The plugins in use for the provenance of a run: module, file, hash, package, version."""
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
    """Import a .py file under its own name, unless that has been done."""
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
    assert spec is not None  # of a name that ends in .py
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
            remedy="Run it with python to see where it fails.",
        ) from error


def _refuse_taken(name: str, path: Path) -> None:
    """Refuse a file whose name as a module is that of another one."""
    found = sys.modules.get(name) or (
        importlib.util.find_spec(name) if name.isidentifier() else None
    )
    other = getattr(found, "__file__", None) or getattr(found, "origin", None)
    if not name.isidentifier() or (found is not None and Path(str(other)) != path):
        what = f"the name of another module, {other}" if found else "not a module's name"
        raise PluginError(
            f"'{name}' is {what}",
            where=path,
            remedy="Rename the file to a name of its own, such as my_plugin.py.",
        )


def _plugin(module: str, file: Path | None) -> Plugin:
    try:
        data = None if file is None else file.read_bytes()
    except OSError:
        data = None
    return Plugin(module, file, None if data is None else hashlib.sha256(data).hexdigest())
