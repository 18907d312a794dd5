"""Registries: names, aliases, duplicates, and the entry points of installed packages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from noctule import plugins
from noctule.errors import InputError
from noctule.plugins import PluginError
from noctule.registry import Registry

GROUP = "noctule.shapes"


@pytest.fixture
def shapes() -> Registry[object]:
    registry: Registry[object] = Registry("shape", GROUP)
    registry.add("square", "a square", origin="noctule.shapes.plain", aliases=["box"])
    return registry


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path to install packages into."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before, loaded = set(sys.modules), dict(plugins.LOADED)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    plugins.LOADED.clear()
    plugins.LOADED.update(loaded)


def install(site: Path, package: str, entry: str, code: str) -> None:
    """What pip leaves of a package of one module with one entry point."""
    (site / f"{package}.py").write_text(code)
    info = site / f"{package}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    (info / "top_level.txt").write_text(package)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{entry} = {package}\n")


def test_a_registry_is_a_mapping_with_aliases(shapes: Registry[object]) -> None:
    assert shapes["box"] == shapes["square"] == "a square"
    assert dict(shapes) == shapes.loaded() == {"square": "a square"}
    assert len(shapes) == 1
    assert "box" in shapes
    assert "circle" not in shapes
    assert 3 not in shapes
    assert [] not in shapes
    assert shapes.plugin_of("box") is None


@pytest.mark.parametrize("name", ["sqare", "", 3, None, ["square"]])
def test_unknown_names_are_refused(shapes: Registry[object], name: str) -> None:
    with pytest.raises(InputError, match=r"unknown shape .* Known: square\. A plugin can add"):
        shapes[name]
    with pytest.raises(InputError, match="Did you mean 'square'"):
        shapes["sqare"]


@pytest.mark.parametrize(("name", "alias"), [("square", "x"), ("box", "x"), ("circle", "box")])
def test_a_name_is_taken_once(shapes: Registry[object], name: str, alias: str) -> None:
    with pytest.raises(InputError, match=r"in noctule\.shapes\.plain, and in mine\.shapes"):
        shapes.add(name, "other", origin="mine.shapes", aliases=[alias])
    assert dict(shapes) == {"square": "a square"}


def test_a_notebook_may_define_an_entry_again(shapes: Registry[object]) -> None:
    for value in (1, 2):
        shapes.add("circle", value, origin="__main__")
    assert shapes["circle"] == 2
    plugins.LOADED.pop("__main__")


def test_an_entry_point_is_imported_when_its_name_is_asked_for(
    shapes: Registry[object], site: Path
) -> None:
    code = "import test_registry as t\nt.CURRENT.add('disc', 'a disc', origin=__name__)\n"
    install(site, "discs", "disc", code)
    globals()["CURRENT"] = shapes
    assert list(shapes) == ["square", "disc"]
    assert "disc" in shapes
    assert shapes["square"] == "a square"
    assert "discs" not in sys.modules
    assert shapes["disc"] == "a disc"
    found = shapes.plugin_of("disc")
    assert found is not None
    assert found.file == site / "discs.py"
    (record,) = (one for one in plugins.records() if one["module"] == "discs")
    assert record["sha256"] == found.sha256
    assert (record["package"], record["version"]) == ("discs", "1.5")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("1 / 0", r"shape 'disc' of discs, package discs 1\.5: .*ZeroDivisionError"),
        ("raise SystemExit(0)", "cannot be imported: SystemExit"),
        ("", "its module registers no shape with this name"),
    ],
)
def test_a_broken_entry_point_is_an_error_of_its_own(
    shapes: Registry[object], site: Path, code: str, message: str
) -> None:
    install(site, "discs", "disc", code)
    assert "disc" in list(shapes)
    with pytest.raises(PluginError, match=message):
        shapes["disc"]


def test_two_packages_with_one_name_are_refused(shapes: Registry[object], site: Path) -> None:
    install(site, "discs", "disc", "")
    install(site, "rounds", "disc", "")
    with pytest.raises(InputError, match=r"'disc': in discs, package .*in rounds,"):
        shapes["disc"]
    with pytest.raises(InputError, match="named 'disc'"):
        list(shapes)


def test_a_package_cannot_replace_an_entry(shapes: Registry[object], site: Path) -> None:
    install(site, "discs", "square", "1 / 0")
    assert shapes["square"] == "a square"
    with pytest.raises(InputError, match=r"'square': in noctule\.shapes\.plain, and in di"):
        list(shapes)


# ------------------------------------------------------------------------------ plugins by name


def test_a_file_is_imported_once_under_its_own_name(site: Path) -> None:
    file = site / "folder" / "mine_of_a_test.py"
    file.parent.mkdir()
    file.write_text("COUNT = []\nclass Thing: ...\n")
    plugins.load_plugin(str(file))
    module = sys.modules["mine_of_a_test"]
    plugins.load_plugin(str(file))
    assert sys.modules["mine_of_a_test"] is module
    assert module.Thing.__module__ == "mine_of_a_test"
    plugins.load_in_worker([plugins.LOADED["mine_of_a_test"]])
    changed = plugins.LOADED["mine_of_a_test"]._replace(sha256="0")
    with pytest.raises(PluginError, match="has changed since it was imported"):
        plugins.load_in_worker([changed])


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("absent.py", None, "there is no such file"),
        ("no_module_of_this_name", None, "cannot import 'no_module_of_this_name'"),
        ("folder.py", "folder", "is a folder"),
        ("broken_plugin.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("wrong_syntax.py", "def", "cannot be imported: SyntaxError"),
        ("leaves.py", "raise SystemExit", "cannot be imported: SystemExit"),
        ("wave.py", "", "'wave' is the name of another module, .*wave.py. Rename the file"),
        ("sys.py", "", "'sys' is the name of another module"),
        ("my-plugin.py", "", "'my-plugin' is not a valid module name. Rename"),
    ],
)
def test_what_cannot_be_imported_is_named(
    site: Path, name: str, code: str | None, message: str
) -> None:
    path = site / "own" / name
    path.parent.mkdir()
    if code == "folder":
        path.mkdir()
    elif code is not None:
        path.write_text(code)
    with pytest.raises(InputError, match=message):
        plugins.load_plugin(str(path) if name.endswith(".py") else name)
    assert path.stem not in plugins.LOADED
