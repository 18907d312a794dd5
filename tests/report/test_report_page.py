"""The page of runs: in a browser, with hostile names, and its files."""

# ruff: noqa: F811  (the fixture is imported)
from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from browser import DESK, PHONE, Browser, browser, visit  # noqa: F401
from command_line import run as run_cli
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.evaluation.loop import run_images
from noctule.evaluation.settings import Settings as EvaluationSettings
from noctule.evaluation.sources import LiveImages
from noctule.models import Classifier, load_classifier
from noctule.report.loading import open_runs
from noctule.report.provenance import class_names, command, facts
from noctule.report.run import write_report
from noctule.report.run_details import outcomes_of
from noctule.report.samples import strips
from noctule.scoring import score_run
from noctule.store import RunStore
from report_runs import BENCHMARK, LABELS, PREDICTIONS, write_run

HOSTILE = "</script><img src=x onerror=alert(1)>\u202egnp.exe"
SEVERITIES = Benchmark.from_dict(
    {**BENCHMARK.to_dict(), "severities": [1, 3], "references": []}
)


class Seen(torch.nn.Module):
    """Keeps every image it is shown, and answers by its mean colour."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown += list(images)
        mean = images.mean(dim=(2, 3))
        return torch.cat([mean, mean[:, :1] * 0.9], dim=1)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen, Path]:
    """A run of twelve images from a folder, the model that saw them, and the folder."""
    folder = tmp_path_factory.mktemp("live")
    patches = open_dataset("photo-patches")
    for index in range(0, 1024, 86):
        image = patches.read(index).resize((40, 36))
        place = folder / "data" / f"class-{np.asarray(image).mean(axis=(0, 1)).argmax()}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{index:04}.png")
    for name in ("class-0", "class-1", "class-2", "class-3"):
        (folder / "data" / name).mkdir(exist_ok=True)
        if not list((folder / "data" / name).iterdir()):
            patches.read(5).save(folder / "data" / name / "extra.png")
    seen = Seen()
    classifier = load_classifier(seen)
    assert isinstance(classifier, Classifier)
    prepared = replace(
        classifier,
        preprocessing=replace(classifier.preprocessing, resize_px=32, crop_px=(32, 32)),
    )
    settings = EvaluationSettings(seed=5, device="cpu", workers=0, self_check=False)
    source = LiveImages(prepared, open_dataset(folder / "data"), SEVERITIES, settings)
    store = run_images(source, out=folder / "run")
    assert isinstance(store.folder, Path)
    return store.folder, seen, folder / "data"


def test_the_images_are_those_the_model_saw(live: tuple[Path, Seen, Path]) -> None:
    folder, seen, _ = live
    (run,) = open_runs([folder])
    outcomes = outcomes_of(run)
    found = strips(run, outcomes, 3)
    assert 1 <= len(found) <= 3
    rows = {(row["image_id"], row["condition"]): row for row in run.store.rows().to_pylist()}
    for strip in found:
        assert [one.condition for one in strip.samples] == ["clean", "hue@3", "blur@3"]
        for one in strip.samples:
            row = rows[strip.image_id, one.condition]
            assert one.prediction == row["prediction"]
            assert one.confidence == pytest.approx(row["confidence"])
            assert one.is_right == (row["prediction"] == row["label"])
            head, _, data = one.address.partition(",")
            assert head == "data:image/png;base64"
            image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            pixels = torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
            # Which of the images the model was shown it is, to the last bit.
            assert any(torch.equal(pixels, shown) for shown in seen.shown)
        assert strip.failures == sum(
            row["prediction"] != row["label"]
            for (image_id, condition), row in rows.items()
            if image_id == strip.image_id and condition != "clean"
        )


def page_of(folder: Path, out: Path, **options: Any) -> str:
    write_report([folder], out, resamples=20, **options)
    return out.read_text(encoding="utf-8")


def test_changed_data_are_not_shown(live: tuple[Path, Seen, Path], tmp_path: Path) -> None:
    folder, _, data = live
    assert "data:image/png" in page_of(folder, tmp_path / "a.html")
    extra = data / "class-0" / "zzz.png"
    Image.new("RGB", (9, 9)).save(extra)
    try:
        html = page_of(folder, tmp_path / "b.html")
    finally:
        extra.unlink()
    assert "have changed since" in html
    assert "data:image/png" not in html
    data.rename(data.with_name("moved"))
    try:
        html = page_of(folder, tmp_path / "c.html")
    finally:
        data.with_name("moved").rename(data)
    assert "There are no images: " in html
    assert "data:image/png" not in html


@pytest.mark.parametrize(
    ("dataset", "start", "reason"),
    [
        ({}, None, "does not record where its data are"),
        ({}, {"data": None}, "were in memory"),
        ({"stored": {"clean": "folder"}}, {"data": None}, "stored set"),
        ({}, {"data": {"spec": "/no/such/place"}}, "no such file or folder|there is no"),
        ({}, {"data": {"spec": 5}}, "There are no images: "),
        ({}, {"data": {"spec": "photo-patches"}}, "have changed since"),
        ({}, {"data": ["spec"], "class_names": {"a": 1}, "argv": "noctule"}, "in memory"),
    ],
)
def test_without_the_data_the_page_says_why(
    tmp_path: Path, dataset: dict[str, object], start: dict[str, object] | None, reason: str
) -> None:
    run = write_run(
        tmp_path / "m", predictions=PREDICTIONS, labels=LABELS, dataset=dataset, start=start
    )
    html = page_of(run, tmp_path / "page.html")
    assert re.search(reason, html)
    assert '<img src="data' not in html


def test_a_damaged_record_of_starts_does_no_harm(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m", predictions=PREDICTIONS, labels=LABELS)
    (run / "provenance.jsonl").write_bytes(b"[]\n3\n\xff\xfe\n")
    assert "There are no images" in page_of(run, tmp_path / "page.html")


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:
    start = {"class_names": [HOSTILE] * 3, "argv": ["noctule", HOSTILE], "device": HOSTILE}
    runs = [
        write_run(
            tmp_path / name, predictions=PREDICTIONS, labels=LABELS, start=start,
            model={"name": HOSTILE, "architecture": HOSTILE}, dataset={"name": HOSTILE},
        )
        for name in ("a", "b")
    ]  # fmt: skip
    for given, size in ((runs[:1], PHONE), (runs, DESK)):
        write_report(given, tmp_path / "page.html", resamples=20)
        with visit(browser, tmp_path / "page.html", size=size) as seen:
            assert seen.wait_for_charts() == (5 if len(given) == 1 else 12)
            assert seen.problems == []
            assert seen.barriers() == []
            assert seen.overflow_px() <= 0
            assert seen.page.locator("img").count() == 0
            text = seen.page.content()
            assert "\u202e" not in text
            assert "onerror" in seen.page.inner_text("body")  # shown, and not obeyed


def test_classes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    start = {"class_names": ["x", "x", "y"], "argv": ["noctule", "a b", "--out=$HOME"]}
    folder = write_run(tmp_path / "m", predictions=PREDICTIONS, labels=LABELS, start=start)
    (run,) = open_runs([folder])
    assert class_names(run) == {0: "x [0]", 1: "x [1]", 2: "y"}
    assert command(run) == "noctule 'a b' '--out=$HOME'"
    assert dict(facts(run))["Seed"] == "0"


def test_a_page_with_severities_and_images(
    browser: Browser,
    live: tuple[Path, Seen, Path],
    tmp_path: Path,
) -> None:
    page_of(live[0], tmp_path / "page.html")
    scores = score_run(live[0], resamples=20)
    with visit(browser, tmp_path / "page.html", size=PHONE, scheme="dark") as seen:
        assert seen.wait_for_charts() == 5 + 2
        assert (seen.problems, seen.barriers()) == ([], [])
        assert seen.overflow_px() <= 0
        headline = seen.page.locator(".headline .value").all_inner_texts()
        assert headline[0] == f"{100 * (scores.of('mean_error').value or 0):.1f}\u00a0%"
        verdicts = seen.page.locator(".strip .verdict").all_inner_texts()
        assert verdicts
        assert set(verdicts) <= {"✓ right", "✗ wrong"}
        cells = seen.page.locator("#run-1-conditions tbody tr").all_text_contents()
        assert [one.split()[0] for one in cells] == [
            "clean", "hue@1", "hue@3", "blur@1", "blur@3",
        ]  # fmt: skip


def test_the_table_of_many_runs_sorts_and_searches(browser: Browser, tmp_path: Path) -> None:
    runs = []
    for number in range(10):
        predictions = {name: list(found) for name, found in PREDICTIONS.items()}
        predictions["hue"] = [
            (label + 1) % 3 if image < number else label for image, label in enumerate(LABELS)
        ]
        runs.append(
            write_run(tmp_path / f"model-{number}", predictions=predictions, labels=LABELS)
        )
    write_report(runs[::-1], tmp_path / "page.html", resamples=20)
    with visit(browser, tmp_path / "page.html") as seen:
        assert seen.wait_for_charts() == 2
        assert (seen.problems, seen.barriers()) == ([], [])
        names = seen.page.locator("#group-1-ranking tbody th")
        # One more error under hue each, so the order of their numbers, the best first.
        assert names.all_inner_texts() == [f"model-{number}" for number in range(10)]
        heading = seen.page.get_by_role("button", name="mean error %")
        heading.focus()
        seen.page.keyboard.press("Enter")
        seen.page.keyboard.press("Enter")
        assert names.all_inner_texts()[0] == "model-9"
        seen.page.get_by_label("Search").first.fill("model-3")
        assert next(one for one in names.all() if one.is_visible()).inner_text() == "model-3"
        assert "Pass a single run" in seen.page.inner_text("main")
        assert seen.page.locator("h2").count() == 1


def test_two_runs_of_other_data_are_not_ranked(tmp_path: Path) -> None:
    runs = [
        write_run(
            tmp_path / name, predictions=PREDICTIONS, labels=LABELS,
            dataset={"fingerprint": name, "name": f"data-{name}"},
        )
        for name in ("a", "b")
    ]  # fmt: skip
    write_report(runs, tmp_path / "page.html", resamples=20)
    html = (tmp_path / "page.html").read_text()
    assert re.search("<h2 [^>]*>Two corruptions, data-a</h2>", html)
    assert re.search("<h2 [^>]*>Two corruptions, data-b</h2>", html)
    assert "Is the difference significant?" not in html


def test_the_files_hold_the_numbers(tmp_path: Path) -> None:
    runs = [
        write_run(tmp_path / name, predictions=PREDICTIONS, labels=LABELS)
        for name in ("a_b", "c")
    ]
    report = write_report(
        runs, tmp_path / "page.html", figures=tmp_path / "files", resamples=20
    )
    files = {path.name for path in (tmp_path / "files").iterdir()}
    for figure in report.figures():
        assert {f"{figure.name}.{ending}" for ending in ("svg", "png", "pdf")} <= files
    ranking = (tmp_path / "files" / "group-1-ranking.csv").read_text()
    (first, _) = csv.DictReader(io.StringIO(ranking))
    scores = score_run(runs[0], resamples=20)
    assert float(first["relative mCE %"]) == scores.of("relative_mce").value
    assert float(first["relative mCE % low"]) == scores.of("relative_mce").low
    assert float(first["mean error %"]) == 100 * (scores.of("mean_error").value or 0)
    latex = (tmp_path / "files" / "group-1-ranking.tex").read_text()
    assert latex.count(r"\midrule") == 1
    assert r"a\_b & " in latex
    markdown = (tmp_path / "files" / "run-1-losses.md").read_text()
    assert "| blur | 50.0 | " in markdown  # 8 of 10 right when clean, 3 of 10 under blur
    comparison = (tmp_path / "files" / "group-1-differences.md").read_text()
    assert "do not differ in any of 30 outcomes" in comparison
    assert "do not differ in any of 30 outcomes" in (tmp_path / "page.html").read_text()


def test_a_page_is_the_same_every_time(tmp_path: Path) -> None:
    run = write_run(tmp_path / "m", predictions=PREDICTIONS, labels=LABELS)
    assert page_of(run, tmp_path / "a.html") == page_of(run, tmp_path / "b.html")


def test_bad_input_is_refused_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "m", predictions=PREDICTIONS, labels=LABELS)
    half = write_run(tmp_path / "h", predictions=PREDICTIONS, labels=LABELS, finished=False)
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(RunStore, "rows", lambda *_, **__: pytest.fail("rows were read"))
    for arguments, message in (
        ((tmp_path,), "not a run folder"),
        ((half,), "slices are missing"),
        ((run, run), "given twice"),
        ((run, "-o", tmp_path), "is a folder"),
        ((run, "-o", run / "rows" / "000000.parquet"), "lies in the run"),
        ((run, "-o", tmp_path / "h" / ".." / "m" / "new.html"), "lies in the run"),
        ((run, "--figures", run / "figures"), "lies in the run"),
        ((run, "-o", tmp_path / "file"), "is not a page"),
        ((run, "-o", tmp_path / "file" / "x.html"), "cannot be written"),
        ((run, "-o", tmp_path / ("x" * 300)), "cannot be written"),
        ((run, "--figures", tmp_path / "file"), "is a file"),
        ((run, "--confidence", "1.5"), "is out of range"),
        ((run, "--samples", "-1"), "samples: -1 is out of range"),
    ):
        out = () if "-o" in arguments else ("-o", tmp_path / "page.html")
        status, _, error = run_cli(monkeypatch, capsys, "report", *arguments, *out)
        assert status == 2
        assert message in error
        assert "Traceback" not in error
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "m", predictions=PREDICTIONS, labels=LABELS)
    out = tmp_path / "new" / "page.html"
    status, printed, _ = run_cli(monkeypatch, capsys, "report", run, "-o", out)
    assert status == 0
    assert printed == f"Open {out} in a browser.\n"
    html = out.read_text()
    # 10 images, of which 2, 4 and 7 are wrong; the reference's errors are .1, .5, .6:
    # relative CE 100·.2/.4 = 50 and 100·.5/.5 = 100, relative mCE 75.
    assert re.search(r'relative mCE <span class="value">75\.0\xa0%', html)
    specs = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.S)
    assert len(specs) == 5
    assert all(json.loads(spec)["description"] for spec in specs)
