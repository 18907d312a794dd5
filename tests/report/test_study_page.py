"""The page of a study says what the study's files and the design say, and harms nobody."""

from __future__ import annotations

import csv
import html
import inspect
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

from browser import DESK, PHONE, browser, visit  # noqa: F401
from command_line import run
from noctule.cli import design as cli_design
from noctule.errors import InputError
from noctule.report.charts import Figure
from noctule.report.page import render, write_page
from noctule.report.study import DESIGN_RESAMPLES, study_page, write_results, write_study_page
from noctule.report.study_findings import DEFAULT_SIZE, design_of, score_shipped
from noctule.sampling import resample_counts
from noctule.studies.design import choose_exact, score_design, stability
from noctule.studies.folder import StudyFolder
from noctule.studies.matrix import OverlapMatrix, read_matrix
from noctule.studies.overlap import cross_evaluation
from repository import DOCS
from synthetic_studies import write_study

RESAMPLES = 120
NUM_IMAGES = 200
CANDIDATES = ("shear", "rotation", "hue", "blur", "rain")
# Of the standard network, then what training adds to it; blur gains nothing.
STANDARD = {"clean": 0.9, "shear": 0.6, "rotation": 0.5, "hue": 0.4, "blur": 0.7, "rain": 0.3}
GAINS = {
    "shear": {"shear": 0.2, "rotation": 0.25, "rain": 0.05},
    "rotation": {"rotation": 0.3, "shear": 0.15, "hue": -0.05},
    "hue": {"hue": 0.4},
    "blur": {"shear": 0.05},
    "rain": {"rain": 0.5, "shear": 0.02},
}
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "{{ 7 * 7 }}",
    "datum.b, javascript:alert(3)",
    "\u202egnp.exe",
)

Rows = list[list[tuple[str, str]]]


def drawn(path: Path, **settings: Any) -> tuple[str, list[Figure]]:
    """The page of a study as HTML, and its figures."""
    page = study_page(path, **settings)
    return render(page), page.figures()


def table(page: str, name: str) -> Rows:
    """The rows of a table: a (key, text) for each cell; keys are numbers in full."""
    body = re.search(rf'<table id="{name}">.*?<tbody>(.*?)</tbody>', page, re.S)
    assert body, name
    cell = re.compile(r'<t[hd][^>]*data-key="([^"]*)"[^>]*>(.*?)</t[hd]>', re.S)
    return [
        [(html.unescape(key), html.unescape(text)) for key, text in cell.findall(row)]
        for row in re.findall(r"<tr.*?</tr>", body[1], re.S)
    ]


