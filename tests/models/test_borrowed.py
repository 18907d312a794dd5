"""The user's network and everything around it come back as they were; odd networks work."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.explore.predictions import Predictor
from noctule.models import load_classifier
from noctule.models.borrowed import borrowed
from noctule.models.classifier import set_channels_last
from noctule.studies import design

CPU = torch.device("cpu")
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
LENIENT = Settings(device="cpu", batch_size=8, self_check=False)
DATA = (np.arange(12 * 16 * 16 * 3, dtype=np.uint8).reshape(12, 16, 16, 3), [0, 1, 2, 3] * 3)


class Busy(nn.Module):
    """Does in `forward` what networks do to themselves, and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 4)
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("total", torch.zeros(1))
        self.seen: torch.Tensor
        self.total: torch.Tensor
        self.loose = torch.zeros(2)
        self.cache: torch.Tensor | None = None
        self.by_size: dict[int, torch.Tensor] = {}

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        self.total = self.total + images.sum()
        self.loose += 1
        if self.cache is None:
            self.cache = self.head.weight * 1
        self.by_size.setdefault(len(images), torch.zeros(4))
        random.random()
        np.random.rand()
        noise = 0 * torch.rand(1)
        features = self.drop(self.norm(self.conv(images))).mean((2, 3)) + noise
        return features @ self.cache.T + self.by_size[len(images)]


class Failing(Busy):
    """Raises on its second batch."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 1:
            raise self.error("on purpose")
        return super().forward(images)


def snapshot(module: nn.Module) -> dict[str, Any]:
    """All that a user can see of a network."""
    found: dict[str, Any] = {}
    for name, part in module.named_modules():
        found[f"{name} training"] = part.training
        for key, value in vars(part).items():
            if isinstance(value, torch.Tensor):
                found[f"{name} {key}"] = (id(value), value.tolist())
            elif key in ("cache", "by_size"):
                found[f"{name} {key}"] = copy.copy(value)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        found[name] = (
            id(tensor), tensor.data_ptr(), tensor.stride(), tensor.dtype, tensor.device,
            tensor.requires_grad, tensor.grad is not None and id(tensor.grad), tensor.tolist(),
            tensor.grad is not None and tensor.grad.tolist(), tensor.is_inference(),
        )  # fmt: skip
    return found


def surroundings() -> dict[str, Any]:
    """The state of the process that evaluation must not change."""
    import multiprocessing
    import signal

    return {
        "python": random.getstate(),
        "numpy": repr(np.random.get_state()),
        "torch": torch.get_rng_state().tolist(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "filters": list(warnings.filters),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "matmul": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
    }


def prepared(module: nn.Module) -> nn.Module:
    """With a mixture of modes, of stored and other weights, and with gradients."""
    module.train()
    module.norm.eval()
    module.conv.requires_grad_(False)
    for parameter in module.head.parameters():
        parameter.grad = torch.ones_like(parameter)
    return module


def run(module: Any, out: Path, data: Any = DATA) -> noctule.Evaluation:
    return evaluate(module, data, QUICK, out=out, settings=LENIENT)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_everything_is_as_before(
    tmp_path: Path, layout: torch.memory_format, workers: int
) -> None:
    module = prepared(Busy()).to(memory_format=layout)
    before, around = snapshot(module), surroundings()
    settings = Settings(device="cpu", batch_size=8, self_check=False, workers=workers)
    evaluate(module, DATA, QUICK, out=tmp_path / "run", settings=settings)
    assert snapshot(module) == before
    assert surroundings() == around


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_everything_is_as_before_after_an_exception(
    tmp_path: Path, error: type[BaseException]
) -> None:
    module = prepared(Failing(error))
    before, around = snapshot(module), surroundings()
    with pytest.raises((noctule.InputError, error)):
        run(module, tmp_path / "run")
    assert module.calls == 2
    assert snapshot(module) == before
    assert surroundings() == around


def test_the_network_can_be_trained_afterwards(tmp_path: Path) -> None:
    """Also if evaluation was called in inference mode, whose tensors training refuses."""
    module = Busy().train()
    with torch.inference_mode():
        run(module, tmp_path / "run")
    module.cache = None
    module(torch.rand(2, 3, 16, 16)).sum().backward()
    assert module.conv.weight.grad is not None


def test_a_tensor_kept_where_nothing_restores_it_is_of_use_in_training(tmp_path: Path) -> None:
    kept: list[torch.Tensor] = []

    class Keeping(Busy):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            kept.append(torch.ones(4))
            return super().forward(images)

    run(Keeping(), tmp_path / "run")
    assert not any(tensor.is_inference() for tensor in kept)


def test_a_network_that_does_more_than_set_a_flag_is_told_of_its_mode(tmp_path: Path) -> None:
    """As LoRA does: weights are merged in evaluation, and unmerged in training."""

    class Merging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(768, 4)
            self.merged = False

        def train(self, mode: bool = True) -> Merging:
            super().train(mode)
            if mode == self.merged:
                self.linear.weight.data += -1 if mode else 1
                self.merged = not mode
            return self

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert self.merged
            out: torch.Tensor = self.linear(images.flatten(1))
            return out

    module = nn.Sequential(Merging().train())
    before = module[0].linear.weight.detach().clone()
    run(module, tmp_path / "run")
    assert torch.allclose(module[0].linear.weight, before, atol=1e-6)
    assert module[0].merged is False


def test_a_zoo_layout_is_lent_too() -> None:
    classifier = load_classifier("photo-patches")
    strides = [tensor.stride() for tensor in classifier.module.parameters()]
    with borrowed(classifier, CPU):
        assert [tensor.stride() for tensor in classifier.module.parameters()] != strides
    assert [tensor.stride() for tensor in classifier.module.parameters()] == strides


def test_the_layout_leaves_five_dimensional_weights() -> None:
    module = nn.ParameterList([torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5, 6)])
    set_channels_last(module)
    assert module[0].is_contiguous(memory_format=torch.channels_last)
    assert module[1].is_contiguous()


def test_loading_draws_nothing_from_the_user() -> None:
    around = surroundings()
    load_classifier("photo-patches")
    assert surroundings() == around


def test_weights_are_loaded_into_a_copy(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    other = nn.Sequential(nn.Flatten(), nn.Linear(768, 4))
    torch.save(other.state_dict(), tmp_path / "w.pt")
    before = module[1].weight.tolist()
    classifier = load_classifier(module, weights=tmp_path / "w.pt")
    assert classifier.module[1].weight.tolist() == other[1].weight.tolist()
    assert module[1].weight.tolist() == before


def test_the_page_gives_the_network_back() -> None:
    module = prepared(Busy())
    before = snapshot(module)
    Predictor(load_classifier(module), CPU).probabilities(torch.zeros(2, 3, 16, 16).byte())
    assert snapshot(module) == before


# Networks of other kinds


def flat(flatten: nn.Module | None = None) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(flatten or nn.Flatten(), nn.Linear(768, 4))


class View(nn.Module):
    """Flattens with `view`, after a convolution as tutorials have it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4 * 14 * 14, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images.view(len(images), -1)
        features = self.conv(images)
        out: torch.Tensor = self.head(features.view(len(features), -1))
        return out


