"""The pages agree with the files beside them; their links, commands and code exist."""

from __future__ import annotations

import ast
import csv
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import noctule
from noctule.cli.app import app
from noctule.data import DATA
from noctule.extras import EXTRAS
from noctule.leaderboard.tracks import load_landmarks
from noctule.models.registry import MODELS
from noctule.studies.design import choose_exact, score_design
from noctule.studies.matrix import read_matrix
from repository import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Made while the site is built, which checks the links to it.
PAGES = [page for page in PAGES if page.parent.name != "generated"]
FILES_OF_REPOSITORY = re.compile(
    r"https://(?:github|raw\.githubusercontent)\.com/noctule/noctule/(?:(?:blob|tree)/)?main/(.*)"
)
PAGE = (ROOT / "docs" / "overlap.md").read_text(encoding="utf-8")


every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def code_blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```([^\n`]*)\n(.*?)^```$", text, re.M | re.S)
    names = {language, f"{{code-cell}} {language}"}
    return [content for name, content in blocks if name in names and "%%" not in content]


@every_page
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if match := FILES_OF_REPOSITORY.match(target):
            assert (ROOT / match[1]).exists(), target
        elif "://" not in target and "generated/" not in target:
            # The package index shows the README alone.
            assert page.name != "README.md", target
            assert (page.parent / target).exists(), target


@every_page
def test_commands_exist_with_their_options(page: Path) -> None:
    for block in code_blocks(page, ""):
        for line in block.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line, comments=True) or [""]
            if program == "noctule":
                command: Any = typer.main.get_command(app)
                while hasattr(command, "commands"):
                    context = typer.Context(command)
                    default = [] if words[0] in command.commands else ["choose"]
                    _, command, words = command.resolve_command(context, [*default, *words])
                options = {
                    name for one in command.params for name in [*one.opts, *one.secondary_opts]
                }
                used = {word for word in words if re.match("--?[a-z]", word)}
                assert used <= options | {"--plugin"}, (line, used - options)


@every_page
def test_python_code_is_python(page: Path) -> None:
    for block in code_blocks(page, "python"):
        compile(block, page.name, "exec")


def test_the_readme_is_short_and_names_what_can_be_imported() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 900
    for page in PAGES:
        for block in code_blocks(page, "python"):
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(str(node.module))
                    for alias in node.names:
                        # An attribute, or a module that nothing has imported yet.
                        if not hasattr(module, alias.name):
                            importlib.import_module(f"{node.module}.{alias.name}")
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    assert node.value.id != "noctule" or hasattr(noctule, node.attr), node.attr


def test_the_table_of_the_worked_study_is_that_of_its_files() -> None:
    with (ROOT / "docs" / "overlap-pairs.csv").open(encoding="utf-8") as file:
        pairs = {frozenset((row["a"], row["b"])): row for row in csv.DictReader(file)}
    rows = re.findall(
        r"^\| [^|]*\| `(\w+)`, `(\w+)` \| ([\d.-]+) \| ([\d.-]+) to ([\d.-]+) \|$", PAGE, re.M
    )
    assert len(rows) == 9
    for a, b, *numbers in rows:
        row = pairs[frozenset((a, b))]
        known = [f"{float(row[key]):.2f}" for key in ("score", "low", "high")]
        assert numbers == known, (a, b)
    above = sum(float(row["low"]) > 0 for row in pairs.values())
    assert f"In {above} of {len(pairs)} pairs the interval lies above 0" in " ".join(
        PAGE.split()
    )


def test_the_design_of_the_worked_study_is_that_of_its_matrix() -> None:
    matrix = read_matrix(ROOT / "docs" / "overlap.csv")
    assert len(matrix.names) == 23
    choice = choose_exact(matrix, 8, 0.3)
    text = " ".join(PAGE.split())
    listed = ", ".join(f"`{name}`" for name in choice.names[:-1])
    assert f"selects {listed} and `{choice.names[-1]}`" in text
    assert len(choice.best_sets) == 4
    assert "It is one of 4 best sets" in text
    twins = {"backlight": "brightness", "color_distortion": "hue"}
    others = [set(choice.names) - {a} | {b} for a, b in twins.items()]
    others += [set(choice.names) - set(twins) | set(twins.values())]
    assert {frozenset(one) for one in others} == {frozenset(s) for s in choice.best_sets[1:]}
    scores = choice.scores
    assert scores.redundancy is not None
    assert (
        f"coverage {scores.coverage:.3f}, redundancy {scores.redundancy:.3f}, "
        f"balance {scores.balance:.3f}, no pair above {scores.largest_overlap:.3f}"
    ) in text
    noc = ("shear", "rain", "hue", "quantization", "brightness", "border", "blur",
           "vertical_artifacts")  # fmt: skip
    known = score_design(matrix, noc)
    assert known.redundancy is not None
    assert (
        f"have coverage {known.coverage:.3f}, redundancy {known.redundancy:.3f} and balance "
        f"{known.balance:.3f}"
    ) in text


def test_the_matrix_beside_the_page_is_that_of_its_accuracies() -> None:
    """The published formula, from the accuracies to every score."""
    with (ROOT / "docs" / "overlap-accuracies.csv").open(encoding="utf-8") as file:
        accuracy = {
            (row["model"], row["condition"]): float(row["accuracy"])
            for row in csv.DictReader(file)
        }
    matrix = read_matrix(ROOT / "docs" / "overlap.csv")

    def gain(model: str, name: str) -> float:
        ours, standard = (
            accuracy[one, name] / accuracy[one, "clean"] for one in (model, "standard")
        )
        return ours - standard

    expected = [
        [max(0, (gain(a, b) / gain(b, b) + gain(b, a) / gain(a, a)) / 2) for b in matrix.names]
        for a in matrix.names
    ]
    assert np.allclose(matrix.scores, expected, atol=1e-9)


def test_the_page_on_installing_lists_every_extra() -> None:
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `pip install '\.\[(\w+)\]'` \|", page, re.M)
    assert sorted(listed) == sorted([*EXTRAS, "all"])


def test_the_published_scores_of_the_readme_are_landmarks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = r"^\| .* \| (ImageNet-\w+) \| .*mCE ([\d.]+) \| (\w+).*(\d{4})"
    rows = re.findall(line, text, re.M)
    assert len(rows) == 3
    for benchmark, value, author, year in rows:
        (mark,) = (
            mark
            for mark in load_landmarks()
            if (mark.benchmark, mark.value) == (benchmark.lower(), float(value))
        )
        assert re.match(rf"{author}\b.*{year}", mark.source)


def test_every_dependency_has_an_oldest_version() -> None:
    """`scripts/oldest.py` prints them for the workflow that tests with them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    assert project["urls"]["Homepage"] == "https://github.com/noctule/noctule"  # as the README
    extras = [*project["optional-dependencies"].items()]
    tools = ("dev", "docs", "peers")
    named = {one for name, some in extras if name not in tools for one in some}
    named = {
        one for one in {*project["dependencies"], *named} if not one.startswith("noctule[")
    }
    command = [sys.executable, ROOT / "scripts" / "oldest.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.split() == sorted(
        re.sub(r"\[.*\]", "", one).replace(">=", "==") for one in named
    )


@pytest.mark.parametrize(("page", "registry"), [("models", MODELS), ("data", DATA)])
def test_the_table_of_tests_has_every_source_and_tests_that_exist(
    page: str, registry: Any
) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| `(tests/\S+)::(\w+)` \| .+ \|$", text, re.M)
    own = {
        name
        for name, source in registry.items()
        if getattr(source, "load", getattr(source, "open", None)).__module__.startswith(
            "noctule."
        )
    }
    assert {name for name, _, _ in rows} == own
    for _, file, test in rows:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M), (
            test
        )
