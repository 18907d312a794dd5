"""Weights from a local file, without ever executing what is in it.

`.safetensors` holds nothing but tensors. `.pt`, `.pth`, `.bin` and `.ckpt` are pickles, read
with PyTorch's restricted unpickler only: it builds tensors and plain containers and refuses
everything else, such as a pickled whole model.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from noctule.errors import InputError, NoctuleWarning, unknown_name
from noctule.input_files import reject_special_files
from noctule.models.architectures import unwrapped
from noctule.models.pickle_bounds import reject_inflating_pickle

_numpy_scalar = np.float64(0).__reduce__()[0]

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pth.tar", ".pt.tar")
# Where training programs keep a network's weights, those most often used first.
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
_AVERAGED = ("ema", "swa", "average", "avg", "shadow")  # parts of the names of averages
_PREFIXES = ("module.", "_orig_mod.")  # DataParallel and AveragedModel, torch.compile
_SHOWN = 3
_DEPTH = 1  # of a state dict in dictionaries, counted in dots

# What training programs keep beside weights, and what only builds values: numbers of NumPy, and
# the options of a command line.
_HARMLESS: tuple[Any, ...] = (
    argparse.Namespace,
    np.dtype,
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (codecs.encode, "_codecs.encode"),
    *(
        getattr(np.dtypes, name)
        for name in ("Float64DType", "Float32DType", "Int64DType", "Int32DType", "BoolDType")
    ),
)

State = dict[str, torch.Tensor]


class _VersionedState(State):
    """A state dict that can carry the version records PyTorch looks for in this attribute."""

    _metadata: object = None


@dataclass(frozen=True)
class WeightsFile:
    """A local file, and which of the networks in it is meant.

    Attributes:
        path: The file.
        key: Where the state dict is in it, such as "state_dict_ema" or "ema.module"; None takes
            the plain weights.
    """

    path: Path
    key: str | None = None

    @property
    def state(self) -> State:
        """The tensors by name, on the CPU; see `read_state_dict`.

        Warns:
            NoctuleWarning: The file holds several networks, and none was chosen by `key`.
        """
        return self._found[0]

    @property
    def description(self) -> str:
        """The file's name; and which weights of it were taken, if it holds several."""
        key, others = self._found[1:]
        if not others:
            return f"file {self.path.name}"
        return f"file {self.path.name}, '{key}' (it also holds {', '.join(others)})"

    @cached_property
    def _found(self) -> tuple[State, str, list[str]]:
        state, key, others = _read(self.path, self.key)
        if others and self.key is None:
            warnings.warn(
                f"{self.path}: the weights '{key}' are used; it also holds "
                f"{', '.join(others)}. Choose with --weights-key (weights_key in Python).",
                NoctuleWarning,
                stacklevel=2,
            )
        return state, key, others


def read_state_dict(path: Path, key: str | None = None) -> State:
    """The tensors of a weights file by name, on the CPU.

    A state dict wrapped as `{"state_dict": ...}`, `{"model_state_dict": ...}`,
    `{"model": ...}` and the like is unwrapped: of several the plain weights, and averages only
    if `key` names them. The prefixes "module." and "_orig_mod." are stripped when all names
    have them.

    Raises:
        InputError: no such file, another format, a damaged file, a pickle that holds more than
            tensors and plain values, no state dict, or several of which none is the plain one.
    """
    return _read(Path(path), key)[0]


def _read(path: Path, key: str | None) -> tuple[State, str, list[str]]:
    """The state dict, where it was, and where others are."""
    reject_special_files(path)
    if not path.exists():
        raise InputError("there is no such weights file", where=path)
    name = path.name.casefold()
    if name.endswith(".safetensors"):
        content = _read_safetensors(path)
    elif name.endswith(_PICKLES):
        content = _read_pickle(path)
    else:
        raise InputError(
            f"weights files end in .safetensors, {', '.join(_PICKLES)}, not '{path.suffix}'",
            where=path,
            remedy="Save the state dict with safetensors.torch.save_file or torch.save.",
        )
    states = _states_in(content)
    chosen = _chosen(states, key, path)
    others = [other or "weights at the top" for other in states if other != chosen]
    return _strip_prefixes(states[chosen]), chosen, others