class FiveDimensional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 1, 1, 1, 4))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((1, 2, 3))[:, None] + self.bias[0, 0, 0]


class Extra(nn.Sequential):
    """With a state that is no tensor."""

    def get_extra_state(self) -> Any:
        return {"scale": 2, "names": ("a", None), "table": np.ones(3), "tensor": torch.ones(2)}

    def set_extra_state(self, state: Any) -> None:
        del state


def scripted() -> Any:
    return torch.jit.script(flat().train())


def stored() -> Any:
    return torch.jit.export(torch.jit.script(flat().eval()))


def traced() -> Any:
    return torch.jit.trace(flat(), torch.zeros(2, 3, 16, 16))


def exported() -> Any:
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.zeros(3, 3, 16, 16),)
    return torch.export.export(flat().eval(), example, dynamic_shapes=[{0: batch}]).module()


def quantised() -> Any:
    return torch.ao.quantization.quantize_dynamic(flat().eval(), {nn.Linear}, torch.qint8)


@torch.inference_mode()
def relaid() -> Any:
    """A network made outside of inference mode, whose weights got new memory inside."""
    with torch.inference_mode(False):
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 14 * 14, 4))
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


KINDS = {
    "relaid": relaid,
    "view": View, "5-D": FiveDimensional, "extra state": lambda: Extra(*flat()),
    "scripted": scripted, "stored": stored, "traced": traced, "exported": exported,
    "quantised": quantised, "parallel": lambda: nn.DataParallel(flat()),
    "no parameters": lambda: nn.Sequential(nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten()),
    "weight norm": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(768, 4))),
    "half": lambda: flat().half(), "bfloat16": lambda: flat().bfloat16(),
    "double": lambda: flat().double(),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore")  # of PyTorch about its own TorchScript and quantisation
def test_networks_of_every_kind_work(tmp_path: Path, kind: str) -> None:
    """The rows are what the network itself says of the clean images."""
    module = KINDS[kind]()
    result = run(module, tmp_path / "run")
    rows = result.run.rows(columns=["condition", "image_id", "confidence"]).to_pylist()
    found = [row["confidence"] for row in rows if row["condition"] == "clean"]
    inputs = torch.from_numpy(DATA[0]).permute(0, 3, 1, 2).contiguous() / 255
    dtype = {"half": torch.half, "bfloat16": torch.bfloat16, "double": torch.double}.get(kind)
    with torch.no_grad():
        logits = module(inputs.to(dtype or torch.float32)).float()
    expected = logits.softmax(dim=1).amax(dim=1).tolist()
    assert found == pytest.approx(expected, abs=2e-3 if kind in ("half", "bfloat16") else 1e-5)


