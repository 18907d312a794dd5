"""The square CSV: read back as written, and refused with the cell that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noctule.errors import InputError, OutputError
from noctule.studies.matrix import OverlapMatrix, read_matrix, write_matrix

GOOD = "overlap,a,b,c\na,1,0.25,\nb,0.25,1,\nc,,,\n"


def test_a_matrix_is_read_back_as_written(tmp_path: Path) -> None:
    raw = np.array([[1, 1 / 3, -0.25], [1 / 3, 1, 1.5], [-0.25, 1.5, 1]])
    matrix = OverlapMatrix(("rain", "shear", "hue"), raw, {"border": "no gain"})
    write_matrix(matrix, tmp_path / "m.csv")
    again = read_matrix(tmp_path / "m.csv")
    assert again.names == matrix.names
    assert np.array_equal(again.scores, matrix.scores)
    assert again.undefined == {"border": "empty in m.csv"}
    assert again.intervals() is None


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("layout", ["both", "pandas", "no index", "savetxt", "R"])
def test_a_matrix_as_other_programs_write_it(
    tmp_path: Path, separator: str, layout: str
) -> None:
    header, index = {
        "both": (["overlap", "a", "b"], True),
        "pandas": (["", "a", "b"], True),
        "no index": (["a", "b"], False),
        "savetxt": (["# a", "b"], False),
        "R": (['"a"', '"b"'], True),
    }[layout]
    if separator == " " and layout in ("pandas", "savetxt"):
        header = ["overlap", *header[1:]] if layout == "pandas" else ["#a", "b"]
    rows = [["a", "1.0", "2.5e-01"], ["b", "0.25", "1"]]
    lines = [header, *(row if index else row[1:] for row in rows)]
    text = "\ufeff" + "\r\n".join(separator.join(line) for line in lines) + "\r\n"
    (tmp_path / "m.csv").write_bytes(text.encode())
    matrix = read_matrix(tmp_path / "m.csv")
    assert matrix.names == ("a", "b")
    assert matrix.raw.tolist() == [[1.0, 0.25], [0.25, 1.0]]


def test_numpy_savetxt_with_and_without_names(tmp_path: Path) -> None:
    values, path = [[1, 0.25, 0.1], [0.25, 1, 0.5], [0.1, 0.5, 1]], tmp_path / "m.csv"
    for options in ({}, {"delimiter": ","}, {"delimiter": ",", "fmt": "%g"}):
        np.savetxt(path, values, **options)
        with pytest.raises(InputError, match="numbers instead of candidate names"):
            read_matrix(path)
        np.savetxt(path, values, header="shear,rain,hue", comments="", delimiter=",")
        assert read_matrix(path).names == ("shear", "rain", "hue")
    np.savetxt(path, values, header="shear rain hue")
    assert np.array_equal(read_matrix(path).raw, values)


def test_a_matrix_without_a_defined_overlap(tmp_path: Path) -> None:
    matrix = OverlapMatrix((), np.zeros((0, 0)), {"border": "no gain", "hue": "a loss"})
    write_matrix(matrix, tmp_path / "m.csv")
    again = read_matrix(tmp_path / "m.csv")
    assert (again.names, set(again.undefined)) == ((), {"border", "hue"})
    with pytest.raises(InputError, match=r"defines no overlap \(border: empty"):
        again.check_defined()


def test_scores_shares_and_intervals_by_hand() -> None:
    raw = np.array([[1, -0.5], [-0.5, 1]])
    # 101 resamples of 0, 0.1, …, 9.9, ∞: the 2.5 % quantile lies between the third and the
    # fourth, 0.2 and 0.3; the 97.5 % one between 9.7 and 9.8. The outer ones count.
    replicates = np.ones((101, 2, 2))
    replicates[:, 0, 1] = replicates[:, 1, 0] = np.arange(101) / 10
    replicates[-1, 0, 1] = replicates[-1, 1, 0] = np.inf
    matrix = OverlapMatrix(("a", "b"), raw, replicates=replicates)
    assert matrix.scores[0, 1] == matrix.shares[0, 1] == 0
    assert OverlapMatrix(("a", "b"), -3 * raw + 4 * np.eye(2)).shares[0, 1] == 1
    ends = matrix.intervals()
    assert ends is not None
    assert [end[0, 1] for end in ends] == pytest.approx([0.2, 9.8])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("overlap\n", "has no candidate names"),
        ("1,0.25\n0.25,1\n", "has numbers instead of candidate names: 1, 0.25"),
        ("1 0.25\n0.25 1\n", "has numbers instead of candidate names: 1, 0.25"),
        ("1.0e+00\t2.5e-01\n2.5e-01\t1\n", 'with numpy.savetxt, pass header="shear,rain,hue"'),
        ("1\n", "has numbers instead of candidate names"),
        (",0,1\n0,1,0.25\n1,0.25,1\n", "has numbers instead of candidate names"),
        ("0,1\n1,0.25\n0.25,1\n", "has numbers instead of candidate names: 0, 1"),
        (
            "o,a,b,c,d,3\n",
            "has numbers instead of candidate names: o, a, b, c, …",
        ),
        (
            "o;a;b\na;1;0,25\nb;0,25;1\n",
            "a and b is '0,25', which is not a number. Use a decimal",
        ),
        ("a,b\n1,0.5\n0.5,1\n0,0\n", "has 2 names and 3 rows"),
        ("o,a,b\na,1,0.5\n", "has different names in its first column"),
        ("a,a\n1,0.5\n0.5,1\n", "duplicate name"),
        ("a,b\n1,0.5\n0.4,1\n", "in the other order it is 0.4"),
        (
            GOOD.replace("0.25,1,", "0.26,1,"),
            "0.25, and in the other order it is 0.26",
        ),
        (GOOD.replace("a,1,", "a,0.9,"), "overlap of a and a is 0.9. The diagonal must be 1"),
        (GOOD.replace("0.25", "-0.25"), "overlap of a and b is -0.25"),
        (GOOD.replace("0.25", "nan"), "overlap of a and b is nan"),
        (GOOD.replace("0.25", "inf"), "overlap of a and b is inf"),
        (GOOD.replace("0.25", "much"), "the cell of a and b is 'much', which is not a number"),
        (GOOD.replace("a,1,0.25,", "a,1,,"), "the cell of a and b is empty"),
        (GOOD.replace("c,,,", "c,0.5,,"), "the cell of c and a is 0.5"),
        (GOOD.replace("\nb,", "\nx,"), "has different names in its first column"),
        (GOOD.replace("a,1,0.25,", "a,1,0.25"), "the row of a has 2 cells for 3 candidates"),
        (GOOD.replace("b", "a"), "duplicate name"),
        ("overlap,a\n\x00,1\n", "is not a CSV file|first column"),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match=r"m\.csv") as caught:
        read_matrix(tmp_path / "m.csv")
    assert any(part in str(caught.value) for part in message.split("|")), str(caught.value)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_matrix(tmp_path / "absent.csv")
    (tmp_path / "m.csv").write_bytes(b"\xff\xfe\x00a,b")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_matrix(tmp_path / "m.csv")
    with pytest.raises(OutputError, match="cannot be written"):
        write_matrix(OverlapMatrix(("a",), np.ones((1, 1))), tmp_path / "no" / "m.csv")
