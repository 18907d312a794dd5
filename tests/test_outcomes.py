import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from noctule.errors import InputError
from noctule.outcomes import SCHEMA, outcome_table, outcome_tables, reduce_logits

IDS = ["a", "b", "c"]


def test_one_row_by_hand() -> None:
    # softmax of (0, ln 3) is (1/4, 3/4); the label 0 is second and costs ln 4.
    table = outcome_table(
        ["a"], "shear@3", torch.tensor([0]), torch.tensor([[0.0, math.log(3)]])
    )
    assert table.schema.equals(SCHEMA)
    (row,) = table.to_pylist()
    assert row["confidence"] == pytest.approx(0.75)
    assert row["loss"] == pytest.approx(math.log(4))
    del row["confidence"], row["loss"]
    assert row == {
        "image_id": "a",
        "condition": "shear@3",
        "label": 0,
        "prediction": 1,
        "label_rank": 2,
    }


def test_rows_agree_with_a_slow_sort_and_scipy() -> None:
    rng = np.random.default_rng(0)
    logits = rng.integers(-3, 4, (200, 12)).astype(np.float32)  # many ties
    labels = rng.integers(0, 12, 200)
    table = outcome_table(
        [str(i) for i in range(200)], "clean", torch.tensor(labels), torch.tensor(logits)
    )
    # A stable sort keeps the lower class first among equals.
    orders = [sorted(range(12), key=lambda c, row=row: -row[c]) for row in logits]  # type: ignore[misc]
    assert table["prediction"].to_pylist() == [order[0] for order in orders]
    ranks = [order.index(label) + 1 for order, label in zip(orders, labels, strict=True)]
    assert table["label_rank"].to_pylist() == ranks
    log_probabilities = log_softmax(logits.astype(np.float64), axis=1)
    expected = np.exp(log_probabilities.max(axis=1))
    np.testing.assert_allclose(table["confidence"], expected, rtol=1e-5)
    np.testing.assert_allclose(table["loss"], -log_probabilities[range(200), labels], rtol=1e-5)


def test_all_logits_equal_is_rank_by_index() -> None:
    table = outcome_table(IDS, "clean", torch.tensor([0, 1, 3]), torch.zeros(3, 4))
    assert table["label_rank"].to_pylist() == [1, 2, 4]
    assert table["prediction"].to_pylist() == [0, 0, 0]


def test_a_certain_model_loses_nothing_and_stays_finite() -> None:
    logits = torch.tensor([[3e38, -3e38], [-3e38, 3e38], [0.0, 200.0]])
    table = outcome_table(IDS, "clean", torch.tensor([0, 1, 1]), logits)
    assert table["loss"].to_pylist() == [0.0, 0.0, 0.0]
    assert all(math.copysign(1, loss) == 1 for loss in table["loss"].to_pylist())
    assert table["confidence"].to_pylist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions_are_taken(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, 2.0]], dtype=dtype, requires_grad=True)
    table = outcome_table(["a"], "clean", torch.tensor([1], dtype=torch.int32), logits)
    assert table["confidence"][0].as_py() == pytest.approx(1 / (1 + math.exp(-2)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_is_refused(value: float) -> None:
    logits = torch.zeros(3, 4)
    logits[1, 2] = value
    with pytest.raises(InputError, match=r"under 'rain', first for image 'b'"):
        outcome_table(IDS, "rain", torch.zeros(3, dtype=torch.int64), logits)


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_without_a_logit_is_refused(label: int) -> None:
    with pytest.raises(InputError, match=rf"label {label} of image 'b' .* 4 classes, 0 to 3"):
        outcome_table(IDS, "clean", torch.tensor([0, label, 0]), torch.zeros(3, 4))


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(3), torch.zeros(2, 4), torch.zeros(3, 4, 1), torch.zeros(3, 4).long()],
    ids=lambda logits: f"{logits.dtype}{tuple(logits.shape)}",
)
def test_what_is_not_logits_is_refused(logits: torch.Tensor) -> None:
    with pytest.raises(InputError, match="for 3 images"):
        outcome_table(IDS, "clean", torch.zeros(3, dtype=torch.int64), logits)


def test_outcomes_of_several_conditions_are_fetched_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tables equal those of each condition alone, to the bit, for one copy to the CPU."""
    generator = torch.Generator().manual_seed(0)
    batches = [
        (IDS[:count], name, torch.arange(count), torch.randn(count, 5, generator=generator))
        for name, count in (("clean", 3), ("rain", 2), ("snow", 1))
    ]
    alone = [outcome_table(*batch) for batch in batches]
    copies: list[torch.Size] = []
    to_cpu = torch.Tensor.cpu

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        copies.append(tensor.shape)
        return to_cpu(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    together = outcome_tables([reduce_logits(*batch) for batch in batches])
    assert copies == [(6, 6)]  # six columns of three, two and one images
    assert all(ours.equals(theirs) for ours, theirs in zip(together, alone, strict=True))


def test_the_condition_of_broken_logits_is_named_among_several() -> None:
    labels = torch.zeros(3, dtype=torch.int64)
    broken = torch.zeros(3, 4)
    broken[1, 2] = torch.nan
    outcomes = [
        reduce_logits(IDS, name, labels, logits)
        for name, logits in (("clean", torch.zeros(3, 4)), ("rain", broken))
    ]
    with pytest.raises(InputError, match=f"under 'rain', first for image '{IDS[1]}'"):
        outcome_tables(outcomes)
