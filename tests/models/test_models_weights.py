"""Weights files: what is read, what is refused, and that nothing in them is ever executed."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from noctule import input_files
from noctule.errors import InputError, NoctuleWarning
from noctule.models import weights_sha256
from noctule.models.load import load_classifier
from noctule.models.sources.shipped import shipped_file
from noctule.models.weights_file import (
    WeightsFile,
    infer_num_classes,
    load_into,
    read_state_dict,
)

State = dict[str, torch.Tensor]


def network(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, classes))


class Bomb:
    """A pickle that creates a file when it is loaded by the unrestricted unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")


def assert_same(given: State, expected: State) -> None:
    assert given.keys() == expected.keys()
    assert all(torch.equal(given[name], expected[name]) for name in expected)


WRAPPED: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "state_dict": lambda state: {"epoch": 3, "state_dict": state},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": [0.1]},
    "model": lambda state: {"model": state, "optimizer": {"lr": 0.1}},
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
@pytest.mark.parametrize("form", WRAPPED)
def test_the_state_dict_is_found(tmp_path: Path, form: str, suffix: str) -> None:
    state = network().state_dict()
    path = tmp_path / f"weights{suffix}"
    torch.save(WRAPPED[form](state), path)
    assert_same(read_state_dict(path), state)


def test_the_hash_does_not_depend_on_the_file_format(tmp_path: Path) -> None:
    module = network()
    torch.save(module.state_dict(), tmp_path / "a.pt")
    save_file(module.state_dict(), tmp_path / "a.safetensors")
    hashes = set()
    for name in ("a.pt", "a.safetensors"):
        other = network()
        load_into(other, read_state_dict(tmp_path / name), name)
        assert_same(other.state_dict(), module.state_dict())
        hashes.add(weights_sha256(other.state_dict()))
    assert hashes == {weights_sha256(module.state_dict())}


def test_the_hash_sees_names_values_shapes_and_dtypes() -> None:
    zeros = torch.zeros(2, 3)
    states: list[State] = [
        {"a": zeros},
        {"b": zeros},
        {"a": zeros.T},
        {"a": zeros.to(torch.int32)},
        {"a": zeros + 1e-30},
        {"a": zeros, "b": zeros},
        {"a": torch.tensor(0.0)},
        {"a": torch.zeros(0)},
        {"a": torch.zeros(2, 3, dtype=torch.bfloat16)},
    ]
    assert len({weights_sha256(state) for state in states}) == len(states)
    two = {"a": torch.arange(6.0).reshape(2, 3), "b": zeros}
    assert weights_sha256(two) == weights_sha256(dict(reversed(two.items())))
    strided = {"a": torch.arange(6.0).reshape(3, 2).T.contiguous().T.T, "b": zeros}
    assert weights_sha256(strided) == weights_sha256({"a": strided["a"].clone(), "b": zeros})


def test_code_in_a_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    torch.save({"state_dict": Bomb(trace)}, tmp_path / "new.pt")
    torch.save(Bomb(trace), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb(trace)))
    for name in ("new.pt", "old.pt", "plain.pt"):
        with pytest.raises(InputError, match=name):
            read_state_dict(tmp_path / name)
        assert not trace.exists()
    # The oracle: the unrestricted unpickler does fall for it.
    torch.load(tmp_path / "new.pt", weights_only=False)["state_dict"].close()
    assert trace.exists()


def test_a_pickled_model_is_refused_with_the_remedy(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "model.pt")
    with pytest.raises(InputError, match=r"nothing in it was executed.*model\.state_dict\(\)"):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut short"])
def test_damaged_files_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        read_state_dict(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    state = network().state_dict()
    torch.save(state, tmp_path / "whole.pt")
    save_file(state, tmp_path / "whole.safetensors")
    for suffix in (".pt", ".safetensors"):
        content = (tmp_path / f"whole{suffix}").read_bytes()
        (tmp_path / f"half{suffix}").write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="half"):
            read_state_dict(tmp_path / f"half{suffix}")


def test_missing_files_and_other_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such weights file"):
        read_state_dict(tmp_path / "absent.pt")
    (tmp_path / "weights.h5").write_bytes(b"x")
    with pytest.raises(InputError, match=r"not '\.h5'"):
        read_state_dict(tmp_path / "weights.h5")


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [1, 2], {"state_dict": {"a": 1.0}}])
def test_files_without_a_state_dict_are_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no state dict"):
        read_state_dict(tmp_path / "other.pt")


