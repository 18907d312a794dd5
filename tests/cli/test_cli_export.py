"""`noctule export`, `noctule verify` and `noctule evaluate --stored` as a user meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import noctule
import noctule.cli.export  # registers the commands

SMALL = """
name = "small"
title = "Small"
source = "tests"
corruptions = ["shear", "gaussian"]
severities = [1, 2, 3, 4, 5]
"""


MODEL = "test_cli:Channels"


@pytest.fixture
def benchmark_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_export_verify_and_evaluate_again(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    out = tmp_path / "set"
    status, printed, err = noctule_cli(
        "export", benchmark_file, folder, out, "--processes", 1, "--seed", 3
    )
    assert status == 0, err
    assert "60 images of 32 × 32 px under every condition of small" in printed
    status, printed, err = noctule_cli("verify", out, "--again", 20)
    assert status == 0, err
    assert printed == f"{2 + 60 * 11} files unchanged; 20 images corrupted again, " \
        "all identical.\n"  # fmt: skip

    status, _, err = noctule_cli(
        "evaluate", MODEL, folder, "-b", benchmark_file, "--seed", 3, "--out", tmp_path / "live"
    )
    assert status == 0, err
    status, printed, err = noctule_cli(
        "evaluate", MODEL, "--stored", out, "--out", tmp_path / "stored", "--format", "csv"
    )
    assert status == 0, err
    live, stored = (noctule.RunStore.open(tmp_path / one) for one in ("live", "stored"))
    assert stored.rows().equals(live.rows())
    status, of_live, _ = noctule_cli("metrics", tmp_path / "live", "--format", "csv")
    assert of_live == printed

    (out / "shear/2/red/5.png").unlink()
    status, printed, err = noctule_cli("verify", out)
    assert (status, printed) == (1, "missing: shear/2/red/5.png\n")
    assert "1 missing, 0 changed" in err
    status, _, err = noctule_cli("evaluate", MODEL, "--stored", out)
    assert status == 2
    assert "shear/2: lacks 1 of the 60 images of the manifest: red/5" in err

    (out / "shear/2/red/more.png").touch()
    status, _, err = noctule_cli("verify", out)
    assert "it writes missing and damaged files again. Remove the extra files." in err
    (out / "shear/2/red/more.png").unlink()
    status, _, err = noctule_cli(
        "export", benchmark_file, folder, out, "--processes", 1, "--seed", 3
    )
    assert status == 0, err
    assert noctule_cli("verify", out, "--again", 5)[0] == 0


class Prepared(nn.Module):
    """Brightest channel of images that are resized, cropped and normalised."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)).flip(1) * 10


def prepared(side_px: int = 24) -> tuple[nn.Module, noctule.Preprocessing]:
    return Prepared(), noctule.Preprocessing(
        resize_px=side_px,
        crop_px=(side_px, side_px),
        interpolation="bicubic",
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
    )


