"""What was run is what is named: answers to fixed images, carried preprocessing, names."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import noctule
from command_line import run
from noctule import NoctuleWarning, Preprocessing, Settings
from noctule.errors import InputError
from noctule.models.behaviour import behaviour_of, probe_images, refuse_other_behaviour
from noctule.models.load import load_classifier

UNCHECKED = Settings(self_check=False, device="cpu")


class Session:
    """Stands in for an ONNX session: weights that no state dict shows."""

    def __init__(self, seed: int) -> None:
        self.weights = torch.randn(768, 4, generator=torch.Generator().manual_seed(seed))

    def run(self, images: Tensor) -> Tensor:
        return images.flatten(1) @ self.weights


class Wrapper(nn.Module):
    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session

    def forward(self, images: Tensor) -> Tensor:
        return self.session.run(images)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    path = tmp_path / "b.toml"
    path.write_text(
        'name = "b"\ntitle = "B"\nsource = "x"\ncorruptions = ["shear"]\nseverities = [1]\n'
    )
    return path


def data(images: int = 40) -> tuple[Any, Any]:
    pixels = np.random.default_rng(0).integers(0, 256, (images, 16, 16, 3), dtype=np.uint8)
    return pixels, np.arange(images) % 4


def test_another_session_behind_the_same_wrapper_is_refused(
    tmp_path: Path, benchmark: Path
) -> None:
    """Finished or not: neither old scores nor a mixture are given for another network."""
    first, other = Wrapper(Session(0)), Wrapper(Session(1))
    assert load_classifier(first).weights_sha256 == load_classifier(other).weights_sha256
    out = tmp_path / "run"
    scores = noctule.evaluate(first, data(), benchmark, out=out, settings=UNCHECKED).scores
    again = noctule.evaluate(first, data(), benchmark, out=out, settings=UNCHECKED).scores
    assert again.of("error", "clean") == scores.of("error", "clean")
    with pytest.raises(InputError, match="differs from the model at the start"):
        noctule.evaluate(other, data(), benchmark, out=out, settings=UNCHECKED)
    for rows in (out / "rows").glob("*.parquet"):
        rows.unlink()
    with pytest.raises(InputError, match="differs from the model at the start"):
        noctule.evaluate(other, data(), benchmark, out=out, settings=UNCHECKED)


@pytest.mark.parametrize("batch_size", [1, 8, 300])
def test_probes_are_shown_in_the_users_batch_size(
    tmp_path: Path, benchmark: Path, batch_size: int
) -> None:
    seen: list[int] = []

    class Noting(Wrapper):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(len(images))
            return super().forward(images)

    settings = Settings(self_check=False, device="cpu", batch_size=batch_size)
    noctule.evaluate(
        Noting(Session(0)), data(), benchmark, out=tmp_path / "run", settings=settings
    )
    assert seen[0] == batch_size


def test_probes_by_hand() -> None:
    """Blocks of a seventh of the side; four distinct images, in turn; the same for ever."""
    images = probe_images(6, 3, 14, 21)
    assert images[4:].equal(images[:2])
    assert len(images.flatten(1).unique(dim=0)) == 4
    assert images[:, :, ::2, ::3].repeat_interleave(2, 2).repeat_interleave(3, 3).equal(images)
    assert images[0, 0, 0, ::3].tolist() == [169, 40, 107, 135, 250, 223, 76]


def test_tolerances() -> None:
    """A hundredth of the logits' deviation in float32, a tenth in bfloat16."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))
    images = probe_images(8, 3, 16, 16)
    found = behaviour_of(lambda x: network(x / 255).detach(), images)
    assert len(found) == 4
    assert all(len(row) == 10 for row in found)
    deviation = float(np.std(found, ddof=1))

    def compared(change: float, precision: str) -> None:
        other = [[value + change * deviation for value in row] for row in found]
        refuse_other_behaviour(
            [{}, {"behaviour": found}], other, precision=precision, name="net", where="run"
        )

    compared(0.0, "float32")
    compared(0.009, "float32")
    compared(0.09, "bfloat16")
    for change, precision in (
        (0.011, "float32"),
        (0.11, "bfloat16"),
        (float("nan"), "float32"),
    ):
        with pytest.raises(InputError, match="differs from the model at the start"):
            compared(change, precision)
    fewer = [row[:9] for row in found]
    with pytest.raises(InputError, match="differ in number"):
        refuse_other_behaviour(
            [{"behaviour": found}], fewer, precision="float32", name="net", where="run"
        )
    with pytest.raises(InputError, match="cannot be read"):
        refuse_other_behaviour(
            [{"behaviour": ["x"]}], found, precision="float32", name="net", where="run"
        )


# ------------------------------------------------------------------------ carried preprocessing

