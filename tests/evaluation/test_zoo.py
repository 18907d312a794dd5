"""Many models in lockstep: rows of single runs, one stream of images, failures of some only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

import sharing_runs
from noctule import InputError, NoctuleWarning, Preprocessing, evaluate, evaluate_many
from noctule.errors import NoctuleError
from noctule.evaluation.zoo import folder_name, load_zoo
from noctule.models import Classifier, load_classifier
from stripes import LENIENT, QUICK, ChannelMeans, Stripes

IMAGES = 300  # two slices


class Reversed(ChannelMeans):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).flip(1)


class Failing(ChannelMeans):
    """Fails after some batches, three of which are of one batch of images."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.batches -= 1
        if self.batches < 0:
            raise RuntimeError("it is broken")
        return super().forward(images)


class CountedStripes(Stripes):
    """Counts how often each image is read."""

    reads = 0

    def read(self, index: int) -> Image.Image:
        self.reads += 1
        return super().read(index)


def cropped(side_px: int, mean: float) -> Classifier:
    crops = Preprocessing(crop_px=(side_px, side_px), mean=(mean,) * 3, std=(0.5,) * 3)
    return load_classifier(ChannelMeans(), preprocessing=crops)


def models() -> dict[str, object]:
    return {
        "means": ChannelMeans(),
        "reversed": Reversed(),
        "crop 24": cropped(24, 0.0),
        "crop 24, centred": cropped(24, 0.5),
    }


def test_the_rows_are_those_of_single_runs_to_the_byte(tmp_path: Path) -> None:
    data = CountedStripes(IMAGES)
    done = evaluate_many(models(), data, QUICK, out=tmp_path / "zoo", settings=LENIENT)
    assert list(done.finished) == list(models())
    assert not done.failed
    together = data.reads
    data.reads = 0
    for name, model in models().items():
        single = tmp_path / "single" / folder_name(name)
        alone = evaluate(model, data, QUICK, name=name, out=single, settings=LENIENT)  # type: ignore[arg-type]
        assert sharing_runs.rows(single) == sharing_runs.rows(done.finished[name].run.folder)
        assert (single / "run.json").read_bytes() == (
            tmp_path / "zoo" / folder_name(name) / "run.json"
        ).read_bytes()
        assert alone.scores == done.finished[name].scores
    # Two streams for four models; each model's own checks read some images besides.
    checks = data.reads - 4 * IMAGES
    assert together == 2 * IMAGES + checks


def test_a_model_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    """At once, in the first slice, in the second, or when it is loaded."""
    slice_batches = 3 * 16 + 1  # and the probes
    zoo = {
        "first": Failing(0),
        "early": Failing(4),
        "means": ChannelMeans(),
        "late": Failing(slice_batches + 3),
        "unknown": "torchvision:resnet51",
        "reversed": Reversed(),
    }
    with pytest.warns(NoctuleWarning, match=r"it is broken|resnet51"):
        done = evaluate_many(zoo, Stripes(IMAGES), QUICK, out=tmp_path, settings=LENIENT)
    assert list(done.finished) == ["means", "reversed"]
    assert list(done.failed) == ["first", "early", "late", "unknown"]
    assert all("it is broken" in str(done.failed[name]) for name in ("first", "early", "late"))
    assert "resnet50" in str(done.failed["unknown"])  # the nearest name
    assert isinstance(done.failed["unknown"], NoctuleError)
    # What was finished of it remains, with the failure; nothing of those without rows.
    assert [path.name for path in (tmp_path / "late" / "rows").iterdir()] == ["000000.parquet"]
    assert (tmp_path / "late" / "failures.jsonl").exists()
    assert not (tmp_path / "early" / "run.json").exists()
    expected = evaluate(ChannelMeans(), Stripes(IMAGES), QUICK, name="means",
                        out=tmp_path / "alone", settings=LENIENT).run  # fmt: skip
    assert sharing_runs.rows(tmp_path / "means") == sharing_runs.rows(expected.folder)


def test_a_resumed_zoo_skips_what_is_finished(tmp_path: Path) -> None:
    data = CountedStripes(IMAGES)
    options = {"out": tmp_path, "settings": LENIENT}
    with pytest.warns(NoctuleWarning, match="it is broken"):
        evaluate_many({"a": ChannelMeans(), "b": Failing(52)}, data, QUICK, **options)  # type: ignore[arg-type]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/rows/*")}
    assert len(before) == 3
    network = Failing(10**6)
    done = evaluate_many({"a": ChannelMeans(), "b": network}, data, QUICK, **options)  # type: ignore[arg-type]
    assert not done.failed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert 10**6 - network.batches == 1 + 3 * 3  # the second slice only


