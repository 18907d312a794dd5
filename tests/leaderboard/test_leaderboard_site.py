"""The site: what is on it, what it never ranks together, and that nothing on it can run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import sealed_runs
from browser import DESK, PHONE, browser, visit  # noqa: F401
from leaderboard_cases import (
    DESCRIPTION,
    copied,
    forge_claims,
    forge_record,
    honest_submission,
    write_run,
)
from noctule import InputError
from noctule.data import open_dataset
from noctule.leaderboard import check_submission, prepare_submission
from noctule.leaderboard.entries import grouped, read_entry, slug
from noctule.leaderboard.site import MANIFEST_FILE, build_site
from noctule.leaderboard.tracks import load_landmarks

HOSTILE = "</script><img src=https://evil.org/x onerror=alert(1)>{{7*7}}\u202e'\"../../x"
LINK = "https://example.org/a?b=%22onload=alert(1)"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two submissions and a run, one of them with hostile text in every field."""
    folder, dataset = tmp_path_factory.mktemp("site"), open_dataset("photo-patches")
    honest = honest_submission(folder)
    notes = {
        "argv": ["noctule", HOSTILE],
        "packages": {HOSTILE: HOSTILE},
        **dict.fromkeys(("started_utc", "noctule", "commit", "platform"), HOSTILE),
    }
    write_run(folder / "run2", dataset, seed=2, name=HOSTILE, notes=notes, architecture=HOSTILE)
    submitted = {
        "track": "photo-patches-open",
        **dict.fromkeys(("title", "architecture", "training_data"), HOSTILE),
    }
    hostile = folder / "hostile"
    prepare_submission(folder / "run2", hostile, **submitted, link=LINK, notes=HOSTILE)
    return {"honest": honest, "hostile": hostile, "run": folder / "run2"}


