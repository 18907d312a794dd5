"""Weights from a local file, without ever executing what is in it.

`.safetensors` holds nothing but tensors. `.pt`, `.pth`, `.bin` and `.ckpt` are pickles, read
with PyTorch's restricted unpickler only: it builds tensors and plain containers and refuses
everything else, such as a pickled whole model.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from noctule.errors import InputError
from noctule.input_files import reject_special_files
from noctule.models.pickle_bounds import reject_inflating_pickle

_PICKLES = (".pt", ".pth", ".bin", ".ckpt")
_WRAPPERS = ("state_dict", "model_state_dict", "model")  # of training checkpoints
_PREFIXES = ("module.", "_orig_mod.")  # DataParallel, torch.compile
_SHOWN = 3

State = dict[str, torch.Tensor]


class _VersionedState(State):
    """A state dict that can carry the version records PyTorch looks for in this attribute."""

    _metadata: object = None


def read_state_dict(path: Path) -> State:
    """The tensors of a weights file by name, on the CPU.

    A state dict wrapped as `{"state_dict": ...}`, `{"model_state_dict": ...}` or
    `{"model": ...}` is unwrapped, and the prefixes "module." and "_orig_mod." are stripped when
    all names have them.

    Raises:
        InputError: no such file, another format, a damaged file, or a pickle that holds
            anything but tensors.
    """
    path = Path(path)
    reject_special_files(path)
    if not path.exists():
        raise InputError("there is no such weights file", where=path)
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    elif path.suffix in _PICKLES:
        content = _read_pickle(path)
    else:
        raise InputError(
            f"weights files end in .safetensors, {', '.join(_PICKLES)}, not '{path.suffix}'",
            where=path,
            remedy="Save the state dict with safetensors.torch.save_file or torch.save.",
        )
    return _strip_prefixes(_unwrap(content, path))


def load_into(module: nn.Module, state: Mapping[str, torch.Tensor], where: object) -> None:
    """Copies `state` into `module`; every tensor must have its place and its shape.

    BatchNorm's step counters may be missing: older files lack them, evaluation ignores them.

    Raises:
        InputError: names that are missing or not expected, or shapes that differ.
    """
    own = module.state_dict()
    given = _VersionedState(state)
    for name in own.keys() - given.keys():
        if name.endswith("num_batches_tracked"):
            given[name] = own[name]
    _check_names(own, given, where)
    _check_shapes(own, given, where)
    # Without version records PyTorch takes a state dict for one of its oldest and converts it.
    given._metadata = getattr(state, "_metadata", None) or getattr(own, "_metadata", None)
    try:
        module.load_state_dict(given)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the weights do not load: {error}", where=where) from error


def infer_num_classes(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], num_classes: int
) -> int:
    """The number of classes of a state dict, from the head's shape.

    Args:
        own: state dict of the architecture built with `num_classes`.
        state: the state dict whose number of classes is asked.
        num_classes: the first length of the head's tensors in `own`.

    Returns:
        The other first length, if all tensors that differ in shape have `num_classes` as first
        length in `own`, agree in the rest, and share that other length; else `num_classes`.
    """
    pairs = [
        (tuple(own[name].shape), tuple(state[name].shape))
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    heads = all(a and b and a[0] == num_classes and a[1:] == b[1:] for a, b in pairs)
    found = {b[0] for _, b in pairs if b}
    return found.pop() if heads and len(found) == 1 else num_classes


def _read_safetensors(path: Path) -> object:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"not a safetensors file, or damaged: {error}", where=path) from error


def _read_pickle(path: Path) -> object:
    if path.stat().st_size == 0:
        raise InputError("the weights file is empty", where=path)
    reject_inflating_pickle(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            "this file holds more than tensors (a pickled model, or code), or is damaged; "
            "nothing in it was executed",
            where=path,
            remedy="Save the weights alone: torch.save(model.state_dict(), path), or with "
            "safetensors.",
        ) from error
    except Exception as error:  # a damaged archive surfaces as any of a dozen exceptions
        raise InputError(f"cannot be read as weights: {error}", where=path) from error


def _unwrap(content: object, path: Path) -> State:
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    is_state = isinstance(content, Mapping) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in content.items()
    )
    if not is_state or not content:
        raise InputError(
            "there is no state dict (tensors by name) in this file",
            where=path,
            remedy=f"It may be at the top, or under one of {', '.join(_WRAPPERS)}.",
        )
    return content  # type: ignore[return-value]  # just checked


def _strip_prefixes(state: State) -> State:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _check_names(own: Mapping[str, Any], given: Mapping[str, Any], where: object) -> None:
    missing = [name for name in own if name not in given]
    unexpected = [name for name in given if name not in own]
    if not missing and not unexpected:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_few(missing, unexpected)})")
    if unexpected:
        parts.append(f"{len(unexpected)} not expected ({_few(unexpected, missing)})")
    raise InputError(
        f"the weights are not of this architecture: of its {len(own)} tensors "
        + ", ".join(parts),
        where=where,
    )


def _few(names: Sequence[str], others: Sequence[str]) -> str:
    """The first few of `names`, each with the name it was perhaps meant to be."""
    shown = []
    for name in names[:_SHOWN]:
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
        shown.append(f"{name}, like {near[0]}" if near else name)
    return "; ".join(shown) + ("; …" if len(names) > _SHOWN else "")


def _check_shapes(
    own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor], where: object
) -> None:
    wrong = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if own[name].shape != given[name].shape
    ]
    if wrong:
        dots = "; …" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"{len(wrong)} weights have another shape: {'; '.join(wrong[:_SHOWN])}{dots}",
            where=where,
        )