def test_missing_and_unexpected_names_are_listed_with_the_nearest() -> None:
    state = network().state_dict()
    state["0.wieght"] = state.pop("0.weight")
    with pytest.raises(InputError) as caught:
        load_into(network(), state, "w.pt")
    text = str(caught.value)
    assert "1 missing (0.weight, like 0.wieght)" in text
    assert "1 unexpected (0.wieght, like 0.weight)" in text
    with pytest.raises(InputError, match=r"8 missing .*; …"):
        load_into(network(), {}, "w.pt")


def test_a_shape_mismatch_shows_both_shapes() -> None:
    with pytest.raises(InputError, match=r"2\.weight is \(5, 4\) instead of \(3, 4\)"):
        load_into(network(), network(5).state_dict(), "w.pt")


def test_a_refused_file_leaves_the_module_as_it_was() -> None:
    module = network()
    before = weights_sha256(module.state_dict())
    with pytest.raises(InputError):
        load_into(module, network(5).state_dict(), "w.pt")
    assert weights_sha256(module.state_dict()) == before


def test_step_counters_may_be_missing() -> None:
    state = {k: v for k, v in network().state_dict().items() if "num_batches" not in k}
    module = network()
    load_into(module, state, "w.pt")
    assert torch.equal(module[0].weight, state["0.weight"])


def test_the_number_of_classes_is_read_off_the_head() -> None:
    own = network(10).state_dict()
    assert infer_num_classes(own, network(7).state_dict(), 10) == 7
    assert infer_num_classes(own, own, 10) == 10
    wider = network(7).state_dict() | {"2.weight": torch.zeros(7, 5)}
    assert infer_num_classes(own, wider, 10) == 10
    # Another layer differs too: this is another architecture, not another head.
    other = network(7).state_dict() | {"0.weight": torch.zeros(5, 3, 3, 3)}
    assert infer_num_classes(own, other, 10) == 10
    two_heads = network(7).state_dict() | {"2.bias": torch.zeros(8)}
    assert infer_num_classes(own, two_heads, 10) == 10


