"""What a model returns: found in tuples, dictionaries and objects; logits or probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from noctule.errors import InputError

LOGITS = "logits"
PROBABILITIES = "probabilities"
KINDS = (LOGITS, PROBABILITIES)

TOLERANCE = 0.01
"""Of a row's sum: bfloat16 holds a probability to 0.4 %."""


def output_tensor(returned: object, where: object) -> Tensor:
    """The tensor (batch, classes) in what a model returned, as float32.

    Args:
        returned: A tensor or array; an object or a dictionary with `logits`; a dictionary with
            one entry; or a tuple or list, whose first entry is used.
        where: Name of the model, for the message.

    Raises:
        InputError: There is no such tensor.

    >>> output_tensor({"logits": torch.zeros(2, 3), "features": None}, "model").shape
    torch.Size([2, 3])
    >>> output_tensor((np.ones((1, 2)), "auxiliary"), "model")
    tensor([[1., 1.]])
    """
    found = returned if isinstance(returned, Tensor) else _find(returned)
    if isinstance(found, Tensor):
        return found.float()
    if hasattr(found, "__array__"):
        array = np.asarray(found)
        if array.dtype.kind in "fiub":
            return torch.from_numpy(np.array(array, dtype=np.float32))
    raise InputError(
        f"the model returned {_describe(returned)}",
        where=where,
        remedy="It must return a tensor or an array of logits or probabilities, (batch, "
        "classes): alone, first in a tuple, or as `logits` of a dictionary or an object.",
    )


def _find(returned: object) -> object:
    if isinstance(returned, np.ndarray):
        return returned
    if isinstance(returned, Mapping):
        if len(returned) == 1:
            return next(iter(returned.values()))
        return returned.get("logits")
    if (logits := getattr(returned, "logits", None)) is not None:
        return logits
    if isinstance(returned, tuple | list):
        return returned[0] if returned else None
    return returned


def _describe(returned: object) -> str:
    kind = type(returned).__name__
    if isinstance(returned, Mapping) and returned:
        return f"a {kind} with the entries {', '.join(map(str, returned))}"[:200]
    return f"a {kind}"


def are_probabilities(outputs: Tensor) -> bool:
    """Whether every row is the output of a softmax: in [0, 1], with a sum of 1.

    Args:
        outputs: (batch, classes).

    >>> are_probabilities(torch.tensor([[0.2, 0.8]])), are_probabilities(torch.zeros(1, 2))
    (True, False)
    """
    if outputs.dim() != 2 or outputs.shape[1] < 2 or not len(outputs):
        return False
    inside = (outputs >= 0).all() & (outputs <= 1 + TOLERANCE).all()
    return bool(inside & ((outputs.sum(dim=1) - 1).abs() <= TOLERANCE).all())


def log_probabilities(outputs: Tensor) -> Tensor:
    """Logits whose softmax is these probabilities, float32 in the same shape.

    A probability of 0 counts as 1e-38, so that the loss is finite; a negative number becomes
    NaN.

    >>> log_probabilities(torch.tensor([[0.25, 0.75]])).softmax(dim=1)
    tensor([[0.2500, 0.7500]])
    """
    smallest = torch.finfo(torch.float32).tiny
    return outputs.float().masked_fill(outputs == 0, smallest).log()
