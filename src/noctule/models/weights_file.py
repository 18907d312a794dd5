"""Read weights from a local file without executing code in it.

`.safetensors` files contain only tensors. `.pt`, `.pth`, `.bin` and `.ckpt` files are pickles,
read with PyTorch's restricted unpickler. It builds tensors and plain containers and refuses
everything else, such as a whole pickled model.
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
# Keys under which training programs save weights, most common first.
_PLAIN = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "module")
_AVERAGED = ("ema", "swa", "average", "avg", "shadow")  # parts of keys of averaged weights
_PREFIXES = ("module.", "_orig_mod.")  # DataParallel and AveragedModel, torch.compile
_SHOWN = 3
_DEPTH = 1  # nesting of a state dict in dictionaries, as the number of dots

# Harmless objects that training programs save beside weights: NumPy numbers and command-line
# options.
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
    """A state dict with the attribute in which PyTorch keeps version records."""

    _metadata: object = None


@dataclass(frozen=True)
class WeightsFile:
    """A local file, and the key of one state dict in it.

    Attributes:
        path: The file.
        key: Key of the state dict, such as "state_dict_ema" or "ema.module"; None for the plain
            weights.
    """

    path: Path
    key: str | None = None

    @property
    def state(self) -> State:
        """The tensors by name, on the CPU; see `read_state_dict`.

        Warns:
            NoctuleWarning: The file contains several networks, and `key` is None.
        """
        return self._content[0]

    @property
    def description(self) -> str:
        """The name of the file and, if it contains several networks, the key."""
        key, others = self._content[1:]
        if not others:
            return f"file {self.path.name}"
        return f"file {self.path.name}, '{key}' (it also holds {', '.join(others)})"

    @cached_property
    def _content(self) -> tuple[State, str, list[str]]:
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

    State dicts under keys such as "state_dict", "model_state_dict" or "model" are supported. Of
    several, plain weights are preferred; averaged weights require `key`. The prefixes "module."
    and "_orig_mod." are stripped if all names have them.

    Raises:
        InputError: The file does not exist, is damaged or of another format, contains more than
            tensors and plain values, has no state dict, or has several and none is plain.
    """
    return _read(Path(path), key)[0]


def _read(path: Path, key: str | None) -> tuple[State, str, list[str]]:
    """The state dict, its key, and the keys of others."""
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
    """Load `state` into `module`; all names and shapes must match.

    BatchNorm's step counters may be missing, because older files lack them and evaluation
    ignores them. So may further names of tied weights, which safetensors stores once. A common
    prefix, such as Lightning's "model.", is stripped.

    Raises:
        InputError: Names are missing or unexpected, or shapes differ.
    """
    module = unwrapped(module)
    own = module.state_dict()
    complete = _VersionedState(aligned(own, state))
    _fill_tied(module, complete)
    for name in own.keys() - complete.keys():
        if name.endswith("num_batches_tracked"):
            complete[name] = own[name]
    _check_names(own, complete, where)
    _check_shapes(own, complete, where)
    # PyTorch assumes that a state dict without version records is very old, and converts it.
    complete._metadata = getattr(state, "_metadata", None) or getattr(own, "_metadata", None)
    try:
        module.load_state_dict(complete)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"the weights do not load: {error}", where=where) from error


def infer_num_classes(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], num_classes: int
) -> int:
    """The number of classes of a state dict, from the shape of the head.

    Args:
        own: State dict of the architecture built with `num_classes`.
        state: State dict with an unknown number of classes.
        num_classes: First dimension of the head's tensors in `own`.

    Returns:
        The first dimension in `state` of the tensors that differ in shape, provided that they
        agree on it and differ in this dimension only; otherwise `num_classes`.
    """
    state = aligned(own, state)
    pairs = [
        (tuple(own[name].shape), tuple(state[name].shape))
        for name in own.keys() & state.keys()
        if own[name].shape != state[name].shape
    ]
    heads = all(a and b and a[0] == num_classes and a[1:] == b[1:] for a, b in pairs)
    counts = {b[0] for _, b in pairs if b}
    return counts.pop() if heads and len(counts) == 1 else num_classes


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
            f"this file contains more than tensors ({what}), or is damaged; nothing in it was "
            "executed",
            where=path,
            remedy="Save the weights alone: torch.save(model.state_dict(), path), or with "
            "safetensors. If you trust the file, load it with torch.load(path, "
            "weights_only=False) and save the weights.",
        ) from error
    except Exception as error:  # PyTorch can raise any exception for damaged files
        raise InputError(f"cannot be read as weights: {error}", where=path) from error