@pytest.fixture(scope="module")
def site(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    build_site(
        list(sources.values()), out, resamples=20, title="Models of the day", landmarks=True
    )
    return out


def links(site: Path) -> list[str]:
    return re.findall(r'href="(models/[^"]*)"', (site / "index.html").read_text())


def test_every_model_has_a_page_of_a_safe_name(site: Path, sources: dict[str, Path]) -> None:
    found = links(site)
    assert len(found) == len(sources) == len(set(found))
    for name in found:
        assert re.fullmatch(r"models/[a-z0-9-]{1,40}-[0-9a-f]{10}\.html", name)
        assert (site / name).is_file()
    written = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    assert written == {"index.html", MANIFEST_FILE, *found}


def test_slugs_are_plain() -> None:
    assert slug(HOSTILE) == "script-img-src-https-evil-org-x-onerror"
    assert slug("../../x") == "x"
    assert slug("\0\n雪") == "model"
    assert len(slug("x" * 200)) == 40


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_pages_are_whole_and_nothing_runs(
    browser: Browser,  # noqa: F811
    site: Path,
    size: dict[str, int],
) -> None:
    for name in ("index.html", *links(site)):
        with visit(browser, site / name, size=size) as seen:
            assert seen.wait_for_charts() == 1
            assert seen.problems == []
            assert seen.overflow_px() <= 0
            assert seen.page.locator("img").count() == 0
            assert "49" not in seen.page.locator("h1").inner_text()
            if size == DESK:
                assert seen.barriers() == []


def test_the_hostile_text_is_shown_as_text(browser: Browser, site: Path) -> None:  # noqa: F811
    shown = HOSTILE.replace("\u202e", "\ufffd")
    with visit(browser, site / "index.html") as seen:
        row = seen.page.locator("#table-1 tbody tr", has_text="small ResNet").first
        assert row.locator("th").inner_text() == "Honest"
        assert seen.page.locator("#table-1 th[scope=row]", has_text=shown).count() == 2
        seen.page.get_by_role("link", name=shown).first.click()
        assert seen.page.locator("h1").inner_text() == shown
        assert seen.page.locator("dd", has_text=shown).count() >= 5
        seen.page.get_by_role("link", name="← Models of the day").click()
        assert seen.page.locator("h1").inner_text() == "Models of the day"


def column(seen: Any, number: int, table: str = "#table-1") -> list[str]:
    cells = seen.page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({number})")
    return list(cells.all_inner_texts())


def test_tables_sort_and_filter_by_keyboard_alone(browser: Browser, site: Path) -> None:  # noqa: F811
    with visit(browser, site / "index.html") as seen:
        page = seen.page
        clean = [float(text) for text in column(seen, 3)]
        page.locator("#table-1 button.sort", has_text="clean error").focus()
        page.keyboard.press("Enter")
        assert [float(text) for text in column(seen, 3)] == sorted(clean)
        page.keyboard.press("Enter")
        assert [float(text) for text in column(seen, 3)] == sorted(clean, reverse=True)
        choose = page.locator("[data-table=table-1] select[data-facet=track]")
        assert choose.locator("option").all_inner_texts() == [
            "all", "no track", "open", "small ResNet",
        ]  # fmt: skip
        choose.focus()
        page.keyboard.type("small")
        assert column(seen, 1) == ["Honest"]
        assert "1 of 3" in page.locator("[data-table=table-1] output").inner_text()
        choose.select_option("all")
        hostile = page.locator("[data-table=table-1] select[data-facet='training data']")
        hostile.select_option(index=1)  # sorted: the hostile one first
        assert len(column(seen, 1)) == 1
        assert "evil" in column(seen, 6)[0]
        search = page.locator("[data-table=table-2] input[type=search]")
        search.focus()
        page.keyboard.type("augmix")
        assert column(seen, 1, "#table-2") == ["AugMix+SIN", "AugMix"]


def test_the_table_holds_the_recomputed_scores(
    browser: Browser,  # noqa: F811
    site: Path,
    sources: dict[str, Path],
) -> None:
    scores = check_submission(sources["honest"]).scores(resamples=20)
    main = scores.of("relative_mce")
    # The reference's error hardly rises under one of the corruptions: there is no interval.
    assert "has no interval for" in str(main.reason)
    with visit(browser, site / "index.html") as seen:
        row = seen.page.locator("#table-1 tbody tr", has_text="Honest")
        cells = row.locator("td").all_inner_texts()
        clean, mean_error = scores.of("error", "clean").value, scores.of("error").value
        assert clean is not None
        assert mean_error is not None
        assert cells == [
            f"{main.value:.1f}", f"{100 * clean:.1f}", f"{100 * mean_error:.1f}",
            "photo-patches", "photo-patches/train", "small ResNet", "all passed",
        ]  # fmt: skip
        ranking = [float(text.split()[0]) for text in column(seen, 2)]
        assert ranking == sorted(ranking)


def test_landmarks_are_marked_and_stand_with_their_own_data(site: Path) -> None:
    html = (site / "index.html").read_text()
    headings = re.findall(r'<h2 id="group-\d">([^<]*)</h2>', html)
    assert headings == [
        "ImageNet-NOC on photo-patches/test",
        "ImageNet-C on imagenet-1k-val",
        "ImageNet-NOC on imagenet-1k-val",
    ]
    tables = html.split('<h2 id="group-')[1:]
    assert "as published" not in tables[0]
    assert [one.count(">not recomputed<") for one in tables] == [0, 12, 1]
    assert 'data-key="81.0">81<' in tables[2]
    for landmark in load_landmarks():
        assert landmark.source.partition(",")[0].replace("&", "&amp;") in html


def test_other_data_seeds_and_benchmarks_are_never_ranked_together(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    base = read_entry(sources["run"], training_data="unknown", resamples=0)
    store = write_run(tmp_path / "run", open_dataset("photo-patches"), seed=3)
    entries = [base]
    for keys, value in (
        (("seed",), 1),
        (("dataset", "fingerprint"), "f" * 64),
        (("benchmark", "source"), "another"),
    ):
        record = json.loads((store.folder / "run.json").read_text())
        place = record if len(keys) == 1 else record[keys[0]]
        place[keys[-1]] = value
        folder = tmp_path / str(len(entries))
        folder.mkdir()
        (folder / "run.json").write_text(json.dumps(record))
        shutil.copytree(store.folder / "rows", folder / "rows")
        sealed_runs.seal(folder)
        entries.append(read_entry(folder, training_data="unknown", resamples=0))
    groups = grouped(entries, ())
    assert sorted(len(group.entries) for group in groups) == [1, 1, 1, 1]
    build_site([one.source for one in entries], tmp_path / "site", resamples=2)
    html = (tmp_path / "site" / "index.html").read_text()
    headings = re.findall(r'<h2 id="group-\d">([^<]*)</h2>', html)
    assert len(set(headings)) == len(headings)
    assert sum("(1,024 images, seed 0, data" in one for one in headings) == 3
    assert sum("(1,024 images, seed 1, data" in one for one in headings) == 1


def test_landmarks_join_runs_on_the_same_images_only(sources: dict[str, Path]) -> None:
    from dataclasses import replace

    entry = read_entry(sources["run"], training_data="unknown", resamples=0)
    data = {**entry.identity.dataset, "domain": "imagenet-1k-val"}
    on_imagenet = replace(entry, identity=replace(entry.identity, dataset=data))
    whole = replace(on_imagenet, scores=replace(entry.scores, num_images=50_000))
    landmarks = load_landmarks()

    def beside(one: Any) -> list[str]:
        group = next(group for group in grouped([one], landmarks) if group.entries)
        return [f"{mark.title} {mark.value:g}" for mark in group.landmarks]

    assert beside(entry) == []
    assert beside(on_imagenet) == []  # 1,024 of its images
    assert beside(whole) == ["ResNet-50 81"]
    assert len(grouped([whole], landmarks)) == 2  # and ImageNet-C's, alone


# Writing.


def test_building_again_replaces_the_sites_own_files_only(
    sources: dict[str, Path], site: Path, tmp_path: Path
) -> None:
    out = tmp_path / "site"
    build_site([sources["honest"], sources["run"]], out, resamples=2)
    before = set(links(out))
    (out / "CNAME").write_text("mine")
    (out / "models" / "mine.html").write_text("mine")
    build_site([sources["honest"]], out, resamples=2)
    assert set(links(out)) < before
    kept = {path.name for path in out.rglob("*") if path.is_file()}
    assert kept == {
        "CNAME", "mine.html", "index.html", MANIFEST_FILE, Path(links(out)[0]).name,
    }  # fmt: skip


def test_a_manifest_cannot_have_other_files_removed(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "site"
    build_site([sources["honest"]], out, resamples=2)
    (tmp_path / "precious.html").write_text("mine")
    (out / "precious.html").write_text("mine")
    names = ["../precious.html", "precious.html", "models/../precious.html", "/etc/passwd"]
    (out / MANIFEST_FILE).write_text(json.dumps({"files": names}))
    build_site([sources["honest"]], out, resamples=2)
    assert (tmp_path / "precious.html").exists()
    assert (out / "precious.html").exists()
    for text in ("[]", "{", '{"files": [1]}', "[" * 100_000):
        (out / MANIFEST_FILE).write_text(text)
        with pytest.raises(InputError, match="is not the list of a site's files"):
            build_site([sources["honest"]], out, resamples=2)


def test_a_kill_leaves_old_or_new_pages_and_the_next_build_mends(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from noctule.leaderboard import site as module

    out, honest, run = tmp_path / "site", sources["honest"], sources["run"]
    whole = build_site([honest, run], out, resamples=2)
    real, calls = module.write_page, []  # type: ignore[attr-defined]

    def killed(path: Path, html: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.with_name(f".{path.name}.0123456789abcdef.tmp").write_text(html[:100])
            raise KeyboardInterrupt
        real(path, html)

    monkeypatch.setattr(module, "write_page", killed)
    with pytest.raises(KeyboardInterrupt):
        build_site([honest, sources["hostile"]], out, resamples=2)
    monkeypatch.setattr(module, "write_page", real)
    assert all((out / name).read_text().rstrip().endswith("</html>") for name in whole)
    assert set(links(out)) <= {f"models/{path.name}" for path in (out / "models").iterdir()}
    left = build_site([honest], out, resamples=2)
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {MANIFEST_FILE, *left}


def test_a_folder_of_something_else_is_refused(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty and not a leaderboard's site.*thesis"):
        build_site([sources["honest"]], tmp_path, resamples=2)
    with pytest.raises(InputError, match="is not a folder"):
        build_site([sources["honest"]], tmp_path / "thesis.tex", resamples=2)
    (tmp_path / "link").symlink_to(sources["run"])
    with pytest.raises(InputError, match="is not a folder"):
        build_site([sources["honest"]], tmp_path / "link", resamples=2)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["thesis.tex"]


def test_one_bad_source_among_many_is_named_and_nothing_is_written(
    sources: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "site"
    forged = copied(sources["honest"], tmp_path / "forged")
    forge_claims(claimed_mce=1.0)(forged)
    unfinished = write_run(tmp_path / "unfinished", open_dataset("photo-patches"))
    unfinished.slice_path(2).unlink()
    broken = copied(sources["honest"], tmp_path / "broken")
    forge_record("slice_size", value=0)(broken)
    (tmp_path / "nothing").mkdir()
    for bad, message in (
        (forged, "submission: does not hold: mCE: claimed 1.0"),
        (unfinished.folder, "unfinished: cannot be scored: .*1 of 4 slices are missing"),
        (broken / "run", "slice_size"),
        (tmp_path / "nothing", "nothing: is neither a submission nor a run folder"),
    ):
        with pytest.raises(InputError, match=message):
            build_site([sources["honest"], Path(str(bad)), sources["run"]], out, resamples=2)
        assert not out.exists()
    with pytest.raises(InputError, match="is the same run as"):
        build_site([sources["honest"], sources["honest"]], out, resamples=2)
    assert not out.exists()


def test_equal_titles_are_two_pages(sources: dict[str, Path], tmp_path: Path) -> None:
    write_run(tmp_path / "run", open_dataset("photo-patches"), seed=4, name="other weights")
    twin = tmp_path / "twin"
    prepare_submission(tmp_path / "run", twin, **DESCRIPTION)
    pages = build_site([sources["honest"], twin], tmp_path / "site", resamples=2)
    assert len(pages) == 3
    html = (tmp_path / "site" / "index.html").read_text()
    assert "Honest (2)" in html  # on the chart's axis
