import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError, field_validator

from noctule.config import Spec, SpecValueError, build_spec, parse_spec, read_spec, to_toml
from noctule.errors import InputError


class Leg(Spec):
    length_mm: float
    names: tuple[str, ...] = ()


class Table(Spec):
    name: str
    seats: int = 4
    legs: tuple[Leg, ...] = ()
    weights: dict[str, float] | None = None

    @field_validator("seats")
    @classmethod
    def _some(cls, seats: int) -> int:
        if seats < 1:
            raise SpecValueError(f"{seats} seats", "Use 1 or more.")
        return seats


def test_a_file_becomes_an_immutable_spec(tmp_path: Path) -> None:
    path = tmp_path / "table.toml"
    text = 'name = "é"\n[[legs]]\nlength_mm = 3\nnames = ["a"]\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())  # a byte order mark, as some editors add
    table = read_spec(path, Table)
    assert table == Table(name="é", legs=(Leg(length_mm=3.0, names=("a",)),))
    with pytest.raises(ValidationError, match="frozen"):
        table.name = "b"


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("name = 'a'\nseats = \n", "t.toml, line 2:", "not valid TOML"),
        ("name = 'a'\nname = 'b'\n", "t.toml, line 2:", "not valid TOML"),
        ("name = 'a'\nseat = 3", "t.toml: seat:", "unknown key 'seat'. Did you mean 'seats'?"),
        ("nam = 'a'", "t.toml: nam:", "Did you mean 'name'?"),
        ("seats = 3", "t.toml: name:", "missing"),
        ("name = 3", "t.toml: name:", "should be a valid string, not 3"),
        ("name = 'a'\nseats = '3'", "t.toml: seats:", "should be a valid integer, not '3'"),
        ("name = 'a'\nseats = true", "t.toml: seats:", "valid integer, not True"),
        ("name = 'a'\nseats = 0", "t.toml: seats:", "0 seats. Use 1 or more."),
        ("name = 'a'\nlegs = 3", "t.toml: legs:", "should be a valid list, not 3"),
        ("name='a'\n[[legs]]\nlength_m=1", "t.toml: legs[0].length_m:", "mean 'length_mm'?"),
        ("name='a'\n[[legs]]\nlength_mm=nan", "t.toml: legs[0].length_mm:", "finite"),
        ("name='a'\n[[legs]]\nlength_mm=1\nnames=[1]", "t.toml: legs[0].names[0]:", "not 1"),
        ("name='a'\n[weights]\n'x@3'=true", "t.toml: weights.x@3:", "not True"),
        ("name='a'\nweights=3", "t.toml: weights:", "table, not 3"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(text: str, place: str, what: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(text, Table, where="t.toml")
    assert str(caught.value).startswith(place)
    assert what in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "latin1.toml").write_bytes("name = 'é'".encode("latin-1"))
    for name, what in [
        ("absent.toml", "No such file"),
        ("", "is a folder"),
        ("latin1.toml", "not UTF-8"),
    ]:
        with pytest.raises(InputError, match=what) as caught:
            read_spec(tmp_path / name, Table)
        assert caught.value.where == str(tmp_path / name)


def test_toml_reads_back_as_it_was_written() -> None:
    data = {
        "text": 'quote " backslash \\ tab \t newline \n del \x7f nul \x00 é 🦇',
        "yes": True,
        "tiny": 1e-300,
        "third": 1 / 3,
        "whole": 2.0,
        "empty": [],
        "list": [1, 2],
        "tables": [
            {"errors": {"shear@3": 0.5, "plain": 1.0}, "after": "x"},
            {"errors": {}},
        ],
        "table": {"odd key": {"deep": 1}},
    }
    assert tomllib.loads(to_toml(data)) == data


def test_what_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="None"):
        to_toml({"a": None})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"name = {'[' * 5000}{']' * 5000}", "t.toml: is nested too deeply"),
        (f"seats = {'9' * 5000}", "t.toml: .*too many digits"),
        # Hexadecimal numbers are read at any length, and cannot be shown.
        (f"name = 0x{'f' * 5000}", "t.toml: name: .*a value that is too large to be shown"),
        (f"name = [{'1,' * 5000}]", r"t.toml: name: .*1, 1, .*\.\.\.$"),
        (f"'{'k' * 5000}' = 1", r"unknown key 'k+\.\.\.'"),
    ],
)
def test_values_beyond_all_measure_are_one_short_error(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        parse_spec(text, Table, where="t.toml")
    assert len(str(caught.value)) < 600


def test_nesting_and_numbers_of_json_are_bounded_too() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match="is nested too deeply"):
        build_spec({"name": deep}, Table, where="t.json")