def test_models_that_do_not_fit_beside_others_come_later(tmp_path: Path) -> None:
    first = ChannelMeans()  # in evaluation mode while it is on the device

    class Large(ChannelMeans):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if not first.training:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return super().forward(images)

    zoo = {"first": first, "large": Large()}
    with pytest.warns(NoctuleWarning, match="exhausted"):
        done = evaluate_many(zoo, Stripes(40), QUICK, out=tmp_path, settings=LENIENT)
    assert list(done.finished) == ["first", "large"]


def test_few_models_at_once_give_the_same_rows(tmp_path: Path) -> None:
    shown: list[tuple[int, int]] = []
    for at_once, folder in ((None, "all"), (1, "one")):
        evaluate_many(models(), Stripes(40), QUICK, out=tmp_path / folder, settings=LENIENT,
                      models_at_once=at_once, progress=lambda *n: shown.append(n))  # fmt: skip
    for name in map(folder_name, models()):
        assert sharing_runs.rows(tmp_path / "all" / name) == sharing_runs.rows(
            tmp_path / "one" / name
        )
    assert max(shown) == shown[-1] == (4 * 40 * 3, 4 * 40 * 3)
    with pytest.raises(InputError, match="models_at_once"):
        evaluate_many(models(), Stripes(40), QUICK, out=tmp_path, models_at_once=0)


def test_an_unreadable_image_is_named_for_each_model(tmp_path: Path) -> None:
    data = Stripes(40, broken=frozenset({33}))
    with pytest.warns(NoctuleWarning, match="s/0033"):
        done = evaluate_many({"a": ChannelMeans(), "b": Reversed()}, data, QUICK,
                             out=tmp_path, settings=LENIENT)  # fmt: skip
    assert list(done.failed) == ["a", "b"]


def test_names_are_checked_before_anything_is_run(tmp_path: Path) -> None:
    for names, message in (
        (("a b", "a,b"), "same run folder, a-b"),
        (("A", "a"), "same run folder"),
        (("...",), "not a name"),
        (("x" * 201,), "not a name"),
        ((1,), "not a name"),
        ((), "there is no model"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_many(
                dict.fromkeys(names, ChannelMeans()), Stripes(40), QUICK, out=tmp_path
            )
    assert not list(tmp_path.iterdir())


def zoo_file(path: Path, text: str) -> Path:
    (path / "zoo.toml").write_text(text)
    return path / "zoo.toml"


def test_a_file_names_models_and_their_preprocessing(tmp_path: Path) -> None:
    path = zoo_file(tmp_path, """
        [models.small]
        model = "photo-patches"
        resize = 40
        crop = 32
        mean = [0, 0.5, 0.5]
        std = [0.5, 0.5, 0.5]
        interpolation = "bicubic"
        outputs = "logits"

        [models.grey]
        model = "stripes:ChannelMeans"
        image_mode = "L"
    """)  # fmt: skip
    small, grey = (load() for load in load_zoo(path).values())
    assert (small.name, grey.name, small.outputs) == ("small", "grey", "logits")
    assert small.preprocessing == Preprocessing(
        resize_px=40, crop_px=(32, 32), mean=(0, 0.5, 0.5), std=(0.5,) * 3,
        interpolation="bicubic",
    )  # fmt: skip
    assert grey.preprocessing.channels == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '[models.a]\nmodle = "x"\n[models.b]\nweight = "y"\ncrop = 3\n[modells]',
            r"unknown keys: models\.a\.modle \(did you mean 'model'\?\), models\.b\.weight "
            r"\(did you mean 'weights'\?\) and modells \(did you mean 'models'\?\); missing: "
            r"models\.a\.model and models\.b\.model\. Known keys: ",
        ),
        ("[models.a]\nmodle = 'x'", "unknown key 'modle'. Did you mean 'model'"),
        ("[models.a]\n[models.b]", r"models\.a\.model and models\.b\.model are missing"),
        ("", "models: this key is missing"),
        ("[models]", "at least 1"),
        ("[models.a]\nmodel = 3", r"models\.a\.model: .* not 3"),
        ("[models.a]\nmodel = 'x'\ntrust = 'yes'", r"models\.a\.trust"),
        ("[models.a]\nmodel = 'x'\n[models.a]", "not valid TOML"),
        ("[models.'/']\nmodel = 'x'", "'/' is not a name"),
    ],
)
def test_mistakes_in_a_file_are_named_with_file_and_keys(
    text: str, message: str, tmp_path: Path
) -> None:
    path = zoo_file(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        load_zoo(path)
    assert str(path) in str(caught.value)