def load_into(module: nn.Module, state: Mapping[str, torch.Tensor], where: object) -> None:
    """Copies `state` into `module`; every tensor must have its place and its shape.

    BatchNorm's step counters may be missing: older files lack them, evaluation ignores them. So
    may the other names of tied weights, which safetensors keeps once. A prefix that all of the
    network's names have in the file, such as Lightning's "model.", is stripped.

    Raises:
        InputError: names that are missing or not expected, or shapes that differ.
    """
    module = unwrapped(module)
    own = module.state_dict()
    given = _VersionedState(aligned(own, state))
    _fill_tied(module, given)
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
    state = aligned(own, state)
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
        with torch.serialization.safe_globals(list(_HARMLESS)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"a {kind[1]}" if kind else "a pickled model, or code"
        raise InputError(
            f"this file holds more than tensors ({what}), or is damaged; nothing in it was "
            "executed",
            where=path,
            remedy="Save the weights alone: torch.save(model.state_dict(), path), or with "
            "safetensors; if you trust it, read it once with torch.load(path, "
            "weights_only=False) and save what you need of it.",
        ) from error
    except Exception as error:  # a damaged archive surfaces as any of a dozen exceptions
        raise InputError(f"cannot be read as weights: {error}", where=path) from error


def _states_in(content: object) -> dict[str, State]:
    """All state dicts of a file by where they are: "", "state_dict", "ema.module"."""
    found: dict[str, State] = {}
    if not isinstance(content, Mapping):
        return found
    levels: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    for where, mapping in levels:
        if (state := _as_state(mapping)) is not None:
            found[where] = state
        elif where.count(".") < _DEPTH:
            levels += [
                (f"{where}.{key}".lstrip("."), value)
                for key, value in mapping.items()
                if isinstance(key, str) and isinstance(value, Mapping)
            ]
    return found


def _as_state(mapping: Mapping[Any, Any]) -> State | None:
    """The mapping, if it is a state dict: tensors by name and nothing else.

    An average of PyTorch's also counts what it is the average of, which is left out.
    """
    state = {name: value for name, value in mapping.items() if name != "n_averaged"}
    named = all(
        isinstance(name, str) and isinstance(value, torch.Tensor)
        for name, value in state.items()
    )
    if not state or not named:
        return None
    return mapping if len(state) == len(mapping) else state  # type: ignore[return-value]


def _chosen(states: Mapping[str, State], key: str | None, path: Path) -> str:
    """Where the wanted state dict is."""
    if key is not None:
        if key in states:
            return key
        keys = [one for one in states if one]
        if states and not keys:
            raise InputError(
                f"holds the weights of one network, without a key, not '{key}'",
                where=path,
                remedy="Leave out --weights-key (weights_key in Python).",
            )
        raise unknown_name("key of weights", key, keys, where=path)
    if not states:
        raise InputError(
            "there is no state dict (tensors by name) in this file",
            where=path,
            remedy=f"It may be at the top, or under a key such as {', '.join(_PLAIN)}.",
        )
    plain = [one for one in states if not any(part in one.casefold() for part in _AVERAGED)]
    known = [one for one in _PLAIN if one in plain]
    if known or len(plain) == 1 or len(states) == 1:
        return (known or plain or list(states))[0]
    raise InputError(
        f"holds the weights of several networks: {', '.join(states)}",
        where=path,
        remedy="Name one with --weights-key (weights_key in Python).",
    )


def aligned(own: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> State:
    """The weights under a network's own names, if a common prefix is all that differs.

    Args:
        own: State dict of the network.
        state: Weights; where several prefixes fit, or none, they are returned as they are.
    """
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    if not needed or any(name in state for name in needed):
        return state  # type: ignore[return-value]  # a state dict, with its version records
    last = needed[-1]
    prefixes = [name.removesuffix(last) for name in state if name.endswith(f".{last}")]
    fitting = [prefix for prefix in prefixes if sum(prefix + name in state for name in needed)
               >= len(needed) / 2]  # fmt: skip
    if len(fitting) != 1:
        return state  # type: ignore[return-value]
    (prefix,) = fitting
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _fill_tied(module: nn.Module, given: State) -> None:
    """Give tied weights that a file keeps once all of their names."""
    same: dict[object, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            same.setdefault(id(tensor), []).append(name)
    for names in same.values():
        kept = [name for name in names if name in given]
        for name in names:
            if kept and name not in given:
                given[name] = given[kept[0]]


def _strip_prefixes(state: State) -> State:
    """Without the names of PyTorch's shells, in whatever order they were put around."""
    while prefix := next(
        (one for one in _PREFIXES if all(name.startswith(one) for name in state)), None
    ):
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
