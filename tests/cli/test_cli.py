"""The command line as a user meets it: exit status, messages, files."""

from __future__ import annotations

import csv
import io
import os

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import noctule
from command_line import result_of
from noctule.cli import app
from noctule.corruptions import CORRUPTIONS
from noctule.corruptions.draws import NoiseField


class Channels(torch.nn.Module):
    """Logits are ten times the means of blue, green and red."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 10 * images.mean(dim=(2, 3)).flip(1)


class AlwaysRed(Channels):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.0, 0.0, 1.0]]).expand(len(images), 3)


class Broken(Channels):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * float("nan")


class Reordered(Channels):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images).roll(1, dims=1)


class TwoClasses(Channels):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images)[:, :2]


MODEL = "test_cli:Channels"


def test_evaluate_prints_a_table_and_keeps_the_run(noctule_cli, folder, tmp_path) -> None:
    status, out, err = noctule_cli("evaluate", MODEL, folder, "--out", tmp_path / "run")
    assert status == 0, err
    assert "vertical_artifacts" in out
    assert "No CE" in out
    assert noctule.RunStore.open(tmp_path / "run").missing_slices() == []


def test_metrics_recomputes_the_same_numbers_in_every_format(
    noctule_cli, folder, tmp_path
) -> None:
    out = tmp_path / "run"
    _, printed, _ = noctule_cli("evaluate", MODEL, folder, "--out", out, "--json")
    status, again, _ = noctule_cli("metrics", out, "--json")
    assert status == 0
    assert result_of(again) == result_of(printed)
    records = list(csv.DictReader(io.StringIO(noctule_cli("metrics", out, "-f", "csv")[1])))
    clean = next(r for r in records if (r["name"], r["metric"]) == ("clean", "error"))
    assert float(clean["value"]) == result_of(again)["scores"][1]["value"] == 0.0
    assert noctule_cli("metrics", out, "-f", "markdown")[1].count("\n| ") >= 10
    assert r"vertical\_artifacts" in noctule_cli("metrics", out, "-f", "latex")[1]


def test_a_run_can_be_the_reference(noctule_cli, folder, tmp_path) -> None:
    noctule_cli("evaluate", MODEL, folder, "--out", tmp_path / "a")
    status, out, err = noctule_cli(
        "evaluate",
        MODEL,
        folder,
        "--out",
        tmp_path / "b",
        "--reference",
        tmp_path / "a",
        "--json",
    )
    assert status == 0, err
    # The same model twice: wherever CE is defined it is 100 exactly.
    ces = [one["value"] for one in result_of(out)["scores"] if one["metric"] == "ce"]
    defined = [value for value in ces if value is not None]
    assert defined
    assert defined == pytest.approx([100.0] * len(defined))


def test_a_reference_of_other_data_is_refused_before_the_run(
    noctule_cli, folder, tmp_path
) -> None:
    noctule_cli("evaluate", MODEL, folder, "--out", tmp_path / "a")
    (folder / "red" / "0.png").unlink()
    status, _, err = noctule_cli(
        "evaluate", MODEL, folder, "--out", tmp_path / "b", "--reference", tmp_path / "a"
    )
    assert status == 2
    assert "other data" in err
    assert not (tmp_path / "b" / "rows").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "photo-patchs"], "Did you mean 'photo-patches'"),
        (["evaluate", "photo-patches", "photo-patchs"], "Did you mean 'photo-patches'"),
        (["evaluate", "-b", "imagenet-nok"], "Did you mean 'imagenet-noc'"),
        (["evaluate", "torchvision:resnet51"], "resnet50"),
        (["evaluate", "no.module:f", "photo-patches"], "no"),
        (["evaluate", "--device", "gpu7"], "no device 'gpu7'"),
        (["evaluate", "--mean", "a,b", "--out", "r"], "--mean: 'a,b' is not a list of numbers"),
        (["evaluate", "--batch-size", "0"], "batch_size: 0 is out of range"),
        (["evaluate", "--workers", "-1", "--out", "r"], "workers: -1 is out of range"),
        (["evaluate", "--reference", "nowhere"], "nowhere"),
        (["metrics", "nowhere"], "nowhere"),
        (["show", "astronot"], "Did you mean 'astronaut'"),
        (["show", "-c", "sheer"], "Did you mean 'shear'"),
        (["show", "-c", "shear", "--severity", "6"], "severity: 6 is out of range"),
        (["show", "-c", "shear", "--size-px", "8"], "from 16 to 1,024"),
    ],
)
def test_bad_input_exits_2_with_a_message(noctule_cli, arguments, message) -> None:
    status, _, err = noctule_cli(*arguments)
    assert (status, message in err, "Traceback" in err) == (2, True, False), err


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("AlwaysRed", "predicts class 2 for each of 60 images"),
        ("Broken", "NaN or infinite logits on clean images"),
        ("Reordered", "the accuracy is 0.0 % on 60 images, and 100.0 % if"),
        ("TwoClasses", "has 2 classes, the data 3"),
    ],
)
def test_self_checks_stop_a_spoiled_run_at_the_start(
    noctule_cli, folder, tmp_path, model, message
) -> None:
    status, _, err = noctule_cli(
        "evaluate", f"test_cli:{model}", folder, "--out", tmp_path / "r"
    )
    assert status == 2, err
    assert message in err.replace("\n", " ")
    assert not (tmp_path / "r").exists()


def test_a_self_check_can_be_left_out(noctule_cli, folder, tmp_path) -> None:
    status, _, err = noctule_cli(
        "evaluate", "test_cli:Reordered", folder, "--out", tmp_path / "r", "--no-self-check"
    )
    assert status == 0, err


def test_a_corrupt_file_stops_or_is_skipped_and_counted(noctule_cli, folder, tmp_path) -> None:
    (folder / "green" / "3.png").write_bytes(b"not an image")
    out = tmp_path / "run"
    status, _, err = noctule_cli("evaluate", MODEL, folder, "--out", out)
    assert status == 2
    assert "green/3.png" in err
    out = tmp_path / "skipping"
    status, _, err = noctule_cli(
        "evaluate", MODEL, folder, "--out", out, "--on-unreadable", "skip"
    )
    assert status == 0
    assert "1 unreadable images were skipped" in err
    assert "green/3.png" in err


@pytest.mark.parametrize("name", ["shear", "all"])
def test_show_draws_what_corrupt_gives(noctule_cli, tmp_path, name) -> None:
    status, _, err = noctule_cli(
        "show", "coffee", "-c", name, "--size-px", "64", "--out", tmp_path / "sheet.png"
    )
    assert status == 0, err
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    rows = 1 if name == "shear" else len(CORRUPTIONS)
    assert sheet.shape == (rows * (64 + 18 + 6) + 6, 6 * 70 + 6, 3)
    from noctule.data.sources.photo_patches import photograph
    from noctule.models import Preprocessing

    image = Preprocessing(resize_px=64, crop_px=(64, 64)).prepare(photograph("coffee"))
    expected = noctule.corrupt(image[None], "shear", ids=["coffee"], severity=5)[0]
    row = 0 if name == "shear" else list(CORRUPTIONS).index("shear")
    top, left = 6 + row * 88 + 18, 6 + 5 * 70
    tile = sheet[top : top + 64, left : left + 64]
    assert np.array_equal(tile, expected.permute(1, 2, 0).numpy())


def test_list_names_everything(noctule_cli) -> None:
    _, out, _ = noctule_cli("list")
    for name in [*CORRUPTIONS, "imagenet-noc-candidates", "photo-patches", "timm:NAME"]:
        assert name in out


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_list_shows_a_corruption_in_full(noctule_cli, name) -> None:
    status, out, err = noctule_cli("list", "corruptions", name)
    assert status == 0, err
    corruption = CORRUPTIONS[name]
    for text in (corruption.summary, corruption.source, corruption.family):
        assert text in out
    for parameter, draw in corruption.draws.items():
        if not isinstance(draw, NoiseField):
            (line,) = [one for one in out.splitlines() if one.startswith(f"{parameter} ")]
            assert draw.describe() in line
    assert ("same as mode paper" in out) == (not corruption.has_modes)


def test_list_shows_a_benchmark_and_a_study_in_full(noctule_cli) -> None:
    out = noctule_cli("list", "benchmarks", "imagenet-c")[1]
    assert "Hendrycks" in out
    assert "glass_blur" in out
    assert "photo-patches/train" in noctule_cli("list", "studies", "photo-patches-quick")[1]
    status, _, err = noctule_cli("list", "models", "resnet50")
    assert (status, "cannot be shown in full" in err) == (2, True)


def test_compile_needs_a_directory_that_can_be_written_to(
    noctule_cli, tmp_path, monkeypatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NOCTULE_CACHE_DIR", str(tmp_path / "file"))
    status, _, err = noctule_cli("compile")
    assert status == 2
    assert "Set NOCTULE_CACHE_DIR to a directory that can be written to." in err
    assert "Traceback" not in err


def test_an_options_help_is_below_it_with_choices_and_default(noctule_cli) -> None:
    status, out, _ = noctule_cli("evaluate", "-h")
    assert status == 0
    lines = out.splitlines()
    at = lines.index("  -f, --format FORMAT")
    assert " ".join(lines[at + 1].split()) == (
        "Output format. [one of: table, csv, markdown, latex; default: table]"
    )
    assert lines[0].endswith("evaluate [OPTIONS] [MODEL] [DATA]")
    assert "  --self-check, --no-self-check" in lines
    assert max(map(len, lines)) <= 80


def test_version_and_help() -> None:
    assert noctule.__version__ in CliRunner().invoke(app, ["--version"]).output
    assert "evaluate" in CliRunner().invoke(app, ["--help"]).output


def test_an_unknown_option_exits_2(noctule_cli) -> None:
    assert noctule_cli("evaluate", "--sede", "1")[0] == 2


def test_local_weights_are_loaded_and_pickles_refused(noctule_cli, tmp_path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    status, _, err = noctule_cli(
        "evaluate", "torchvision:resnet18", "photo-patches", "--weights", path
    )
    assert status == 2
    assert "weights.pt" in err


def test_a_benchmark_of_severities_in_both_modes(noctule_cli, folder, tmp_path) -> None:
    runs = {mode: tmp_path / mode for mode in ("paper", "released")}
    for mode, out in runs.items():
        status, table, err = noctule_cli(
            "evaluate", MODEL, folder, "-b", "cifar10-c-extra", "--mode", mode, "--out", out
        )
        assert status == 0, err
        assert "gaussian_blur" in table
        assert "No CE: no reference errors are known for cifar10-c-extra" in " ".join(
            table.split()
        )
    rows = {mode: noctule.RunStore.open(out).rows() for mode, out in runs.items()}
    assert rows["paper"].num_rows == rows["released"].num_rows
    clean = {
        mode: table.filter(pc.equal(table["condition"], "clean"))
        for mode, table in rows.items()
    }
    assert clean["paper"].equals(clean["released"])
    assert not rows["paper"].equals(rows["released"])  # truncated, not rounded
    status, table, err = noctule_cli("metrics", runs["paper"], "--reference", runs["released"])
    assert status == 2
    assert "another mode" in err
    status, table, err = noctule_cli("metrics", runs["paper"], "--reference", runs["paper"])
    assert status == 0, err
    assert all(name in table for name in ("mean error", "mCE", "relative"))


def test_show_draws_a_benchmark_in_a_mode(noctule_cli, tmp_path) -> None:
    out = tmp_path / "sheet.png"
    status, _, err = noctule_cli(
        "show", "coffee", "-b", "tiny-imagenet-c", "-c", "contrast_c", "--mode", "released",
        "--size-px", "64", "--out", out,
    )  # fmt: skip
    assert status == 0, err
    from noctule.data.sources.photo_patches import photograph
    from noctule.models import Preprocessing

    image = Preprocessing(resize_px=64, crop_px=(64, 64)).prepare(photograph("coffee"))
    (expected,) = noctule.corrupt(
        image[None], "contrast_c", ids=["coffee"], mode="released", factor=0.05
    )
    # The released images are JPEG files of quality 85.
    Image.fromarray(expected.permute(1, 2, 0).numpy()).save(tmp_path / "a.jpg", quality=85)
    tile = np.asarray(Image.open(out))[6 + 18 : 6 + 18 + 64, 6 + 5 * 70 : 6 + 5 * 70 + 64]
    assert np.array_equal(tile, np.asarray(Image.open(tmp_path / "a.jpg")))
    status, _, err = noctule_cli("show", "-b", "imagenet-c", "-c", "hue", "--out", out)
    assert status == 2
    assert "imagenet-c: unknown corruption 'hue'" in err


def test_a_loop_of_links_is_refused_by_name(noctule_cli, tmp_path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    for arguments in (
        ["report", loop, "-o", tmp_path / "a.html"],
        ["report", tmp_path, "-o", loop / "a.html"],
        ["metrics", loop],
        ["verify", loop],
        ["export", "imagenet-noc", "photo-patches", loop],
        ["export", "imagenet-noc", loop, tmp_path / "set"],
        ["study", "status", loop],
    ):
        status, _, err = noctule_cli(*arguments)
        assert (status, "Traceback" in err) == (2, False), (arguments, err)
        assert "noctule: " in err


def test_show_replaces_neither_the_photograph_nor_another_file(noctule_cli, tmp_path) -> None:
    photo, notes, pipe = tmp_path / "photo.png", tmp_path / "notes.txt", tmp_path / "pipe"
    Image.new("RGB", (32, 32)).save(photo)
    notes.write_text("mine")
    os.mkfifo(pipe)
    before = photo.read_bytes()
    for out, words in (
        (photo, "is the photograph"),
        (notes, "not a PNG"),
        (pipe, "named pipe"),
    ):
        status, _, err = noctule_cli("show", photo, "-c", "shear", "--size-px", "32", "-o", out)
        assert (status, words in err) == (2, True), err
    assert (photo.read_bytes(), notes.read_text()) == (before, "mine")


def test_show_says_nothing_of_sets_of_images(noctule_cli, tmp_path) -> None:
    (tmp_path / "photo.png").write_bytes(b"no image")
    status, _, err = noctule_cli("show", tmp_path / "photo.png", "-o", tmp_path / "out.png")
    assert status == 2
    assert "Use another photograph" in err
    assert "--on-unreadable" not in err
