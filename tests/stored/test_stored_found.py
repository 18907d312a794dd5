"""Corrupted sets whose names noctule has never heard of, and ImageNet-3DCC."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from noctule.benchmarks import load_benchmark
from noctule.comparison import compare
from noctule.config import write_toml
from noctule.data.decode import decode_file
from noctule.errors import InputError
from noctule.evaluation.settings import Settings
from noctule.report.run import write_report
from noctule.scoring import published_reference, score_run
from noctule.stored import evaluate_stored, open_stored
from photos import noise_image, png_bytes, write

QUICK = Settings(device="cpu", batch_size=8, workers=0, self_check=False)
CLASSES = ("bird", "cat")


class Brightest(torch.nn.Module):
    """The class of the brighter half of the mean pixel: wrong for some images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        red, green = images.mean((2, 3))[:, :2].T
        return torch.stack([red, green], dim=1)


def write_set(
    root: Path,
    names: tuple[str, ...],
    severities: tuple[str, ...] = ("1", "2"),
    classes: tuple[str, ...] = CLASSES,
    count: int = 3,
) -> Path:
    """Noise under NAME/SEVERITY/CLASS/IMAGE, or NAME/CLASS/IMAGE without severities."""
    for name in names:
        for severity in severities or ("",):
            for label in classes:
                for number in range(count):
                    seed = zlib.crc32(repr((name, severity, label, number)).encode())
                    file = root / name / severity / label / f"{number}.png"
                    write(file, png_bytes(noise_image(8, 8, seed)))
    return root


def evaluated(folder: Path, out: Path, **options):
    return evaluate_stored(Brightest(), folder, out=out, settings=QUICK, **options)


def test_names_and_severities_are_found(tmp_path):
    folder = write_set(tmp_path / "lens", ("dirt on lens", "Fog_3d"), ("1", "3"))
    write_set(folder, ("clean",), ())
    (folder / ".cache").mkdir()
    (folder / "readme.txt").write_text("hello")
    result = evaluated(folder, tmp_path / "run")
    assert result.scores.conditions == (
        "clean", "Fog_3d@1", "Fog_3d@3", "dirt on lens@1", "dirt on lens@3",
    )  # fmt: skip
    # By hand: each file, decoded here, in the class of its folder.
    for name in ("Fog_3d@3", "dirt on lens@1"):
        corruption, severity = name.split("@")
        wrong = []
        for label, one in enumerate(CLASSES):
            for file in sorted((folder / corruption / severity / one).iterdir()):
                image = decode_file(file, file.name)
                red, green, _ = np.asarray(image).mean((0, 1))
                wrong.append((0 if red >= green else 1) != label)
        assert result.scores.of("error", name).value == sum(wrong) / len(wrong)
    assert result.scores.reference is None
    assert result.run.identity.benchmark["stored_only"]
    assert result.run.identity.benchmark["name"] == "lens"


def test_folders_of_classes_are_one_severity(tmp_path):
    folder = write_set(tmp_path / "set", ("night", "dust"), ())
    result = evaluated(folder, tmp_path / "run")
    assert result.scores.conditions == ("dust", "night")
    assert len(result.run.rows()) == 2 * 6
    # Classes with numbers for names are classes all the same.
    digits = write_set(tmp_path / "digits", ("night",), (), ("0", "1", "2"))
    assert [str(one) for one in open_stored(digits).images] == ["night"]


def test_a_found_set_is_compared_reported_and_a_reference(tmp_path):
    folder = write_set(tmp_path / "set", ("night", "dust"))
    write_set(folder, ("clean",), ())
    reference = evaluated(folder, tmp_path / "a", name="one").run
    result = evaluated(folder, tmp_path / "b", name="two", reference=tmp_path / "a")
    assert result.scores.of("ce").value == 100
    assert compare(tmp_path / "a", tmp_path / "b").num_differing == 0
    assert score_run(reference).of("mean_error").value == result.scores.of("mean_error").value
    write_report([tmp_path / "a", tmp_path / "b"], tmp_path / "page.html")
    assert "night" in (tmp_path / "page.html").read_text()
    part = evaluated(folder, tmp_path / "c", skip=["dust"], severities=[2])
    assert part.scores.conditions == ("clean", "night@2")
    assert "1 of 2 corruptions" in part.run.identity.benchmark["title"]