FACTORIES = """
import timm, torch, torchvision
from noctule import Preprocessing

def of_timm():
    return timm.create_model("resnet10t", pretrained=False)

def compiled():
    return torch.compile(of_timm())

def parallel():
    return torch.nn.DataParallel(of_timm())

def averaged():
    return torch.optim.swa_utils.AveragedModel(of_timm())

def bare():
    return torchvision.models.squeezenet1_1()

def with_entry():
    return bare(), torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1

def with_preprocessing():
    return bare(), Preprocessing(resize_px=40)

def with_nonsense():
    return bare(), 7
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "carried_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "carried_factories", raising=False)


@pytest.mark.parametrize("name", ["of_timm", "compiled", "parallel", "averaged"])
def test_timms_configuration_is_read_off_the_network(name: str, factories: None) -> None:
    from timm.data import resolve_model_data_config
    from timm.models import create_model

    config = resolve_model_data_config(create_model("resnet10t", pretrained=False))
    found = load_classifier(f"carried_factories:{name}")
    assert found.preprocessing.mean == tuple(config["mean"])
    assert found.preprocessing.crop_px == tuple(config["input_size"][1:])
    assert found.preprocessing.interpolation == config["interpolation"]
    assert "timm configuration" in found.preprocessing_note
    own = Preprocessing(resize_px=32)
    given = load_classifier(f"carried_factories:{name}", preprocessing=own)
    assert given.preprocessing == own
    assert given.preprocessing_note == ""


def test_a_function_may_return_the_preprocessing_too(factories: None) -> None:
    found = load_classifier("carried_factories:with_entry")
    assert found.preprocessing.mean == (0.485, 0.456, 0.406)
    assert found.preprocessing.crop_px == (224, 224)
    assert found.class_names is not None
    assert found.class_names[0] == "tench"
    assert load_classifier("carried_factories:with_preprocessing").preprocessing.resize_px == 40
    with pytest.raises(InputError, match="a int with the network"):
        load_classifier("carried_factories:with_nonsense")


def test_a_network_without_preprocessing_says_so(factories: None) -> None:
    found = load_classifier("carried_factories:bare")
    assert found.preprocessing == Preprocessing()
    assert "carries no preprocessing" in found.preprocessing_note


def test_the_preprocessing_in_use_is_named_where_nobody_chose_it(
    tmp_path: Path, benchmark: Path, factories: None
) -> None:
    """timm's configuration, or none where torchvision's weights may need one; else silence."""
    images = np.zeros((1, 32, 32, 3), np.uint8)

    def evaluated(model: object) -> None:
        labelled = (images, np.array([0]))
        noctule.evaluate(model, labelled, benchmark, settings=UNCHECKED)

    import carried_factories

    with pytest.warns(NoctuleWarning, match=r"timm configuration: resized to 201 px"):
        evaluated(carried_factories.of_timm())
    with pytest.warns(NoctuleWarning, match="carries no preprocessing.*mean 0, 0, 0"):
        evaluated(carried_factories.bare())
    with pytest.warns(NoctuleWarning, match="carries no preprocessing.*mean 0, 0, 0"):
        evaluated("carried_factories:bare")
    # Warnings are errors in these tests, so that these pass only in silence.
    evaluated(load_classifier("carried_factories:bare", preprocessing=Preprocessing()))
    evaluated(nn.Sequential(nn.Flatten(), nn.Linear(3072, 4)))
    evaluated("photo-patches")


def test_the_command_line_names_the_preprocessing_in_use(
    tmp_path: Path,
    benchmark: Path,
    factories: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "d.npz", images=np.zeros((1, 32, 32, 3), np.uint8), labels=[0])

    def said(*options: object) -> str:
        arguments = ("evaluate", "carried_factories:of_timm", "d.npz", "-b", benchmark)
        status, _, err = run(monkeypatch, capsys, *arguments, "--no-self-check", *options)
        assert status == 0, err
        return " ".join(err.split())

    own = (
        "carried_factories:of_timm: The preprocessing follows the network's timm configuration"
    )
    assert said().count(own) == 1
    changed = said("--resize", 40, "--crop", 32, "--mean", "0.5,0.5,0.5")
    assert "follows the options, and otherwise the model's own settings" in changed
    assert "resized to 40 px (bicubic), cropped to 32 × 32 px, mean 0.5, 0.5, 0.5" in changed
    module = "carried_factories:of_timm"
    state = dict(load_classifier(module).module.state_dict())
    torch.save({"state_dict": state, "state_dict_ema": state}, tmp_path / "both.pth")
    weights = ("--weights", "both.pth")
    assert "'state_dict' are used; it also holds state_dict_ema." in said(*weights)
    assert "it also holds" not in said(*weights, "--weights-key", "state_dict_ema")


# -------------------------------------------------------------------------------------- names


def test_networks_of_one_class_have_different_names() -> None:
    first, second = (nn.Sequential(nn.Flatten(), nn.Linear(768, 4)) for _ in range(2))
    names = {load_classifier(network).name for network in (first, second)}
    assert len(names) == 2
    assert all(name.startswith("Sequential@") for name in names)


def test_a_name_can_be_given(tmp_path: Path, benchmark: Path) -> None:
    run = noctule.evaluate(
        Wrapper(Session(0)), data(), benchmark, name="ours", out=tmp_path / "r",
        settings=UNCHECKED,
    ).run  # fmt: skip
    assert run.identity.model["name"] == "ours"
    for wrong in ("", " ", "x" * 201, 5):
        with pytest.raises(InputError, match="is not a name"):
            load_classifier("photo-patches").named(wrong)


# ------------------------------------------------------------------------------------ exported


def test_a_set_is_exported_with_a_models_preparation() -> None:
    from noctule.cli.export import _preprocessing

    expected = load_classifier("photo-patches").preprocessing
    assert _preprocessing(None, None, "photo-patches") == expected
    with pytest.raises(InputError, match="cannot be combined with --resize"):
        _preprocessing(256, None, "photo-patches")


def test_common_names_of_folders_are_told_apart() -> None:
    from noctule.data.files import base_name

    names = [base_name(Path(path)) for path in ("/a/cats/test", "/a/dogs/test", "/a/dogs/x")]
    assert names == ["cats/test", "dogs/test", "x"]
    assert base_name(Path("/a/cats/test.npz")) == "cats/test.npz"
