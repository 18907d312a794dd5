"""A user's own corruption from the command line, in a benchmark, and in worker processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from noctule import plugins
from noctule.corruptions import CORRUPTIONS
from noctule.plugins import PluginError
from noctule.processes import started

PLUGIN = '''"""A corruption of one's own."""
import torch
from noctule.corruptions import corruption
from noctule.corruptions.draws import Uniform

@corruption(family="weather", source="a test", draws={"strength": Uniform(0.2, 0.8)})
def vignette(images, *, strength):
    """Darken towards the corners."""
    height, width = images.shape[-2:]
    y = torch.linspace(-1, 1, height)[:, None] ** 2
    x = torch.linspace(-1, 1, width)[None] ** 2
    shaded = images * (1 - strength.float()[:, None, None, None] * (x + y) / 2)
    return shaded.round().to(torch.uint8) if images.dtype == torch.uint8 else shaded
'''
BENCHMARK = """
name = "vignettes"
title = "Vignettes"
source = "a test"
corruptions = ["vignette"]
metric = "mean_error"
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[Path]:
    """A file with a corruption; every registry is afterwards as it was."""
    (tmp_path / "of_a_test.py").write_text(PLUGIN)
    (tmp_path / "vignettes.toml").write_text(BENCHMARK)
    loaded = dict(plugins.LOADED)
    yield tmp_path / "of_a_test.py"
    forget()
    plugins.LOADED.clear()
    plugins.LOADED.update(loaded)


def forget() -> None:
    """As in a new process: the plugin is not imported yet."""
    for name in ("of_a_test", "vignette"):
        sys.modules.pop(name, None)
        plugins.LOADED.pop(name, None)
        CORRUPTIONS._entries.pop(name, None)
        CORRUPTIONS._origins.pop(name, None)


@pytest.mark.usefixtures("one_thread")
def test_a_file_of_ones_own_is_evaluated_and_identified(
    plugin: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = plugin.parent

    def noctule(*arguments: object) -> tuple[object, str, str]:
        forget()
        return run(monkeypatch, capsys, *arguments)

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", images=pixels, labels=np.arange(16))
    command = (
        "evaluate", "photo-patches", folder / "data.npz", "--benchmark",
        folder / "vignettes.toml", "--out", folder / "run", "--no-self-check",
    )  # fmt: skip
    status, _, complaint = noctule(*command)
    assert status == 2
    assert "unknown corruption 'vignette'" in complaint
    assert "A plugin can add it: --plugin FILE.py" in complaint
    assert not (folder / "run").exists()

    status, table, _ = noctule(*command, "--plugin", plugin)
    assert status == 0
    assert "vignette" in table
    (start,) = map(json.loads, (folder / "run" / "provenance.jsonl").read_text().splitlines())
    (recorded,) = (one for one in start["plugins"] if one["module"] == "of_a_test")
    identity = json.loads((folder / "run" / "run.json").read_text())["benchmark"]
    assert identity["plugins"] == {"vignette": recorded["sha256"]}

    plugin.write_text(PLUGIN + "# changed\n")
    status, _, complaint = noctule(*command, "--plugin", plugin)
    assert status == 2
    assert "holds another run: benchmark.plugins.vignette is" in complaint
    status, again, _ = noctule("metrics", folder / "run", "--plugin", plugin)
    assert status == 0
    assert again.splitlines()[1] == table.splitlines()[1]
    status, _, complaint = noctule("metrics", folder / "run")
    assert status == 2
    assert "its corruption 'vignette' was defined by a plugin that is not loaded" in complaint
    assert "--plugin FILE.py" in complaint


def test_a_folder_is_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holds_plugins").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PluginError, match=r"is a folder without __init__\.py"):
        plugins.load_plugin("holds_plugins")
    sys.modules.pop("holds_plugins")


def answer(connection: Connection, name: str) -> None:
    connection.send(CORRUPTIONS[name].summary)


def test_a_spawned_process_imports_the_plugins(plugin: Path) -> None:
    plugins.load_plugin(str(plugin))
    with started(answer, ["vignette"], "spawn", daemon=True) as (child,):
        assert child.receive() == "Darken towards the corners."
    plugin.write_text(PLUGIN + "# changed\n")
    with (
        pytest.raises(PluginError, match="has changed since it was imported"),
        started(answer, ["vignette"], "spawn", daemon=True),
    ):
        pass
    plugin.unlink()
    with (
        pytest.raises(PluginError, match="there is no such file"),
        started(answer, ["vignette"], "spawn", daemon=True),
    ):
        pass