def test_a_set_exported_with_a_model_gives_the_rows_of_live_evaluation(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    """And one exported without gives others, and says so; photographs of several sizes."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        with Image.open(file) as image:
            image.resize((40 + number % 5, 60 - number % 7)).save(file)
    network = "test_cli_export:prepared"
    export = ("export", benchmark_file, folder)
    assert noctule_cli(*export, "own", "--processes", 1, "--model", network)[0] == 0
    other = ("--resize", 30, "--crop", 24)  # the network would keep 24 × 24 px as they are
    assert noctule_cli(*export, "other", "--processes", 1, *other)[0] == 0
    status, _, err = noctule_cli(
        "evaluate", network, folder, "-b", benchmark_file, "--out", "live"
    )
    assert status == 0, err
    for name in ("own", "other"):
        status, _, err = noctule_cli(
            "evaluate", network, "--stored", name, "--out", f"of-{name}"
        )
        assert status == 0, err
        assert ("would prepare images otherwise" in err) == (name == "other")
    live, own, other = (
        noctule.RunStore.open(tmp_path / one).rows() for one in ("live", "of-own", "of-other")
    )
    assert own.equals(live)
    assert not other.equals(live)


def test_models_are_loaded_with_the_options_of_evaluate(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    """By export and show; without a model, they are refused."""
    photo = next(iter(folder.rglob("*.png")))
    network = ("--model", "test_cli_export:prepared", "--model-args", '{"side_px": 40}')
    program = torch.export.export(Prepared(), (torch.zeros(2, 3, 40, 40),))
    torch.export.save(program, tmp_path / "net.pt2")
    trusted = ("--model", "export:net.pt2", "--trust")
    for number, options in enumerate((network, trusted)):
        out = tmp_path / f"set{number}"
        status, _, err = noctule_cli(
            "export", benchmark_file, folder, out, "--processes", 1, *options
        )
        assert status == 0, err
        sheet = tmp_path / f"sheet{number}.png"
        show = ("show", photo, "-c", "shear", "--severity", 1, "--out", sheet)
        assert noctule_cli(*show, *options)[0] == 0
        for image in (*out.rglob("*.png"), sheet):
            with Image.open(image) as one:
                assert image == sheet or one.size == (40, 40)
    with Image.open(tmp_path / "sheet0.png") as one, Image.open(sheet) as other:
        assert one.size == other.size
    for options, what in (
        (network[2:], "--model-args: there is no model for it. Add --model, or omit"),
        (("--trust",), "--trust: there is no model for it"),
        (trusted[:2], "can run any code in it"),
        ((*network[:3], "{"), "--model-args: '{' is not JSON"),
    ):
        for command in (("export", benchmark_file, folder, "no", "--processes", 1), show[:2]):
            status, _, err = noctule_cli(*command, *options)
            assert (status, what in err) == (2, True), err
    assert not (tmp_path / "no").exists()


def test_options_that_mean_nothing_with_stored_images_are_refused(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    out = tmp_path / "set"
    noctule_cli("export", benchmark_file, folder, out, "--processes", 1, "--seed", 3)
    (tmp_path / "labels.txt").write_text("")
    for options, what in (
        (("--seed", 4), "--seed: the images of set were made with seed 3, not 4"),
        (("--seed", 0), "--seed: the images of set were made with seed 3, not 0"),
        (("--labels", tmp_path / "labels.txt"), "--labels: there is no DATA"),
    ):
        status, _, err = noctule_cli("evaluate", MODEL, "--stored", out, *options)
        assert (status, what in err) == (2, True), err
    status, _, err = noctule_cli(
        "evaluate", MODEL, "--stored", out, "--seed", 3, "--out", tmp_path / "run"
    )
    assert status == 0, err
    assert noctule.RunStore.open(tmp_path / "run").identity.seed == 3
    for name in ("manifest.json", "images.csv", "SHA256SUMS"):
        (out / name).unlink()
    status, _, err = noctule_cli(
        "evaluate", MODEL, "--stored", out, "-b", benchmark_file, "--seed", 3
    )
    assert status == 2
    assert "have no seed, not 3" in err


def test_out_in_data_and_a_run_folder_are_refused(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    status, _, err = noctule_cli("export", benchmark_file, folder, folder / "stored")
    assert status == 2
    assert "stored: lies in the data" in err
    assert not (folder / "stored").exists()
    np.save(tmp_path / "images.npy", np.zeros((4, 32, 32, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(4, int))
    status, _, err = noctule_cli("export", benchmark_file, tmp_path / "images.npy", tmp_path)
    assert status == 2
    assert "holds the data" in err
    noctule_cli("evaluate", MODEL, folder, "-b", benchmark_file, "--out", tmp_path / "run")
    status, _, err = noctule_cli("evaluate", MODEL, "--stored", tmp_path / "run")
    assert status == 2
    assert "is a run folder" in err


def test_a_folder_without_manifest_is_a_benchmark_of_its_own_or_the_named_one(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    out = tmp_path / "set"
    noctule_cli("export", benchmark_file, folder, out, "--processes", 1)
    for name in ("manifest.json", "images.csv", "SHA256SUMS"):
        (out / name).unlink()
    found = tmp_path / "found"
    status, _, err = noctule_cli("evaluate", MODEL, "--stored", out, "--out", found)
    assert status == 0, err
    assert noctule.RunStore.open(found).identity.benchmark["name"] == "set"
    for arguments in ((), (folder,)):
        run = tmp_path / f"run{len(arguments)}"
        status, _, err = noctule_cli(
            "evaluate", MODEL, *arguments, "--stored", out, "-b", benchmark_file, "--out", run
        )
        assert status == 0, err
        assert noctule.RunStore.open(run).identity.dataset["num_images"] == 60


def test_the_mode_of_a_stored_set_cannot_be_chosen(
    noctule_cli, folder, benchmark_file, tmp_path
) -> None:
    out = tmp_path / "set"
    noctule_cli("export", benchmark_file, folder, out, "--processes", 1, "--mode", "released")
    status, _, err = noctule_cli("evaluate", MODEL, "--stored", out, "--mode", "paper")
    assert status == 2
    assert "its images are in mode 'released', not 'paper'" in err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (("export", "imagenet-nok", "photo-patches", "x"), "Did you mean 'imagenet-noc"),
        (("export", "imagenet-noc", "photo-patches", "x", "-f", "jpeg"), "Add --quality 85"),
        (("export", "imagenet-noc", "nowhere", "x"), "unknown dataset 'nowhere'"),
        (("verify", "."), "is not a stored set"),
        (("verify", "nowhere"), "there is no such folder"),
        (("evaluate", "photo-patches", "--stored", "nowhere"), "there is no such folder"),
        (("export", "imagenet-noc", "photo-patches", "x", "--resize", 10**8), "1 to 8,192"),
        (("evaluate", "photo-patches", "--stored", "nowhere", "-b", "imagenet-noc"), "no such"),
    ],
)
def test_user_errors_exit_with_2_and_no_traceback(noctule_cli, arguments, what) -> None:
    status, _, err = noctule_cli(*arguments)
    assert status == 2
    assert what in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "size"), [((), 32), (("--resize", 40, "--crop", 24), 24), (("--resize", 0), 32)]
)
def test_the_size_of_the_images(noctule_cli, folder, benchmark_file, options, size) -> None:
    arguments = ("export", benchmark_file, folder, "set", "--processes", 1, "-f", "npy")
    status, printed, err = noctule_cli(*arguments, *options)
    assert status == 0, err
    assert f"of {size} × {size} px" in printed


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_ctrl_c_says_how_to_go_on_and_exporting_goes_on(tmp_path: Path) -> None:
    code = "import noctule.cli.export; from noctule.cli import main; main()"
    command = [sys.executable, "-c", code, "export", "imagenet-noc", "photo-patches"]
    command += [str(tmp_path / "set"), "--processes", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    pieces = tmp_path / "set/pieces"
    while process.poll() is None and not list(pieces.glob("[0-9]*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130, stderr
    assert "rerun the same command" in stderr
    assert "Traceback" not in stderr
    assert len(list(pieces.glob("[0-9]*"))) < 32  # of 1024 images in pieces of 32
