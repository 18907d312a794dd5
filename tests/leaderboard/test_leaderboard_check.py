"""Forged submissions, each caught by the line that is about it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torchvision import models

import sealed_runs
from command_line import result_of, run
from leaderboard_cases import (
    CLASSES,
    DESCRIPTION,
    copied,
    forge_claims,
    forge_fingerprint,
    forge_record,
    forge_rows,
    honest_submission,
    slice_paths,
    write_rows,
    write_run,
)
from noctule import InputError
from noctule.benchmarks import load_benchmark
from noctule.data import open_dataset
from noctule.leaderboard import check_submission, prepare_submission
from noctule.leaderboard.architecture import check_architecture
from noctule.leaderboard.check_items import CheckItem
from noctule.leaderboard.checks import labels_sha256
from noctule.leaderboard.submission import read_submission
from noctule.leaderboard.tracks import load_tracks
from noctule.models.fingerprint import architecture_fingerprint
from noctule.models.small_nets import PatchAlexNet
from noctule.outcomes import SCHEMA, outcome_table
from noctule.store.flaws import row_flaws
from outcome_rows import outcome_rows

Columns = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return honest_submission(tmp_path_factory.mktemp("leaderboard"))


def failing(submission: Path) -> set[str]:
    return {
        one.name for one in check_submission(submission).items if one.state == "does not hold"
    }


def test_an_honest_submission_holds(honest: Path) -> None:
    found = check_submission(honest)
    assert {one.state for one in found.items} == {"holds"}
    named = {one.name for one in found.items}
    assert {
        f"error under {name}" for name in load_benchmark("imagenet-noc").corruptions
    } < named
    # 309,424 = the count of parameters of PatchResNet(16), see its docstring: about 310,000.
    assert read_submission(honest).parameters == 309_424


# Rows. `right` is a row whose prediction is the label, `wrong` one whose is not.


def right(columns: Columns) -> int:
    return int(np.flatnonzero(columns["label_rank"] == 1)[0])


def wrong(columns: Columns) -> int:
    return int(np.flatnonzero(columns["label_rank"] == 2)[0])


def setting(column: str, value: float, pick: Callable[[Columns], int] = right) -> Any:
    def change(columns: Columns) -> Columns:
        columns[column][pick(columns)] = value
        return columns

    return forge_rows(change)


def other_prediction(columns: Columns) -> Columns:
    row = right(columns)
    columns["prediction"][row] = (columns["prediction"][row] + 1) % CLASSES
    return columns


def other_label_once(columns: Columns) -> Columns:
    row = wrong(columns)
    columns["label"][row] = columns["prediction"][row]
    columns["label_rank"][row] = 1
    columns["loss"][row] = -math.log(columns["confidence"][row])
    return columns


def other_label_throughout(columns: Columns) -> Columns:
    """The labels of two images swapped: every row stays one that could be."""
    first, second = columns["image_id"][:2]
    ones, twos = (columns["image_id"] == one for one in (first, second))
    columns["image_id"][ones], columns["image_id"][twos] = second, first
    return columns


def renamed_image(columns: Columns) -> Columns:
    columns["image_id"][columns["image_id"] == columns["image_id"][0]] = "another"
    return columns


def all_right(columns: Columns) -> Columns:
    """Every row right, and consistent in itself."""
    columns["prediction"] = columns["label"].copy()
    columns["label_rank"][:] = 1
    columns["loss"] = -np.log(columns["confidence"])
    return columns


def fewer_images(columns: Columns) -> Columns:
    kept = columns["image_id"] != columns["image_id"][0]
    return {name: column[kept] for name, column in columns.items()}


def fewer_conditions(columns: Columns) -> Columns:
    kept = columns["condition"] != "hue"
    return {name: column[kept] for name, column in columns.items()}


def hue_as_rain(columns: Columns) -> Columns:
    columns["condition"][columns["condition"] == "hue"] = "rain"
    return columns


def doubled_row(columns: Columns) -> Columns:
    for column in columns.values():
        column[1] = column[0]
    return columns


def doubled_rows(columns: Columns) -> Columns:
    return {name: np.concatenate([one, one]) for name, one in columns.items()}


def without_a_slice(submission: Path) -> None:
    slice_paths(submission)[1].unlink()


def other_number(submission: Path) -> None:
    last = slice_paths(submission)[-1]
    last.rename(last.with_name("000007.parquet"))


def without_hue(submission: Path) -> None:
    for path in slice_paths(submission):
        table = pq.read_table(path)
        write_rows(path, table.filter(pa.compute.not_equal(table["condition"], "hue")))


def skipped(submission: Path) -> None:
    """An image that the run calls unreadable, and its rows are gone."""
    path = slice_paths(submission)[0]
    table = pq.read_table(path)
    image = table["image_id"][0]
    kept = table.filter(pa.compute.not_equal(table["image_id"], image)).cast(SCHEMA)
    sealed_runs.write_slice(path, kept, unreadable=[(image.as_py(), "broken")])
    sealed_runs.seal(path.parent.parent)


SCORES = {"mean error", "clean error", "mCE", "relative mCE"} | {
    f"error under {name}" for name in load_benchmark("imagenet-noc").corruptions
}
# One row of 1,024 is 0.001; the first rows are clean ones, whose error relative CE needs.
CLEAN_SCORES = {"clean error", "relative mCE"}
DATA = "images and labels of the data"
NOTED = "architecture in run.json"
AGREE = "labels agree between conditions"
FORGED: dict[str, tuple[Any, set[str]]] = {
    # The label's probability is then the top one's, which leaves too little for the prediction.
    "prediction": (forge_rows(other_prediction), {"ranks", "loss"}),
    "rank of a right row": (setting("label_rank", 2), {"ranks"} | CLEAN_SCORES),
    "rank beyond the classes": (setting("label_rank", 17, wrong), {"ranks", "loss"}),
    "rank 0": (setting("label_rank", 0, wrong), {"ranks", "scores"}),
    "prediction beyond the classes": (setting("prediction", 16, wrong), {"ranks"}),
    "label under one condition": (forge_rows(other_label_once), {AGREE, DATA} | CLEAN_SCORES),
    "labels throughout": (forge_rows(other_label_throughout), {DATA}),
    "another image": (forge_rows(renamed_image), {DATA}),
    "confidence NaN": (setting("confidence", math.nan), {"confidence", "loss"}),
    "confidence above 1": (setting("confidence", 1.5), {"confidence", "loss"}),
    "confidence 0": (setting("confidence", 0.0, wrong), {"confidence", "loss"}),
    "confidence below 1/16": (setting("confidence", 0.05, wrong), {"confidence", "loss"}),
    "confidence of a right row": (setting("confidence", 0.1234), {"loss"}),
    "loss NaN": (setting("loss", math.nan, wrong), {"loss"}),
    "loss infinite": (setting("loss", math.inf), {"loss"}),
    "loss below 0": (setting("loss", -0.5), {"loss"}),
    "loss 0 where wrong": (setting("loss", 0.0, wrong), {"loss"}),
    "all right": (forge_rows(all_right), SCORES),
    "removed image": (forge_rows(fewer_images), {"completeness", DATA}),
    "removed slice": (without_a_slice, {"completeness", "files", DATA}),
    "condition removed in a slice": (forge_rows(fewer_conditions), {"completeness"}),
    "condition removed": (without_hue, {"completeness"}),
    "one condition for another": (forge_rows(hue_as_rain), {"completeness"}),
    "one row twice": (forge_rows(doubled_row), {"completeness"}),
    "all rows twice": (forge_rows(doubled_rows), {"completeness"}),
    "skipped image": (skipped, {"completeness", DATA}),
    "seed": (forge_record("seed", value=1), {"seed"}),
    "data": (
        forge_record("dataset", "fingerprint", value="0" * 64), {"fingerprint of the data"}),
    "data by another name": (
        forge_record("dataset", "stored", value={"live_fingerprint": "f" * 64}),
        {"fingerprint of the data"}),
    "images stored with loss": (
        forge_record("dataset", "stored", value={"layout": "noctule"}), {"images"}),
    "classes of the model": (
        forge_record("model", "num_classes", value=1000), {"classes of the model"}),
    "architecture that the run notes": (
        forge_record("model", "architecture", value="ResNet 50"), {NOTED}),
    "a key of null": (forge_record("benchmark", "extra", value=None), {"benchmark"}),
    "no mode": (forge_record("benchmark", "mode", value=None), {"benchmark"}),
    "no tables": (forge_record("benchmark", "tables", value=None), {"benchmark"}),
    "domain": (forge_record("dataset", "domain", value="mine"), {"domain of the data"}),
    "classes": (forge_record("dataset", "num_classes", value=17), {"number of classes"}),
    "severities": (forge_record("benchmark", "severities", value=[1]), {"benchmark"}),
    "mode": (forge_record("benchmark", "mode", value="released"), {"benchmark"}),
    "tables": (
        forge_record("benchmark", "tables", value={"rain": {"share": [0, 0, 0, 0, 0]}}),
        {"benchmark"}),
    "mean error": (forge_claims(claimed_mean_error=0.1), {"mean error"}),
    "clean error": (forge_claims(claimed_clean_error=0.5), {"clean error"}),
    "mCE": (forge_claims(claimed_mce=50.0), {"mCE"}),
    "relative mCE": (forge_claims(claimed_relative_mce=81.0), {"relative mCE"}),
    "parameters": (forge_claims(parameters=309_425), {"parameters"}),
    "another architecture": (
        forge_fingerprint(PatchAlexNet(CLASSES)), {"architecture", "parameters", "track"}),
    "architecture of another track": (
        forge_claims(architecture="torchvision:resnet18"), {"architecture", "track", NOTED}),
    "architecture that is not verified": (forge_fingerprint(None), {"track"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_submission_is_caught(name: str, honest: Path, tmp_path: Path) -> None:
    forge, caught_by = FORGED[name]
    submission = copied(honest, tmp_path)
    forge(submission)
    assert failing(submission) == caught_by


def test_skipped_images_are_called_so(honest: Path, tmp_path: Path) -> None:
    submission = copied(honest, tmp_path)
    skipped(submission)
    details = [one.detail for one in check_submission(submission).items]
    assert "1 images were skipped as unreadable" in details


def test_a_claim_may_be_off_by_half_of_its_last_digit(honest: Path, tmp_path: Path) -> None:
    submission = copied(honest, tmp_path)
    claimed = read_submission(honest).claimed.corruptions
    values = check_submission(honest).scores(resamples=0)
    rain = values.of("error", "rain").value
    assert rain is not None
    for off, caught in (
        (0.000049, set()),
        (-0.000049, set()),
        (0.000051, {"error under rain"}),
    ):
        forge_claims(claimed_corruptions={**claimed, "rain": rain + off})(submission)
        assert failing(submission) == caught
    forge_claims(claimed_corruptions={key: claimed[key] for key in ("rain", "hue")})(submission)
    assert failing(submission) == {"corruptions"}


def test_rows_of_another_model_are_caught_by_the_scores(honest: Path, tmp_path: Path) -> None:
    submission = copied(honest, tmp_path)
    write_run(tmp_path / "other", open_dataset("photo-patches"), seed=1)
    shutil.rmtree(submission / "run" / "rows")
    shutil.copytree(tmp_path / "other" / "rows", submission / "run" / "rows")
    with pytest.raises(InputError, match="is not the one recorded when it was written"):
        check_submission(submission)
    sealed_runs.seal(submission / "run")
    assert "mean error" in failing(submission)
    assert failing(submission) <= SCORES


def test_what_cannot_be_verified_is_said_and_admitted_to_open_tracks(
    honest: Path, tmp_path: Path
) -> None:
    submission = copied(honest, tmp_path)
    forge_claims(architecture="My own net", track="photo-patches-open")(submission)
    assert failing(submission) == {NOTED}  # run.json calls it photo-patches
    forge_record("model", "architecture", value="OwnNet")(submission)
    by_name = {one.name: one for one in check_submission(submission).items}
    assert by_name["architecture"].state == "cannot be verified"
    assert by_name["track"].state == "holds"
    assert failing(submission) == set()


def test_the_row_checks_allow_every_softmax() -> None:
    """From sharp to flat, with ties, over two to a thousand classes."""
    generator = torch.Generator().manual_seed(0)
    for classes in (2, 16, 1000):
        for scale in (0.0, 1e-3, 1.0, 10.0, 200.0):
            logits = scale * torch.randn(200, classes, generator=generator)
            labels = torch.randint(classes, (200,), generator=generator)
            for given in (logits, logits.round(), logits.bfloat16()):
                ids = [str(number) for number in range(200)]
                rows = outcome_table(ids, "clean", labels, given)
                assert set(row_flaws(rows, classes).values()) == {None}


def test_a_loss_is_bounded_by_confidence_and_rank() -> None:
    """Confidence 0.6, rank 3 of 4: the label has at most (1 - 0.6) / 2 = 0.2 and at least 0."""
    for loss, fits in ((-math.log(0.2), True), (-math.log(0.21), False), (9.0, True)):
        rows = outcome_rows(["a"], predictions=1, ranks=3, confidences=0.6, losses=loss)
        assert (row_flaws(rows, 4)["loss"] is None) is fits
    # Confidence 0.3, rank 2 of 4: the label and two others share 0.7: at least 0.7 / 3.
    for loss, fits in ((-math.log(0.234), True), (-math.log(0.232), False)):
        rows = outcome_rows(["a"], predictions=1, confidences=0.3, losses=loss)
        assert (row_flaws(rows, 4)["loss"] is None) is fits


def test_the_tracks_of_photo_patches_are_of_its_data() -> None:
    dataset = open_dataset("photo-patches")
    lines = sorted(zip(dataset.ids, dataset.labels.tolist(), strict=True))
    text = "".join(f"{json.dumps(one)} {label}\n" for one, label in lines)
    rows = pa.table({"image_id": list(dataset.ids) * 2, "label": [*dataset.labels] * 2})
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert labels_sha256(rows) == expected
    own = [one for one in load_tracks().values() if one.domain == "photo-patches/test"]
    assert len(own) == 2
    for track in own:
        assert track.labels_sha256 == expected
        assert track.fingerprint == dataset.fingerprint()
        assert (track.images, track.classes) == (len(dataset), len(dataset.class_names))
    for track in load_tracks().values():
        assert track.load_benchmark().mode == track.mode


def architecture_line(claimed: str, module: torch.nn.Module, classes: int) -> CheckItem:
    start = {"architecture_fingerprint": architecture_fingerprint(module)}
    model = {"architecture": "?", "preprocessing": {"crop_px": [224, 224]}}
    return check_architecture(claimed, None, [start], model, classes)[0]


def test_architectures_of_torchvision_are_built_and_compared() -> None:
    with torch.device("meta"):
        resnet = models.resnet50(num_classes=10)
        wide = models.wide_resnet50_2(num_classes=10)
        inception = models.inception_v3(num_classes=10, aux_logits=False, init_weights=False)
        vit = models.vit_b_32(num_classes=10)
        maxvit = models.maxvit_t(input_size=(224, 224), num_classes=10)
    wrapped = torch.nn.Sequential(torch.nn.Identity(), resnet)
    for claimed, module in (
        ("torchvision:resnet50", resnet),
        ("ResNet-50", wrapped),
        ("torchvision:inception_v3", inception),
        ("vit_b_32", vit),
        ("maxvit_t", maxvit),
    ):
        assert architecture_line(claimed, module, 10).state == "holds", claimed
    assert architecture_line("torchvision:resnet50", wide, 10).state == "does not hold"
    assert architecture_line("torchvision:resnet50", resnet, 11).state == "does not hold"
    for claimed in ("os:system", "timm:resnet50", "noctule.evaluation.checks:check_run"):
        assert architecture_line(claimed, resnet, 10).state == "cannot be verified"


def test_two_networks_in_one_run_are_caught(honest: Path, tmp_path: Path) -> None:
    submission = copied(honest, tmp_path)
    note = {"architecture_fingerprint": architecture_fingerprint(PatchAlexNet(CLASSES))}
    with (submission / "run" / "provenance.jsonl").open("a") as file:
        file.write(json.dumps(note) + "\n")
    assert {"architecture", "track"} <= failing(submission)


# What is refused before it is looked at.


def link_in(name: str) -> Callable[[Path], None]:
    def forge(submission: Path) -> None:
        path = submission / name
        outside = submission.parent / "outside"
        if path.is_dir():
            shutil.move(path, outside)
        else:
            outside.write_bytes(path.read_bytes())
            path.unlink()
        path.symlink_to(outside)

    return forge


def extra(name: str) -> Callable[[Path], None]:
    def forge(submission: Path) -> None:
        (submission / name).parent.mkdir(exist_ok=True)
        (submission / name).write_text("<svg onload=alert(1)>")

    return forge


def huge(name: str, size: int) -> Callable[[Path], None]:
    def forge(submission: Path) -> None:
        os.truncate(submission / name, size)

    return forge


def first_slice(table: pa.Table, **options: Any) -> Callable[[Path], None]:
    def forge(submission: Path) -> None:
        path = slice_paths(submission)[0]
        sealed_runs.write_slice(path, table.cast(SCHEMA), **options)
        sealed_runs.seal(submission / "run", again=False)

    return forge


def rows_with(text: str, count: int, ids: pa.Array | None = None) -> pa.Table:
    zeros = pa.repeat(pa.scalar(0, pa.int32()), count)
    floats = pa.repeat(pa.scalar(0.5, pa.float32()), count)
    names = pa.repeat(text, count) if ids is None else ids
    columns = [names, pa.repeat("clean", count), zeros, zeros, zeros, floats, floats]
    return pa.table(columns, SCHEMA.names)


def not_utf8() -> pa.Array:
    return pa.array([b"\xff\xfe"] * 4).view(pa.string())


def truncated(submission: Path) -> None:
    path = slice_paths(submission)[0]
    path.write_bytes(path.read_bytes()[:-20])


def deep_json(submission: Path) -> None:
    (submission / "run" / "run.json").write_text("[" * 100_000)


def replaced(name: str, old: str, new: str) -> Callable[[Path], None]:
    def forge(submission: Path) -> None:
        text = (submission / name).read_text()
        assert text.count(old) == 1
        (submission / name).write_text(text.replace(old, new))

    return forge


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def pickled(submission: Path) -> None:
    slice_paths(submission)[0].write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "slices of other numbers": (other_number, "000007.parquet: this run has only 4 slices"),
    "fewer images": (
        forge_record("dataset", "num_images", value=512), "this run has only 2 slices"),
    "link to a file": (link_in("run/provenance.jsonl"), "provenance.jsonl: is a link"),
    "link to rows": (link_in("run/rows/000000.parquet"), "000000.parquet: is a link"),
    "link to a folder": (link_in("run/rows"), "rows: is a link"),
    "image": (extra("logo.svg"), "logo.svg: does not belong"),
    "page": (extra("run/index.html"), "index.html: does not belong"),
    "script": (extra("run/rows/setup.py"), "setup.py: does not belong"),
    "folder": (extra("more/x"), "more: does not belong"),
    "huge rows": (huge("run/rows/000000.parquet", 17 * 2**20), "is too large: 17,825,792"),
    "huge record": (huge("run/run.json", 2**20), "is too large"),
    "huge claims": (huge("submission.toml", 2**20), "is too large"),
    "long text": (first_slice(rows_with("x" * 10**6, 2000)), "a text of 1,000,000 bytes"),
    "growth": (
        first_slice(rows_with("x" * 10**5, 200), use_dictionary=False), "would unpack to"),
    "not UTF-8": (first_slice(rows_with("", 4, not_utf8())), "damaged: .*UTF8"),
    "other columns": (
        lambda one: pq.write_table(pa.table({"a": [1]}), slice_paths(one)[0]), "is damaged"),
    "cut short": (truncated, "is damaged"),
    "pickle": (pickled, "is damaged"),
    "deep JSON": (deep_json, "is not a run's record"),
    "slices of nothing": (forge_record("slice_size", value=0), "slice_size"),
    "endless images": (forge_record("dataset", "num_images", value=10**30), "num_images"),
    "endless severities": (forge_record("benchmark", "severities", value=[1] * 6),
    "severities"), "no model's name": (forge_record("model", value={}), "run.json: .*'name'"),
    "NaN": (forge_record("model", "x", value=math.nan), "run.json: .*NaN"),
    "a number beyond floats": (replaced("run/run.json", '"made up"', "1e999"), "1e999"),
    "nested tables": (
        forge_record("model", "x", value=nested(600)), "run.json: .*more than 32 tables"),
    "nested provenance": (
        lambda one: (one / "run/provenance.jsonl").write_text(
            json.dumps({"argv": nested(600)})
        ), "provenance.jsonl: .*more than 32 tables"),
    "stored is null": (forge_record("dataset", "stored", value=None), "stored is not a table"),
    "stored is a list": (forge_record("dataset", "stored", value=[1]), "stored is not a table"),
    "stored is text": (forge_record("dataset", "stored", value="x"), "stored is not a table"),
    "nested claims": (
        replaced("submission.toml", "[claimed]", f"x = {'[' * 5000}{']' * 5000}\n[claimed]"),
        "submission.toml: is nested too deeply"),
    "a claim of many digits": (
        replaced("submission.toml", "[claimed]", f"link = {'9' * 5000}\n[claimed]"),
        "submission.toml: .*too many digits"),
    "a claim of many hexadecimal digits": (
        replaced("submission.toml", "[claimed]", f"link = 0x{'f' * 5000}\n[claimed]"),
        "submission.toml: link: .*too large to be shown"),
    "track": (forge_claims(track="../../etc"), "unknown track '../../etc'"),
    "unknown key": (forge_claims(run="x"), "unknown key 'run'"),
    "no claim": (forge_claims(claimed_corruptions="x"), "claimed.corruptions"),
    "a script as link": (forge_claims(link="javascript:alert(1)"), "https"),
    "plain http": (forge_claims(link="http://example.org"), "https"),
    "another host": (forge_claims(link="https://good.org@evil.org"), "https"),
    "blank title": (forge_claims(title="  "), "title: is blank"),
    "long title": (forge_claims(title="x" * 101), "title"),
    "endless claim": (forge_claims(claimed_mean_error=math.inf), "claimed.mean_error"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_and_named(name: str, honest: Path, tmp_path: Path) -> None:
    forge, message = REFUSED[name]
    submission = copied(honest, tmp_path)
    forge(submission)
    with pytest.raises(InputError, match=message):
        check_submission(submission)


def test_a_link_to_a_submission_is_refused(honest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(honest)
    for path in (tmp_path / "link", tmp_path / "nothing", honest / "submission.toml"):
        with pytest.raises(InputError, match="is not a folder"):
            check_submission(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"has no submission\.toml"):
        check_submission(tmp_path / "empty")


def test_more_rows_than_are_due_are_not_read(honest: Path, tmp_path: Path) -> None:
    """Five million rows in some kilobytes."""
    submission = copied(honest, tmp_path)
    first_slice(rows_with("a", 5_000_000))(submission)
    assert slice_paths(submission)[0].stat().st_size < 200_000
    line = next(one for one in check_submission(submission).items if one.name == "completeness")
    # 1,024 images under 9 conditions; three of the four slices have 256 images each.
    assert line.detail == "5,006,912 rows, expected 9,216; none were read"
    assert failing(submission) == {"completeness"}


# The command line.


def test_the_exit_status_says_what_was_found(
    honest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check(*arguments: object) -> tuple[object, str, str]:
        return run(monkeypatch, capsys, "leaderboard", "check", *arguments)

    status, out, _ = check(honest)
    assert status == 0
    assert "All checks passed." in out
    forged = copied(honest, tmp_path)
    forge_claims(claimed_mce=1.0)(forged)
    status, out, _ = check(honest, forged, "--json")
    assert status == 1
    assert [one["holds"] for one in result_of(out)["submissions"]] == [True, False]
    mce = next(one for one in result_of(out)["submissions"][1]["lines"] if one["name"] == "mCE")
    assert mce["state"] == "does not hold"
    status, out, _ = check(forged, tmp_path / "nothing", "--format", "markdown")
    assert status == 2
    assert "1 of 30 checks failed." in out
    assert "✗ bad input: `" in out


def test_markdown_obeys_nothing_that_is_submitted(
    honest: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hostile = "`|\n::error::x\n</td> @team ![x](https://evil.org/x)\u202e"
    forged = copied(honest, tmp_path / "a")
    forge_claims(architecture=hostile[:90], track="photo-patches-open")(forged)
    forge_record("dataset", "domain", value=hostile)(forged)
    forge_record("model", "architecture", value=hostile)(forged)
    named = tmp_path / "`<b>|x"
    shutil.move(forged, named)
    _, out, _ = run(
        monkeypatch, capsys, "leaderboard", "check", named, tmp_path / hostile.replace("/", ""),
        "--format", "markdown",
    )  # fmt: skip
    assert "@team" in out
    assert "\u202e" not in out
    for line in out.splitlines():
        assert line == "" or line.startswith(("|", "###", "✗", "1 of", "No line")), line
        outside = "".join(line.split("`")[::2])
        assert not set(outside) & set("<>@!["), line


def test_prepare_refuses_what_would_not_hold(honest: Path, tmp_path: Path) -> None:
    source = honest.parent / "run"
    with pytest.raises(InputError, match="already exists"):
        prepare_submission(source, honest, **DESCRIPTION)
    with pytest.raises(InputError, match="is on photo-patches/test, but the track"):
        prepare_submission(
            source, tmp_path / "new", **{**DESCRIPTION, "track": "imagenet-noc-open"}
        )
    with pytest.raises(InputError, match="title"):
        prepare_submission(source, tmp_path / "new", **{**DESCRIPTION, "title": ""})
    assert not (tmp_path / "new").exists()


def test_prepare_writes_a_submission_whole_or_not_at_all(
    honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = honest.parent / "run", tmp_path / "new"
    from noctule.leaderboard import prepare as module

    real, calls = module.write_atomically, []  # type: ignore[attr-defined]

    def killed(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_submission(source, out, **DESCRIPTION)
    assert not out.exists()
    prepare_submission(source, out, **DESCRIPTION)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert all((out / name).read_bytes() == (honest / name).read_bytes() for name in files)
    assert check_submission(out).holds
