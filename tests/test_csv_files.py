"""No CSV file of noctule holds a formula, and what it reads again it reads unchanged."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

import noctule
from noctule.csv_files import guard_formula, unguard_formula
from noctule.stored.manifest import ImageEntry, images_text
from noctule.studies.matrix import OverlapMatrix, read_matrix, write_matrix

SOURCES = Path(noctule.__file__).parent
FORMULAS = ["=1+1", "+1", "-1", "@SUM(1)", "\t=1", "'=1", "''=1"]
PLAIN = ["", "a", "'a", "1", "a=b", "'"]


@pytest.mark.parametrize("text", [*FORMULAS, *PLAIN])
def test_the_guard_can_be_taken_off(text: str) -> None:
    guarded = guard_formula(text)
    assert unguard_formula(guarded) == text
    assert guarded == (f"'{text}" if text in FORMULAS else text)


def test_numbers_are_left_as_they_are() -> None:
    assert [guard_formula(value) for value in (-1.5, 0, None, True)] == [-1.5, 0, None, True]


def test_a_matrix_with_names_that_look_like_formulas(tmp_path: Path) -> None:
    names = ("=1+1", "@x", "plain")
    write_matrix(OverlapMatrix(names, np.eye(3)), tmp_path / "m.csv")
    assert (tmp_path / "m.csv").read_text().splitlines()[1].startswith("'=1+1,")
    assert read_matrix(tmp_path / "m.csv").names == names


def test_a_list_of_images_has_no_formula() -> None:
    text = images_text([ImageEntry("=cat/1.jpg", 0, "@cat", "-1")])
    assert text.splitlines()[1] == "'=cat/1.jpg,0,'@cat,'-1"


def test_csv_is_written_in_one_place() -> None:
    for path in SOURCES.rglob("*.py"):
        calls = {
            ast.unparse(node.func)
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if path.name != "csv_files.py":
            assert not calls & {"csv.writer", "csv.DictWriter"}, path.name
