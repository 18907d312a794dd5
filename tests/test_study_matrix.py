"""The square CSV: read back as written, and refused with the cell that is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noctule.errors import InputError, OutputError
from noctule.study.matrix import OverlapMatrix, read_matrix, write_matrix

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


def test_a_matrix_without_a_defined_overlap(tmp_path: Path) -> None:
    matrix = OverlapMatrix((), np.zeros((0, 0)), {"border": "no gain", "hue": "a loss"})
    write_matrix(matrix, tmp_path / "m.csv")
    again = read_matrix(tmp_path / "m.csv")
    assert (again.names, set(again.undefined)) == ((), {"border", "hue"})
    with pytest.raises(InputError, match=r"no overlap in it is defined \(border: empty"):
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
        ("overlap\n", "names no candidate"),
        (GOOD.replace(",", ";"), "names no candidate in its first row. Separate its cells by"),
        (
            GOOD.replace("0.25,1,", "0.26,1,"),
            "0.25, and the other way round it is 0.26",
        ),
        (GOOD.replace("a,1,", "a,0.9,"), "overlap of a and a is 0.9. The diagonal has to be 1"),
        (GOOD.replace("0.25", "-0.25"), "overlap of a and b is -0.25"),
        (GOOD.replace("0.25", "nan"), "overlap of a and b is nan"),
        (GOOD.replace("0.25", "inf"), "overlap of a and b is inf"),
        (GOOD.replace("0.25", "much"), "'much', of a and b, is not a number"),
        (GOOD.replace("a,1,0.25,", "a,1,,"), "the cell of a and b is empty"),
        (GOOD.replace("c,,,", "c,0.5,,"), "the cell of c and a is 0.5"),
        (GOOD.replace("\nb,", "\nx,"), "names in its first column are not those"),
        (GOOD.replace("a,1,0.25,", "a,1,0.25"), "the row of a has 3 cells, the first row 4"),
        (GOOD.replace("b", "a"), "occurs twice"),
        ("a,1\n\x00,b\n", "is not a CSV file|first column"),
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
    with pytest.raises(InputError, match="is not a CSV file"):
        read_matrix(tmp_path / "m.csv")
    with pytest.raises(OutputError, match="cannot be written"):
        write_matrix(OverlapMatrix(("a",), np.ones((1, 1))), tmp_path / "no" / "m.csv")