def _states_in(content: object) -> dict[str, State]:
    """All state dicts in a file by key, such as "", "state_dict" or "ema.module"."""
    states: dict[str, State] = {}
    if not isinstance(content, Mapping):
        return states
    levels: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    for path, mapping in levels:
        if (state := _as_state(mapping)) is not None:
            states[path] = state
        elif path.count(".") < _DEPTH:
            levels += [
                (f"{path}.{key}".lstrip("."), value)
                for key, value in mapping.items()
                if isinstance(key, str) and isinstance(value, Mapping)
            ]
    return states


def _as_state(mapping: Mapping[Any, Any]) -> State | None:
    """The mapping if it is a state dict, with tensors by name only; otherwise None.

    The counter of PyTorch's AveragedModel is left out.
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
    """The key of the requested state dict."""
    if key is not None:
        if key in states:
            return key
        keys = [known for known in states if known]
        if states and not keys:
            raise InputError(
                f"contains the weights of one network, without a key, not '{key}'",
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
    plain = [key for key in states if not any(part in key.casefold() for part in _AVERAGED)]
    known = [key for key in _PLAIN if key in plain]
    if known or len(plain) == 1 or len(states) == 1:
        return (known or plain or list(states))[0]
    raise InputError(
        f"contains the weights of several networks: {', '.join(states)}",
        where=path,
        remedy="Select one with --weights-key (weights_key in Python).",
    )


def aligned(own: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> State:
    """Rename weights to a network's own names, if only a common prefix differs.

    Args:
        own: State dict of the network.
        state: Weights; returned unchanged unless exactly one prefix matches.
    """
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    if not needed or any(name in state for name in needed):
        return state  # type: ignore[return-value]  # a state dict, with its version records
    last = needed[-1]
    prefixes = [name.removesuffix(last) for name in state if name.endswith(f".{last}")]
    matching = [prefix for prefix in prefixes if sum(prefix + name in state for name in needed)
               >= len(needed) / 2]  # fmt: skip
    if len(matching) != 1:
        return state  # type: ignore[return-value]
    (prefix,) = matching
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _fill_tied(module: nn.Module, state: State) -> None:
    """Add the missing names of tied weights that a file stores once."""
    same: dict[object, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
            same.setdefault(id(tensor), []).append(name)
    for names in same.values():
        stored = [name for name in names if name in state]
        for name in names:
            if stored and name not in state:
                state[name] = state[stored[0]]


def _strip_prefixes(state: State) -> State:
    """Strip the prefixes of PyTorch's wrappers, in any order."""
    while prefix := next(
        (each for each in _PREFIXES if all(name.startswith(each) for name in state)), None
    ):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _check_names(own: Mapping[str, Any], state: Mapping[str, Any], where: object) -> None:
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    if not missing and not unexpected:
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_few(missing, unexpected)})")
    if unexpected:
        parts.append(f"{len(unexpected)} unexpected ({_few(unexpected, missing)})")
    raise InputError(
        f"the weights do not match this architecture: of its {len(own)} tensors "
        + ", ".join(parts),
        where=where,
    )


def _few(names: Sequence[str], others: Sequence[str]) -> str:
    """The first few of `names`, each with a similar name from `others`."""
    shown = []
    for name in names[:_SHOWN]:
        near = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
        shown.append(f"{name}, like {near[0]}" if near else name)
    return "; ".join(shown) + ("; …" if len(names) > _SHOWN else "")


def _check_shapes(
    own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], where: object
) -> None:
    wrong = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if own[name].shape != state[name].shape
    ]
    if wrong:
        dots = "; …" if len(wrong) > _SHOWN else ""
        raise InputError(
            f"{len(wrong)} weights have another shape: {'; '.join(wrong[:_SHOWN])}{dots}",
            where=where,
        )