def damaged(folder: Path, change: str) -> None:
    match change:
        case "severity":
            shutil.rmtree(folder / "dust/2")
        case "image":
            (folder / "dust/2/cat/1.png").unlink()
        case "class":
            shutil.rmtree(folder / "dust/2/cat")
        case "no severities":
            shutil.rmtree(folder / "dust")
            write_set(folder, ("dust",), ())
        case "empty":
            (folder / "snowstorm").mkdir()
        case "files":
            write(folder / "snowstorm/1.png", b"x")
        case "levels":
            (folder / "dust/2").rename(folder / "dust/level_2")
            (folder / "dust/1").rename(folder / "dust/level_1")
        case "seven":
            (folder / "dust/2").rename(folder / "dust/7")
        case "at":
            (folder / "dust").rename(folder / "dust@2")
        case "one corruption":
            pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "severity",
            r"lacks 1 of the 4 conditions of set: dust@2.*--severities, --corruptions",
        ),
        ("image", r"dust/2: lacks 1 of the 6 images of .*cat/1"),
        ("class", r"dust/2: lacks 3 of the 6 images"),
        ("no severities", "'dust' holds folders of classes, and 'night' folders of severities"),
        ("empty", "snowstorm: holds no folders. Corrupted images lie in NAME/SEVERITY/CLASS"),
        ("files", "snowstorm: holds no folders"),
        ("levels", "dust: its folders are not named by severities 1 to 5"),
        ("seven", "dust: its severity folders are 1, 7"),
        ("at", "'dust@2' cannot be the name of a corruption"),
    ],
)
def test_incomplete_and_unsuitable_sets(tmp_path, change, message):
    folder = write_set(tmp_path / "set", ("night", "dust"))
    damaged(folder, change)
    with pytest.raises(InputError, match=message):
        open_stored(folder)


def test_what_is_complete_of_an_incomplete_set(tmp_path):
    folder = write_set(tmp_path / "set", ("night", "dust"))
    damaged(folder, "severity")
    for choice in ({"severities": [1]}, {"skip": "dust"}):
        assert evaluated(folder, tmp_path / str(choice), **choice).scores.part is not None