class Inflating:
    """Pickled as a call of bytearray: two dozen bytes for as many as one likes."""

    def __reduce__(self) -> tuple[Any, ...]:
        return bytearray, (10**8,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_inflates_is_refused_before_it_does(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.pt"
    content = {"w": torch.zeros(2), "b": Inflating()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    # The fault is real: PyTorch's restricted unpickler makes them.
    assert len(torch.load(path, weights_only=True)["b"]) == 10**8
    with pytest.raises(InputError, match="its pickle calls 'bytearray'"):
        read_state_dict(path)
    torch.save({"w": torch.zeros(2)}, path, _use_new_zipfile_serialization=zipped)
    assert list(read_state_dict(path)) == ["w"]


def test_an_archive_of_weights_that_inflates_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"w": torch.zeros(10**6)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as plain:
        entries = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    monkeypatch.setattr(input_files, "MAX_UNPACKED_BYTES", 10**6)  # a bomb has gigabytes
    with pytest.raises(InputError, match="decompression bomb"):
        read_state_dict(tmp_path / "b.pt")
    assert read_state_dict(tmp_path / "a.pt")["w"].shape == (10**6,)


# -------------------------------------------------------------- checkpoints as people have them


class Tied(nn.Module):
    """Two names for one weight, as language models and some vision transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4)
        self.last = nn.Linear(4, 4)
        self.last.weight = self.first.weight


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def lightning(state: State) -> dict[str, Any]:
    return {
        "epoch": 3,
        "global_step": np.int64(12),
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("model.", state),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 0.1},
    }


CHECKPOINTS: dict[str, Callable[[State], Any]] = {
    "compiled in DataParallel": lambda state: prefixed("_orig_mod.module.", state),
    "DataParallel compiled": lambda state: prefixed("module._orig_mod.", state),
    "averaged": lambda state: {"n_averaged": torch.tensor(5), **prefixed("module.", state)},
    "Lightning": lightning,
    "Lightning, another attribute": lambda state: {"state_dict": prefixed("net.", state)},
    "Lightning, compiled": lambda state: {"state_dict": prefixed("model._orig_mod.", state)},
    "numbers of NumPy": lambda state: {
        "model": state,
        "best": np.float64(0.7),
        "loss": np.float32(0.1),
        "epoch": np.int64(3),
        "done": np.bool_(True),
    },
    "options": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1)},
    "net": lambda state: {"net": state, "acc": 91.5},
    "only an average": lambda state: {"ema": {"module": state}, "updates": 5},
    "average beside the plain": lambda state: {
        "state_dict_ema": {name: value + 1 for name, value in state.items()},
        "state_dict": state,
    },
}


@pytest.mark.parametrize("shell", ["none", "parallel", "averaged", "compiled"])
@pytest.mark.parametrize("form", CHECKPOINTS)
def test_checkpoints_load(tmp_path: Path, form: str, shell: str) -> None:
    """Whatever wraps the network in the file, and in the function that builds it."""
    source, target = network(), network()
    path = tmp_path / "model_best.PTH.TAR"
    torch.save(CHECKPOINTS[form](source.state_dict()), path)
    shells: dict[str, Callable[[nn.Module], Any]] = {
        "none": lambda module: module,
        "parallel": nn.DataParallel,
        "averaged": torch.optim.swa_utils.AveragedModel,
        "compiled": torch.compile,
    }
    wrapped = shells[shell](target)
    load_into(wrapped, read_state_dict(path), path)
    inner = wrapped.module if shell == "averaged" else target
    assert_same(dict(inner.state_dict()), dict(source.state_dict()))


def test_which_weights_are_used_is_said_and_can_be_chosen(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    average = {name: value + 1 for name, value in state.items()}
    path = tmp_path / "both.pth"
    torch.save({"model": state, "model_ema": average, "optimizer": {"state": {}}}, path)
    plain = WeightsFile(path)
    with pytest.warns(
        NoctuleWarning, match="'model' are used; it also holds model_ema. Choose"
    ):
        assert_same(plain.state, state)
    assert plain.description == "file both.pth, 'model' (it also holds model_ema)"
    chosen = WeightsFile(path, "model_ema")
    assert_same(chosen.state, average)
    assert chosen.description == "file both.pth, 'model_ema' (it also holds model)"
    with pytest.raises(InputError, match="Did you mean 'model_ema'"):
        read_state_dict(path, "model_em")
    torch.save({"student": state, "teacher": average}, path)
    with pytest.raises(InputError, match=r"several networks: student, teacher.*weights-key"):
        read_state_dict(path)
    assert_same(read_state_dict(path, "teacher"), average)
    torch.save({"model": state}, path)
    assert WeightsFile(path).description == "file both.pth"


def test_the_key_is_recorded(tmp_path: Path) -> None:
    module = network()
    path = tmp_path / "both.pth"
    state = dict(module.state_dict())
    torch.save({"model": state, "ema": {name: v + 1 for name, v in state.items()}}, path)
    found = load_classifier(module, weights=path, weights_key="ema")
    assert found.weights == "file both.pth, 'ema' (it also holds model)"
    assert found.module.state_dict()["0.bias"].equal(state["0.bias"] + 1)
    assert module.state_dict()["0.bias"].equal(state["0.bias"])
    with pytest.raises(InputError, match="no weights file"):
        load_classifier(module, weights_key="ema")


def test_a_key_is_refused_where_a_file_holds_one_network(tmp_path: Path) -> None:
    """Of a user's weights and of a file that noctule wrote: neither ignores it."""
    path = tmp_path / "plain.pth"
    torch.save(dict(network().state_dict()), path)
    with shipped_file("photo-patches") as own:
        for model, file in ((network(), path), ("photo-patches", own)):
            with pytest.raises(InputError, match="one network, without a key, not 'ema'"):
                load_classifier(model, weights=file, weights_key="ema")


@pytest.mark.parametrize("name", ["tied.safetensors", "TIED.SAFETENSORS"])
def test_tied_weights_are_stored_once(tmp_path: Path, name: str) -> None:
    source, target = Tied(), Tied()
    path = tmp_path / name
    save_model(source, str(path))
    assert len(read_state_dict(path)) == 3  # of four names
    load_into(target, read_state_dict(path), path)
    assert_same(dict(target.state_dict()), dict(source.state_dict()))
    # Weights that are not tied here are missing, and not guessed.
    apart = nn.ModuleDict({"first": nn.Linear(4, 4), "last": nn.Linear(4, 4)})
    with pytest.raises(InputError, match="1 missing"):
        load_into(apart, read_state_dict(path), path)


def test_what_else_a_pickle_holds_is_named(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": dict(network().state_dict()), "where": Path("x")}, path)
    with pytest.raises(InputError, match=r"more than tensors \(a pathlib\.\w*Path\)") as caught:
        read_state_dict(path)
    assert "If you trust the file" in str(caught.value)


def test_a_prefix_that_is_part_of_the_names_stays(tmp_path: Path) -> None:
    inner = nn.ModuleDict({"model": network()})
    path = tmp_path / "w.pt"
    torch.save(inner.state_dict(), path)
    target = nn.ModuleDict({"model": network()})
    load_into(target, read_state_dict(path), path)
    assert_same(dict(target.state_dict()), dict(inner.state_dict()))
    # Two networks that both fit: none is guessed.
    both = prefixed("a.", dict(network().state_dict())) | prefixed("b.", network().state_dict())
    torch.save(both, path)
    with pytest.raises(InputError, match="missing"):
        load_into(network(), read_state_dict(path), path)
