"""The schema of one outcome: what one model did on one image under one condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from noctule.errors import InputError

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("condition", pa.string(), nullable=False),
        pa.field("label", pa.int32(), nullable=False),
        pa.field("prediction", pa.int32(), nullable=False),
        pa.field("label_rank", pa.int32(), nullable=False),
        pa.field("confidence", pa.float32(), nullable=False),
        pa.field("loss", pa.float32(), nullable=False),
    ]
)
"""One row per image and condition.

label: the true class; of several right labels the one with the largest logit, so that it may
differ between conditions. label_rank: rank of the label among the logits, 1 at the top; of
equal logits the lower class index comes first, so rank 1 means prediction == label.
confidence: the largest softmax probability, in (0, 1]. loss: cross entropy in nats, ≥ 0.
"""


def likeliest(logits: Tensor, right_labels: Sequence[Sequence[int]]) -> Tensor:
    """Of the right labels of each image the one with the largest logit, int64 (batch,).

    Of equal logits the lower class index comes first.

    Args:
        logits: (batch, classes), on any device.
        right_labels: Class indices of each image, at least one, ascending.

    >>> likeliest(torch.tensor([[0.0, 3.0, 1.0], [4.0, 3.0, 1.0]]), [(0, 2), (1,)])
    tensor([2, 1])
    """
    most = max(map(len, right_labels))
    padded = [[*one, *(one[-1] for _ in range(most - len(one)))] for one in right_labels]
    index = torch.tensor(padded, device=logits.device)
    return index.gather(1, logits.gather(1, index).argmax(dim=1, keepdim=True))[:, 0]


class BatchOutcomes(NamedTuple):
    """The outcomes of one batch under one condition, still on the model's device.

    Attributes:
        ids: The batch's image ids.
        condition: Name of the condition, as `str(Condition)`.
        columns: int32 (6, batch): label, prediction, label rank, the bits of the float32
            confidence and loss, and whether the logits are finite.
    """

    ids: Sequence[str]
    condition: str
    columns: Tensor


def reduce_logits(
    ids: Sequence[str], condition: str, labels: Tensor, logits: Tensor
) -> BatchOutcomes:
    """Reduce logits to outcomes on their device, without waiting for it.

    Args:
        ids: The batch's image ids.
        condition: Name of the condition, as `str(Condition)`.
        labels: True classes, integer (batch,), in [0, classes).
        logits: What the model returned, float (batch, classes), on any device.

    Raises:
        InputError: The logits have another shape, or there is a label without a logit.
    """
    _check_logits(ids, labels, logits)
    labels = labels.to(logits.device, torch.int64, non_blocking=True)
    own = logits.gather(1, labels[:, None])
    # Of equal logits the lower class index comes first.
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    ranks = 1 + ((logits > own) | ((logits == own) & before)).sum(dim=1)
    log_probabilities = torch.log_softmax(logits.float(), dim=1)
    numbers = (
        log_probabilities.amax(dim=1).exp(),
        # 0 - x rather than -x: a certain and correct model has a loss of 0.0, not -0.0.
        0.0 - log_probabilities.gather(1, labels[:, None])[:, 0],
    )
    columns = (
        labels,
        logits.argmax(dim=1),
        ranks,
        *(column.contiguous().view(torch.int32) for column in numbers),
        logits.isfinite().all(dim=1),
    )
    return BatchOutcomes(ids, condition, torch.stack([column.int() for column in columns]))


def outcome_tables(batches: Sequence[BatchOutcomes]) -> list[pa.Table]:
    """Outcome rows, fetched from the device all at once.

    Raises:
        InputError: NaN or infinite logits, naming the condition and the first image.
    """
    if not batches:
        return []
    fetched = torch.cat([batch.columns for batch in batches], dim=1).cpu().numpy()
    ends = np.cumsum([len(batch.ids) for batch in batches])[:-1]
    return [
        _table(batch, columns)
        for batch, columns in zip(batches, np.split(fetched, ends, axis=1), strict=True)
    ]


def _table(batch: BatchOutcomes, columns: NDArray[np.int32]) -> pa.Table:
    *integers, confidence, loss, finite = np.ascontiguousarray(columns)
    if not finite.all():
        raise InputError(
            f"the model returned NaN or infinite logits under '{batch.condition}', "
            f"first for image '{batch.ids[int(finite.argmin())]}'",
            remedy="Check the weights, and try full precision.",
        )
    arrays = [
        pa.array(list(batch.ids), pa.string()),
        pa.repeat(batch.condition, len(batch.ids)),
    ]
    arrays += [pa.array(column) for column in integers]
    arrays += [pa.array(column.view(np.float32)) for column in (confidence, loss)]
    return pa.table(arrays, schema=SCHEMA)


def outcome_table(
    ids: Sequence[str], condition: str, labels: Tensor, logits: Tensor
) -> pa.Table:
    """The outcome rows of one batch under one condition; see `reduce_logits`.

    >>> logits = torch.tensor([[0.0, 9.0, 9.0]])
    >>> table = outcome_table(["a"], "clean", torch.tensor([2]), logits)
    >>> table.select(["prediction", "label_rank"]).to_pylist()
    [{'prediction': 1, 'label_rank': 2}]
    """
    return outcome_tables([reduce_logits(ids, condition, labels, logits)])[0]


def _check_logits(ids: Sequence[str], labels: Tensor, logits: Tensor) -> None:
    if logits.ndim != 2 or len(logits) != len(ids) or not logits.is_floating_point():
        raise InputError(
            f"the model returned {logits.dtype} {tuple(logits.shape)} for {len(ids)} images",
            remedy="It must return floating-point logits of shape (images, classes).",
        )
    classes = logits.shape[1]
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        first = int(outside.nonzero()[0])
        raise InputError(
            f"label {int(labels[first])} of image '{ids[first]}' is not in the model's "
            f"{classes} classes, 0 to {classes - 1}",
            remedy="The model and the data must share their classes.",
        )