def test_folders_that_hold_no_corruptions(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no folders of corruptions"):
        open_stored(tmp_path / "empty")
    folder = write_set(tmp_path / "set", ("night", "dust"))
    with pytest.raises(InputError, match="1, 2, which are severities or classes, not corr"):
        open_stored(folder / "night")
    write_set(tmp_path / "c", ("noise/gaussian_noise", "blur/defocus_blur"))
    with pytest.raises(InputError, match=r"archives of ImageNet-C\. Choose .* imagenet-c"):
        open_stored(tmp_path / "c")
    write_set(tmp_path / "known", ("fog", "snow"))
    with pytest.raises(InputError, match="fog, snow are corruptions of cifar10-c, imagenet-c"):
        open_stored(tmp_path / "known")


def test_stored_corruptions_cannot_be_computed(noctule_cli, tmp_path):
    for command in (
        ("evaluate", "photo-patches", "--benchmark", "imagenet-3dcc", "--device", "cpu"),
        ("export", "imagenet-3dcc", "photo-patches", "out", "--format", "png"),
    ):
        status, _, err = noctule_cli(*command)
        assert status == 2
        assert "imagenet-3dcc: its corruptions are known from images on disk only" in err
        assert "--stored DIR" in err
    status, out, _ = noctule_cli("list", "benchmarks", "imagenet-3dcc")
    assert status == 0
    assert "AlexNet on imagenet-1k-val" in out


def test_a_file_of_your_own_names_the_corruptions_and_reference_errors(tmp_path):
    folder = write_set(tmp_path / "set", ("fog", "snow"), ("1",))
    spec = {
        "name": "mine", "title": "Mine", "source": "here", "stored_only": True,
        "corruptions": ["fog", "snow"], "severities": [1],
    }  # fmt: skip
    write_toml(spec, tmp_path / "mine.toml")
    result = evaluated(folder, tmp_path / "run", benchmark=tmp_path / "mine.toml")
    assert result.scores.conditions == ("fog@1", "snow@1")
    assert result.scores.benchmark == "mine"
    for change, message in (
        ({"tables": {"fog": {"x": [1.0]}}}, "stored images have no parameters"),
        ({"corruptions": ["a/b"]}, "'a/b' cannot be the name of a corruption"),
        ({"corruptions": ["fog", "fog"]}, "'fog' is listed twice"),
        ({"corruptions": ["clean"]}, "'clean' cannot be"),
    ):
        write_toml(spec | change, tmp_path / "bad.toml")
        with pytest.raises(InputError, match=message):
            load_benchmark(tmp_path / "bad.toml")


# ImageNet-3DCC. ResNet-50's accuracies, and the scores of both networks, are RobustBench's own.
RESNET_50 = {
    "near_focus": (0.667, 0.6298, 0.5892, 0.559, 0.523),
    "far_focus": (0.6708, 0.6064, 0.5372, 0.4888, 0.4456),
    "bit_error": (0.6338, 0.5696, 0.4886, 0.4026, 0.2476),
    "color_quant": (0.73, 0.7176, 0.6776, 0.5074, 0.1854),
    "flash": (0.4924, 0.4532, 0.3976, 0.3312, 0.2196),
    "fog_3d": (0.6542, 0.5176, 0.4016, 0.3128, 0.2526),
    "h265_abr": (0.7064, 0.6964, 0.6464, 0.514, 0.5216),
    "h265_crf": (0.7078, 0.7064, 0.6888, 0.655, 0.6248),
    "iso_noise": (0.406, 0.37, 0.2896, 0.19, 0.0804),
    "low_light": (0.555, 0.519, 0.4644, 0.399, 0.2828),
    "xy_motion_blur": (0.5112, 0.3934, 0.2972, 0.2292, 0.179),
    "z_motion_blur": (0.476, 0.3978, 0.328, 0.276, 0.2492),
}


def test_alexnets_errors_give_the_published_scores():
    benchmark = load_benchmark("imagenet-3dcc")
    reference = benchmark.reference_for("imagenet-1k-val")
    assert reference is not None
    assert benchmark.corruptions == tuple(RESNET_50)
    means = {
        name: sum(reference.errors[f"{name}@{severity}"] for severity in range(1, 6)) / 5
        for name in RESNET_50
    }
    # AlexNet.json: accuracy 28.47 % on ImageNet-3DCC, 56.24 % on clean images.
    assert 100 * (1 - sum(means.values()) / 12) == pytest.approx(28.47, abs=0.005)
    assert reference.errors["clean"] == pytest.approx(1 - 0.5624)
    # Standard_R50.json: accuracy 47.12 %, mCE 73.16 %.
    errors = {name: 1 - sum(values) / 5 for name, values in RESNET_50.items()}
    assert 100 * (1 - sum(errors.values()) / 12) == pytest.approx(47.12, abs=0.005)
    mce = 100 * sum(errors[name] / means[name] for name in means) / 12
    assert mce == pytest.approx(73.16, abs=0.005)


def test_imagenet_3dcc_is_recognised_and_checked_for_completeness(tmp_path):
    folder = tmp_path / "3dcc"
    write_set(folder, tuple(RESNET_50), ("1", "2", "3", "4", "5"), ("n01440764",), 1)
    stored = open_stored(folder)
    assert stored.benchmark == load_benchmark("imagenet-3dcc")
    shutil.rmtree(folder / "flash")  # an incomplete download
    with pytest.raises(InputError, match=r"lacks 5 of the 60 conditions of imagenet-3dcc"):
        open_stored(folder)


def test_alexnets_errors_apply_to_imagenet_only_and_say_where_they_are_from():
    benchmark = load_benchmark("imagenet-3dcc")
    ids = pa.array(["a", "b"])
    data = {"domain": "imagenet-1k-val", "num_images": 50_000}
    known = published_reference(benchmark, data, 0, ids)
    assert known.name == (
        "AlexNet (RobustBench 2023), whose errors are taken as exact; they are of 5,000 of the "
        "images"
    )
    assert isinstance(known.errors, dict)
    assert known.errors["flash@5"] == pytest.approx(1 - 0.0958)
    other = published_reference(benchmark, {**data, "domain": None}, 0, ids)
    assert other.errors is None