def records(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_hostile(path: Path) -> Path:
    """A matrix of candidates whose names are attacks."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["overlap", *HOSTILE])
        for i, name in enumerate(HOSTILE):
            writer.writerow([name, *(1 if i == j else 0.25 for j in range(len(HOSTILE)))])
    return path


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    found = {("standard", condition): value for condition, value in STANDARD.items()}
    for model in CANDIDATES:
        for condition, value in STANDARD.items():
            found[model, condition] = value + GAINS[model].get(condition, 0.0)
    folder = tmp_path_factory.mktemp("page") / "a study"
    title = f"Five <b>candidates</b> {HOSTILE[1]}"
    return write_study(folder, found, num_images=NUM_IMAGES, title=title, source=HOSTILE[0])


@pytest.fixture(scope="module")
def results(study: StudyFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    files = write_results(study, out, resamples=RESAMPLES).files
    assert files[-1] == out / "report.html"
    assert sorted(files) == sorted(out.iterdir())
    return out


@pytest.fixture(scope="module")
def page(results: Path) -> str:
    return (results / "report.html").read_text()


@pytest.fixture(scope="module")
def of_folder(study: StudyFolder) -> tuple[str, list[Figure]]:
    return drawn(study.folder, resamples=RESAMPLES)


@pytest.fixture(scope="module")
def of_matrix() -> tuple[str, list[Figure]]:
    return drawn(DOCS / "overlap.csv")


# Numbers


def test_the_results_hold_the_page_of_the_folder(
    of_folder: tuple[str, list[Figure]], page: str
) -> None:
    assert of_folder[0] == page


def test_every_pair_is_that_of_the_files(results: Path, page: str) -> None:
    wanted = {(row["a"], row["b"]): row for row in records(results / "overlap-pairs.csv")}
    found = table(page, "pairs")
    assert len(found) == len(wanted) == 10
    for (a, _), (b, _), (score, score_text), (raw, raw_text), (low, interval), _ in found:
        row = wanted[a, b]
        assert (score, raw, low) == (row["score"], row["raw"], row["low"])
        if row["raw"]:
            assert score_text == f"{float(score):.2f}"
            assert raw_text.replace("−", "-") == f"{float(raw):.2f}".replace("-0.00", "0.00")
            ends = [f"{float(row[end]):.2f}" for end in ("low", "high")]
            assert interval.replace("−", "-") == " to ".join(ends).replace("-0.00", "0.00")
        else:
            assert (score_text, raw_text, interval) == ("–", "–", "–")
    raws = [float(row[3][0]) for row in found if row[3][0]]
    assert raws == sorted(raws, reverse=True)
    assert [row[3][0] for row in found][-4:] == [""] * 4  # the four pairs of blur, undefined


def test_the_heat_map_holds_the_same_numbers(
    results: Path, of_folder: tuple[str, list[Figure]]
) -> None:
    square = of_folder[1][0]
    cells = [one for some in square.chart.to_dict()["datasets"].values() for one in some]
    told = [cell for cell in cells if "raw_text" in cell]
    wanted = records(results / "overlap-pairs.csv")
    for row in wanted:
        for a, b in ((row["a"], row["b"]), (row["b"], row["a"])):
            here = [cell for cell in cells if (cell.get("a"), cell.get("b")) == (a, b)]
            if row["raw"]:
                assert {cell["score"] for cell in here} == {float(row["score"])}
            else:
                assert {cell["why"] for cell in here} == {f"undefined: {row['reason']}"}
    diagonal = {cell["score"] for cell in told if cell["a"] == cell["b"]}
    assert diagonal == {1.0}


def test_accuracies_are_those_of_the_files(results: Path, page: str) -> None:
    rows = records(results / "accuracies.csv")
    wanted = {(row["model"], row["condition"]): row for row in rows}
    found = table(page, "accuracies")
    conditions = re.search(r'<table id="accuracies">.*?<thead>(.*?)</thead>', page, re.S)
    assert conditions
    names = re.findall(r'class="sort">(.*?)<', conditions[1])[1:]
    assert set(names) == {"clean", *CANDIDATES}
    assert len(found) == 6
    for (model, _), *cells in found:
        for condition, (key, text) in zip(names, cells, strict=True):
            value = wanted[model, condition]["accuracy"]
            assert (key, text) == (value, f"{100 * float(value):.1f}")
    for row in table(page, "gains-table"):
        name = row[0][0]
        for start, model in ((1, "standard"), (3, name)):
            one = wanted[model, name]
            assert (row[start][0], row[start + 1][0]) == (one["accuracy"], one["low"])
            ends = " to ".join(f"{100 * float(one[end]):.1f}" for end in ("low", "high"))
            assert row[start + 1][1] == ends


def test_a_gain_from_training_is_the_paired_difference(study: StudyFolder, page: str) -> None:
    """By brute force: what the resampled mean of the differences and the formula hold."""
    cross = cross_evaluation(study)
    counts = resample_counts(0, "images", NUM_IMAGES, range(RESAMPLES)).numpy()
    rows = {row[0][0]: row for row in table(page, "gains-table")}
    for place, name in enumerate(CANDIDATES, start=1):
        right = cross.correct[0].astype(float)
        difference = right[place, :, place] - right[0, :, place]
        drawn = counts @ difference / NUM_IMAGES
        z2, mean = 1.959964**2, difference.mean()
        reach = math.sqrt(
            (z2 * NUM_IMAGES * difference.var() + z2**2) / (NUM_IMAGES**2 - z2 * NUM_IMAGES)
        )
        low = min(mean - reach, np.quantile(drawn, 0.025, method="lower"))
        high = max(mean + reach, np.quantile(drawn, 0.975, method="higher"))
        assert float(rows[name][5][0]) == pytest.approx(GAINS[name].get(name, 0), abs=0.006)
        assert float(rows[name][5][0]) == pytest.approx(difference.mean(), abs=1e-12)
        assert float(rows[name][6][0]) == pytest.approx(low, abs=1e-7)
        shown = f"{100 * low:.1f} to {100 * high:.1f}"
        assert rows[name][6][1] == shown.replace("-", "−")
    assert list(rows) == ["rain", "hue", "rotation", "shear", "blur"]  # the largest gain first


def test_families_are_those_of_the_files(results: Path, page: str) -> None:
    rows = [row for row in records(results / "families.csv") if not row["reason"]]
    for method in ("kmeans", "hierarchical"):
        wanted: dict[str, list[str]] = {}
        for row in sorted(rows, key=lambda row: int(row["place"])):
            wanted.setdefault(row[method], []).append(row["corruption"])
        found = {key: text.split(", ") for (key, _), (_, text) in
                 table(page, f"families-{method}")}  # fmt: skip
        assert found == wanted


def test_the_design_is_the_exact_one(study: StudyFolder, page: str) -> None:
    """Four defined candidates: half of them are chosen, for eight would be all."""
    from noctule.studies.overlap import overlap_of

    matrix = overlap_of(study.folder, resamples=RESAMPLES)
    choice, stable = choose_exact(matrix, 2), stability(matrix, 2, resamples=DESIGN_RESAMPLES)
    rows = {row[0][0]: row for row in table(page, "design")}
    assert set(rows) == set(matrix.names)
    for name, (_, chosen, by, covered, weight, often) in rows.items():
        cover = choice.scores.covered_by[name]
        assert chosen[1] == ("yes" if name in choice.names else "no")
        assert (by[0], float(covered[0])) == (cover.by or "", cover.share)
        assert float(weight[0]) == 4 * choice.scores.emphasis[name]
        assert float(often[0]) == stable.share[name]
    assert f"The 2 of 4 candidates that cover most, by the exact method, without a limit on " \
           f"overlap: {', '.join(choice.names)}." in page  # fmt: skip
    assert "The default size, 8, would take all of so few candidates" in page


def test_benchmarks_score_as_noctule_design_does(of_matrix: tuple[str, list[Figure]]) -> None:
    """The values for ImageNet-NOC are those of docs/overlap.md."""
    rows = {row[0][0]: [text for _, text in row[1:]] for row in
            table(of_matrix[0], "benchmarks-table")}  # fmt: skip
    noc = ["ImageNet-NOC", "8 of 8", "0.740", "0.879", "0.140", "0.798"]
    assert rows["imagenet-noc"] == noc
    matrix = read_matrix(DOCS / "overlap.csv")
    best = choose_exact(matrix, 8).scores
    assert rows["this design"][2:] == [
        f"{value:.3f}"
        for value in (best.coverage, best.balance, best.redundancy, best.largest_overlap)
        if value is not None
    ]
    assert rows["imagenet-noc-candidates"][2] == "1.000"  # all candidates cover themselves
    assert set(rows) == {
        "imagenet-noc", "imagenet-noc-2020-06", "imagenet-noc-candidates", "this design",
    }  # fmt: skip


def test_the_default_size_is_that_of_the_command() -> None:
    assert inspect.signature(cli_design.choose).parameters["size"].default == DEFAULT_SIZE


def test_a_benchmark_that_cannot_be_scored_says_why() -> None:
    square = np.eye(8)
    eight = ("shear", "rain", "hue", "quantization", "brightness", "border", "blur")
    names = (*eight, "vertical_artifacts")
    scored, unscored = score_shipped(OverlapMatrix(names, square))
    assert [one.name for one in scored] == ["imagenet-noc"]
    assert scored[0].scores == score_design(OverlapMatrix(names, square), names)
    assert unscored["rotation, rhombus, obstruction are not among the candidates"] == [
        "imagenet-noc-2020-06"
    ]
    long = "gaussian, salt_pepper, thumbnail_resize and 12 more are not among the candidates"
    assert unscored[long] == ["imagenet-noc-candidates"]
    assert "imagenet-c" in unscored["none of its corruptions is among the candidates"]
    no_hue = OverlapMatrix((*eight[:2], *eight[3:]), np.eye(6), {"hue": "a", names[7]: "b"})
    assert [(one.scored, one.total) for one in score_shipped(no_hue)[0]] == [(6, 8)]
    none = OverlapMatrix(("contrast",), np.eye(1), dict.fromkeys(names, "why"))
    assert score_shipped(none)[1]["the overlap of none of its corruptions is defined"] == [
        "imagenet-noc"
    ]


def test_the_headline_and_the_limits(study: StudyFolder, page: str) -> None:
    tiles = re.findall(
        r"<li>(\S.*?) <span class=\"value\">(.*?)</span> <span[^>]*>(.*?)<", page
    )
    established = sum(float(low) > 0 for row in table(page, "pairs") if (low := row[4][0]))
    assert tiles[:4] == [
        ("Candidates", "5", "1 undefined"),
        ("Seeds", "1", "6 networks"),
        ("Test images", "200", "16 × 16 px"),
        ("Shown to overlap", str(established), "of 6 pairs: interval above 0"),
    ]
    assert "With one seed, the variation between training runs is not known" in page
    assert "blur</strong>: training on it is not shown to help against it" in page


def test_provenance_and_commands(study: StudyFolder, page: str) -> None:
    starts = [[text for _, text in row] for row in table(page, "starts")]
    assert starts == [[
        "2026-01-02T03:04:05+00:00", "9.8.7", "0123456789abcdef, with changes",
        "cpu, A processor", "3.99", "not recorded", "noctule study run 'a b.toml'",
    ]]  # fmt: skip
    settings = {row[0][1]: row[1][1] for row in table(page, "settings")}
    assert settings["recipe.optimiser.kind"] == "adamw"
    assert settings["train"] == "made: 200 images, 4 classes, fingerprint f"
    assert settings["source"] == HOSTILE[0]
    said = html.unescape(page)
    assert f"noctule study overlap '{study.folder}' --resamples 120\n" in said
    assert f"noctule design '{study.folder}' --size 2 --out mine.toml" in said


def test_a_matrix_alone_has_a_page_with_less(of_matrix: tuple[str, list[Figure]]) -> None:
    page, figures = of_matrix
    assert [figure.name for figure in figures] == ["heatmap", "benchmarks"]
    for absent in ("Gains from training", "% CI", "Every start", "Seeds"):
        assert absent not in page
    assert len(table(page, "pairs")) == 253


def test_nothing_defined_and_a_single_candidate_have_pages(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("overlap,rain,hue\nrain,,\nhue,,\n")
    page = drawn(tmp_path / "none.csv")[0]
    assert [row[5 - 1][1] for row in table(page, "pairs")] == ["undefined"]
    assert "A benchmark from this study" not in page
    (tmp_path / "one.csv").write_text("overlap,rain,hue\nrain,1,\nhue,,\n")
    page = drawn(tmp_path / "one.csv")[0]
    assert "The 1 of 1 candidate that cover most" in page
    assert design_of(OverlapMatrix((), np.empty((0, 0)), {"a": "why"}), resamples=9) is None


def test_a_study_that_taught_nothing_has_a_page(tmp_path: Path) -> None:
    found = {(model, one): 0.5 for model in ("standard", "rain", "hue")
             for one in ("clean", "rain", "hue")}  # fmt: skip
    write_study(tmp_path / "s", found, num_images=10)
    page, figures = drawn(tmp_path / "s", resamples=20)
    assert [figure.name for figure in figures] == ["heatmap", "gains"]
    assert [row[5][0] for row in table(page, "gains-table")] == ["0.0", "0.0"]
    assert '<span class="value">2</span> <span class="interval">2 undefined<' in page
    assert "A benchmark from this study" not in page


def test_what_is_neither_study_nor_matrix_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.csv"):
        with pytest.raises(InputError):
            drawn(path)


def test_figures_for_a_paper(tmp_path: Path) -> None:
    matrix = tmp_path / "m.csv"
    matrix.write_text("overlap,rain,hue,blur\nrain,1,.5,0\nhue,.5,1,0\nblur,0,0,1\n")
    write_study_page(matrix, tmp_path / "p.html", figures=tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"heatmap.svg", "heatmap.png", "heatmap.pdf", "pairs.csv", "design.tex"} <= names
    assert (tmp_path / "p.html").read_text() == drawn(matrix)[0]


# In a browser


def test_the_page_of_a_study_works(browser: Browser, page: str, tmp_path: Path) -> None:  # noqa: F811
    write_page(tmp_path / "study.html", page)
    for size, scheme in ((DESK, "light"), (PHONE, "dark")):
        with visit(browser, tmp_path / "study.html", size=size, scheme=scheme) as one:
            assert one.wait_for_charts() == 2
            assert (one.problems, one.barriers()) == ([], [])
            assert one.overflow_px() <= 0
            assert one.page.locator("#heatmap img, h1 b").count() == 0
            _tooltips_appear(one.page)
            _keyboard_reaches_the_numbers(one.page)
            assert one.problems == []


def _tooltips_appear(page: Any) -> None:
    for said, wanted in (
        ("shear and rotation: ", ["overlap score", "95 % CI"]),
        ("blur and rain: ", ["undefined: ", "training on it is not shown to help"]),
    ):
        page.locator(f'#heatmap [aria-label^="{said}"]').hover()
        page.wait_for_selector("#vg-tooltip-element.visible")
        text = page.locator("#vg-tooltip-element").inner_text()
        assert all(part in text for part in wanted), text


def _keyboard_reaches_the_numbers(page: Any) -> None:
    """The heat map scrolls by keyboard; the headings of the table sort."""
    page.locator("#heatmap .drawing").focus()
    for _ in range(4):  # search, two filters, the table's own scrolling
        page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "corruption"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    raws = page.locator("#pairs tbody tr td:nth-child(4)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.key)"
    )
    numbers = [float(raw) for raw in raws if raw]
    assert numbers == sorted(numbers)
    assert raws[-4:] == [""] * 4


def test_hostile_names_do_nothing(browser: Browser, tmp_path: Path) -> None:  # noqa: F811
    html_text, _ = drawn(write_hostile(tmp_path / "<b>.csv"))
    write_page(tmp_path / "hostile.html", html_text)
    with visit(browser, tmp_path / "hostile.html") as one:
        one.wait_for_charts()
        cell = f'#heatmap [aria-label*="{HOSTILE[2]}"]'
        one.page.locator(f'{cell}[aria-label*="<img"]').first.hover()
        one.page.wait_for_selector("#vg-tooltip-element.visible")
        assert HOSTILE[0] in one.page.locator("#vg-tooltip-element").inner_text()
        assert one.page.locator("img").count() == 0
        names = one.page.locator("#pairs tbody th").all_inner_texts()
        assert HOSTILE[0] in names
        assert "\ufffdgnp.exe" in one.page.locator("#pairs").inner_text()
        assert one.page.get_by_text("49", exact=True).count() == 0
        assert (one.problems, one.overflow_px() <= 0) == ([], True)


# On the command line


def test_report_takes_a_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "study.html"
    status, said, err = run(monkeypatch, capsys, "report", DOCS / "overlap.csv", "-o", out)
    assert (status, said.strip(), err) == (0, f"Open {out} in a browser.", "")
    assert out.read_text() == drawn(DOCS / "overlap.csv")[0]
