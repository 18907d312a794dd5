"""The schema of one outcome: what one model did on one image under one condition."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch
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

label_rank: place of the true label among the logits, 1 at the top; of equal logits the lower
class index comes first, so rank 1 means prediction == label.
confidence: the largest softmax probability, in (0, 1]. loss: cross entropy in nats, ≥ 0.
"""


def outcome_table(
    ids: Sequence[str], condition: str, labels: Tensor, logits: Tensor
) -> pa.Table:
    """The outcomes of one batch under one condition.

    Args:
        ids: the batch's image ids.
        condition: name of the condition, as `str(Condition)`.
        labels: true classes, integer (batch,), in [0, classes).
        logits: what the model returned, float (batch, classes), on any device.

    Raises:
        InputError: logits of another shape, NaN or infinite logits, or a label without a
            logit (naming the condition and the first image).

    >>> logits = torch.tensor([[0.0, 9.0, 9.0]])
    >>> table = outcome_table(["a"], "clean", torch.tensor([2]), logits)
    >>> table.select(["prediction", "label_rank"]).to_pylist()
    [{'prediction': 1, 'label_rank': 2}]
    """
    labels = labels.to(logits.device, torch.int64)
    _check_logits(ids, condition, labels, logits)
    log_probabilities = torch.log_softmax(logits.float(), dim=1)
    columns = {
        "label": labels,
        "prediction": logits.argmax(dim=1),
        "label_rank": label_ranks(labels, logits),
        "confidence": log_probabilities.amax(dim=1).exp(),
        # 0 - x rather than -x: a certain and correct model loses 0.0, not -0.0.
        "loss": 0.0 - log_probabilities.gather(1, labels[:, None])[:, 0],
    }
    arrays = [pa.array(list(ids), pa.string()), pa.repeat(condition, len(ids))]
    arrays += [pa.array(_to_host(columns[name])) for name in SCHEMA.names[2:]]
    return pa.table(arrays, names=SCHEMA.names).cast(SCHEMA)


def label_ranks(labels: Tensor, logits: Tensor) -> Tensor:
    """Place of the true label among the logits: int64 (batch,), from 1 to classes.

    Args:
        labels: true classes, int64 (batch,).
        logits: (batch, classes); of equal ones the lower class index comes first.
    """
    own = logits.gather(1, labels[:, None])
    before = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    return 1 + ((logits > own) | ((logits == own) & before)).sum(dim=1)


def _check_logits(ids: Sequence[str], condition: str, labels: Tensor, logits: Tensor) -> None:
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
    broken = ~logits.isfinite().all(dim=1)
    if broken.any():
        first = int(broken.nonzero()[0])
        raise InputError(
            f"the model returned NaN or infinite logits under '{condition}', "
            f"first for image '{ids[first]}'",
            remedy="Check the weights, and try full precision.",
        )


def _to_host(column: Tensor) -> object:
    return column.detach().cpu().numpy()