def test_what_a_network_computes_in_is_recorded(tmp_path: Path) -> None:
    assert run(flat().half(), tmp_path / "run").run.identity.precision == "float16"
    with pytest.raises(noctule.InputError, match="the network's weights are float16"):
        evaluate(
            flat().half(), DATA, QUICK, settings=Settings(device="cpu", precision="float32")
        )


def lazy() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(4))


def trained_export() -> Any:
    module = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(768, 4)).train()
    return torch.export.export(module, (torch.zeros(3, 3, 16, 16),)).module()


class OwnTrain(nn.Linear):
    def train(self) -> None:  # type: ignore[override]
        """Not what torch means by it."""


class Foreign(Extra):
    def get_extra_state(self) -> Any:
        return object()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lazy, "does not exist yet: the layer is lazy"),
        (lambda: flat().to("meta"), "is on the meta device"),
        (trained_export, r"exported in training mode.*Call eval\(\)"),
        (lambda: OwnTrain(768, 4), "cannot be set to evaluation mode"),
        (lambda: Foreign(nn.Flatten()), "extra_state' of the state dict is a object"),
        (lambda: View, r"View is a class, not a network. Create an instance: View\(...\)"),
        (lambda: flat, "the function failed on a float32 NumPy array of shape"),
        (lambda: flat().state_dict(), "is an OrderedDict, not a network. Build the network"),
        (lambda: (flat(), flat()), "is a tuple, not a network. Pass one network"),
        (lambda: None, "is None, not a network. Use a torch.nn.Module"),
        (lambda: 5, "is an int, not a network"),
        (lambda: b"photo-patches", "is a bytes, not a network"),
        (lambda: "photo-patch", "unknown model 'photo-patch'. Did you mean 'photo-patches'"),
    ],
)  # fmt: skip
def test_what_is_no_network_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    with pytest.raises(noctule.InputError, match=message):
        run(make(), tmp_path / "run")


def test_the_hash_tells_quantised_weights_and_extra_state_apart() -> None:
    first, second = flat(), flat()
    with torch.no_grad():
        second[1].weight[0, 0] += 1
    hashes = {
        load_classifier(module).weights_sha256
        for module in (first, second, Extra(*first), flat().half())
    }
    assert len(hashes) == 4


def test_a_network_on_another_device_comes_home() -> None:
    """The meta device stands for a GPU: weights move there, and theirs here are untouched."""
    module = prepared(Busy())
    before = snapshot(module)
    with borrowed(load_classifier(module), torch.device("meta")) as device:
        assert device.type == "meta"
        assert all(tensor.is_meta for tensor in module.parameters())
    assert snapshot(module) == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_everything_is_as_before_on_a_gpu(tmp_path: Path) -> None:
    module = prepared(Busy())
    before, state = snapshot(module), torch.cuda.get_rng_state()
    evaluate(
        module,
        DATA,
        QUICK,
        out=tmp_path / "run",
        settings=Settings(device="cuda", self_check=False),
    )
    assert snapshot(module) == before
    assert torch.equal(torch.cuda.get_rng_state(), state)


def test_weights_on_several_devices_stay_where_they_are() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    classifier = load_classifier(module)
    module[1].to("meta")
    with borrowed(classifier, CPU) as device:
        assert device == CPU
        assert [tensor.device.type for tensor in module.parameters()] == ["cpu"] * 2 + [
            "meta"
        ] * 2
    with (
        pytest.raises(noctule.InputError, match=r"on several devices \(cpu, meta\), none"),
        borrowed(classifier, torch.device("cuda")),
    ):
        pass


def test_no_public_function_changes_its_surroundings(tmp_path: Path) -> None:
    module, set_folder, run_folder = Busy(), tmp_path / "set", tmp_path / "run"
    matrix = noctule.OverlapMatrix(("a", "b"), np.array([[1, 0.5], [0.5, 1]]))
    calls: dict[str, Callable[[], object]] = {
        "open_dataset": lambda: noctule.open_dataset("photo-patches"),
        "corrupt": lambda: noctule.corrupt(torch.zeros(2, 3, 32, 32), "frost"),
        "evaluate": lambda: run(module, run_folder),
        "score_run": lambda: noctule.score_run(run_folder),
        "compare": lambda: noctule.compare(run_folder, run_folder),
        "export": lambda: noctule.export(QUICK, DATA, set_folder, processes=2),
        "verify": lambda: noctule.verify(set_folder),
        "evaluate_stored": lambda: noctule.evaluate_stored(
            module, set_folder, out=tmp_path / "stored", settings=LENIENT
        ),
        "choose_exact": lambda: design.choose_exact(matrix, 1),
    }
    for name, call in calls.items():
        around = surroundings()
        call()
        assert surroundings() == around, name
