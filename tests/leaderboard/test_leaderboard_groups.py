"""What is ranked with what, whatever a run.json says; names of models and architectures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser
from torchvision import models

from browser import browser, visit  # noqa: F401
from leaderboard_cases import honest_submission
from noctule.leaderboard.architecture import canonical, check_architecture
from noctule.leaderboard.checks import check_settings
from noctule.leaderboard.entries import Entry, EntryGroup, grouped, headline, read_entry
from noctule.leaderboard.pages import MAX_MODELS, index_page, model_page, ranking_figure
from noctule.leaderboard.site import build_site
from noctule.leaderboard.tracks import load_track
from noctule.metrics import METRICS, Estimate
from noctule.models.fingerprint import architecture_fingerprint

STORED = {"layout": "imagenet-c", "encoder": {"name": "jpeg", "quality": 85}}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return honest_submission(tmp_path_factory.mktemp("groups"))


@pytest.fixture(scope="module")
def entry(honest: Path) -> Entry:
    return read_entry(honest, training_data="unknown", resamples=0)


def with_data(entry: Entry, **data: Any) -> Entry:
    dataset = {**entry.identity.dataset, **data}
    return replace(entry, identity=replace(entry.identity, dataset=dataset))


def sizes(*entries: Entry) -> list[int]:
    return sorted(len(group.entries) for group in grouped(entries, ()))


def test_a_score_that_one_model_lacks_does_not_rank(entry: Entry) -> None:
    """Else the ranking would be of dashes, or an error."""
    none = Estimate(None, None, None, "too few errors")
    metric = headline([entry])
    assert metric is not METRICS["error"]
    scores = entry.scores
    lacking = {("benchmark", scores.benchmark, name): none for name in ("mce", "relative_mce")}
    estimates = {**scores.estimates, **lacking}  # type: ignore[misc]
    other = replace(entry, title="other", scores=replace(scores, estimates=estimates))
    for members in ([entry, other], [other, entry]):
        assert headline(members) is METRICS["error"]
        (group,) = grouped(members, ())
        page = index_page([group], "t")
        assert "mean error %" in page
        assert len(ranking_figure(group, [], METRICS["error"], 1).caption) > 0


def test_copies_of_imagenet_are_ranked_together_in_tracks_and_not_as_runs(
    entry: Entry,
) -> None:
    """Copies differ in the names of their files, and so in their fingerprints."""
    copies = [with_data(entry, fingerprint=one * 64) for one in "ab"]
    tracks = [load_track(f"imagenet-noc-{one}") for one in ("open", "resnet50")]
    submitted = [replace(one, track=track) for one, track in zip(copies, tracks, strict=True)]
    assert sizes(*submitted) == [2]
    plain = [replace(one, track=None) for one in copies]
    assert sizes(*plain) == [1, 1]
    # A run whose fingerprint is the name of the data is not one of the track.
    assert sizes(submitted[0], with_data(plain[0], fingerprint="imagenet-1k-val")) == [1, 1]


def test_a_submission_is_ranked_by_its_tracks_fingerprint(entry: Entry) -> None:
    other = with_data(entry, stored={"live_fingerprint": "f" * 64})
    assert sizes(entry, other) == [2]
    # The same data as a plain run has, by its own fingerprint.
    assert sizes(entry, replace(entry, track=None)) == [2]


def images(entry: Entry, track: str, **data: Any) -> tuple[str, str]:
    chosen = load_track(track)
    lines = check_settings(with_data(entry, **data).identity, chosen.load_benchmark(), chosen)
    line = next(one for one in lines if one.name == "images")
    return line.state, line.detail


def test_images_stored_with_loss_are_no_live_ones(entry: Entry) -> None:
    same = {**STORED, "live_fingerprint": "a" * 64}
    for track in ("imagenet-noc-open", "imagenet-c-open"):
        assert images(entry, track)[0] == "holds"
        assert images(entry, track, stored=same)[0] == "holds"
    state, told = images(entry, "imagenet-noc-open", stored=STORED)
    assert state == "does not hold"
    state, told = images(entry, "imagenet-c-open", stored=STORED)
    assert state == "cannot be verified"
    assert 'layout "imagenet-c", encoder {"name": "jpeg", "quality": 85}' in told
    null = images(entry, "imagenet-noc-open", stored={**STORED, "live_fingerprint": None})
    assert null[0] == "does not hold"


def test_a_models_page_says_which_images_it_saw(entry: Entry) -> None:
    stored = with_data(entry, stored=STORED)
    html = model_page(stored, grouped([stored], ())[0], "Site")
    assert "stored on disk, layout &#34;imagenet-c&#34;" in html
    assert "stored on disk" not in model_page(entry, grouped([entry], ())[0], "Site")


# Names.


def chart(entries: list[Entry]) -> Any:
    group: EntryGroup = grouped(entries, ())[0]
    return ranking_figure(group, (), METRICS["error"], 1)


def axis(entries: list[Entry]) -> list[str]:
    spec = chart(entries).chart.to_dict()
    (records,) = spec["datasets"].values()
    return [one["label"] for one in records]


def test_equal_titles_are_told_apart_past_those_that_look_numbered(entry: Entry) -> None:
    titles = ["A", "A (2)", "A", "A"]
    named = axis([replace(entry, title=title) for title in titles])
    assert sorted(named) == ["A", "A (2)", "A (3)", "A (4)"]


def test_the_best_are_named_so_where_some_are_left_out(entry: Entry) -> None:
    many = [replace(entry, title=f"model {number}") for number in range(MAX_MODELS + 1)]
    assert chart(many).caption.startswith("The best 25 models. ")
    assert not chart(many[1:]).caption.startswith("The best")
    assert len(axis(many)) == 25


def test_architectures_are_meant_however_they_are_written() -> None:
    for written in ("ResNet 50", " resnet_50 ", "RESNET-50", "TorchVision: ResNet.50@V2"):
        assert canonical(written) == "torchvision:resnet50", written
    for written in ("Photo Patches", "patch-resnet", "PatchResNet"):
        assert canonical(written) == "photo-patches", written
    assert canonical("regnet_x_1_6gf") == "torchvision:regnet_x_1_6gf"
    assert canonical("regnet_x_16gf") == "torchvision:regnet_x_16gf"
    # Two networks are written so; neither is meant for sure.
    assert canonical("RegNet X 16GF") is None
    assert canonical("timm:resnet50") is None


def noted_state(claimed: str, noted: str, module: torch.nn.Module | None) -> str | None:
    prints = [] if module is None else [
        {"architecture_fingerprint": architecture_fingerprint(module)}
    ]  # fmt: skip
    lines = check_architecture(claimed, None, prints, {"architecture": noted}, 10)
    states = {one.name: one.state for one in lines}
    return states.get("architecture in run.json")


def test_the_claim_is_compared_with_what_the_run_calls_its_network() -> None:
    with torch.device("meta"):
        resnet, other = models.resnet50(num_classes=10), models.resnet18(num_classes=10)
    for claimed in ("ResNet 50", "torchvision:resnet50", "timm:resnet50.a1_in1k"):
        assert noted_state(claimed, "resnet50", resnet) == "holds", claimed
    for module in (resnet, None):
        assert noted_state("My net", "resnet50", module) == "does not hold"
        assert noted_state("resnet18", "resnet50", module) == "does not hold"
    # A class of one's own that is called so: its parameters tell that it is another.
    assert noted_state("My net", "resnet50", other) == "cannot be verified"
    assert noted_state("resnet50", "ResNet", resnet) is None


# Choosing a benchmark.


def test_a_benchmark_is_chosen_by_keyboard_alone(
    browser: Browser,  # noqa: F811
    honest: Path,
    tmp_path: Path,
) -> None:
    build_site([honest], tmp_path / "site", resamples=2, landmarks=True)
    headings = [
        "ImageNet-NOC on photo-patches/test",
        "ImageNet-C on imagenet-1k-val",
        "ImageNet-NOC on imagenet-1k-val",
    ]
    with visit(browser, tmp_path / "site" / "index.html") as seen:

        def visible() -> tuple[list[str], list[str]]:
            parts = (seen.page.locator("h2:visible"), seen.page.locator("nav li a:visible"))
            return parts[0].all_inner_texts(), parts[1].all_inner_texts()

        choose = seen.page.get_by_label("Benchmark and data")
        assert choose.locator("option").all_inner_texts() == ["all", *sorted(headings)]
        assert visible() == (headings, headings)
        choose.focus()
        seen.page.keyboard.type("ImageNet-C")
        assert visible() == (headings[1:2], headings[1:2])
        choose.select_option("all")
        assert visible() == (headings, headings)
        assert seen.problems == []
        assert seen.barriers() == []
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto((tmp_path / "site" / "index.html").as_uri())
    assert page.locator("h2:visible").count() == 3
    assert page.locator("[data-choose]:visible").count() == 0
    plain.close()
