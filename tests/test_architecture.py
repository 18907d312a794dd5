"""The house keeps its order: a room imports only from rooms above it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import noctule

PACKAGE = Path(noctule.__file__).parent
ROOMS = [
    "_version", "cache_folder", "errors", "remote", "arguments", "input_files", "plugins",
    "registry", "extras",
    "display",
    "processes",
    "csv_files", "config",
    "provenance", "sampling", "corruptions", "compat", "transforms", "benchmarks", "data",
    "models",
    "outcomes", "store", "metrics", "scoring", "comparison", "evaluation", "callbacks",
    "stored", "studies",
    "report", "testing", "pytest_plugin",
    "explore", "leaderboard", "cli", "__main__",
]  # fmt: skip
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported_modules(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
            # `from noctule import x`: x is the room.
            if node.module == "noctule":
                modules += [f"noctule.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
    return [name for name in modules if name.startswith("noctule.")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    place = ROOMS.index(own)
    for module in imported_modules(path):
        assert ROOMS.index(room_of(module)) <= place, f"{path.name} imports {module}"


def test_every_room_is_listed_and_exists() -> None:
    found = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert found == set(ROOMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_are_small(path: Path) -> None:
    """At most 60 lines of code; a docstring may take what its reader needs."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
            assert node.end_lineno is not None
            assert node.end_lineno - first.lineno < 60, f"{path.name}: {node.name}"


def test_no_two_classes_share_a_name() -> None:
    files: dict[str, list[Path]] = {}
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                files.setdefault(node.name, []).append(path)
    assert not {name: paths for name, paths in files.items() if len(paths) > 1}


def test_importing_noctule_and_its_help_load_nothing_heavy() -> None:
    code = (
        "import sys, noctule, noctule.cli; heavy = {'torch', 'torchvision', 'timm', 'pyarrow', "
        "'scipy', 'skimage', 'sklearn', 'numpy', 'pydantic'} & set(sys.modules); "
        "assert not heavy - {'pydantic'}, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_public_names_exist() -> None:
    for name in noctule.__all__:
        assert getattr(noctule, name) is not None
    # The function and not the module of its room, whichever is imported first.
    assert callable(noctule.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        noctule.evalute  # noqa: B018
