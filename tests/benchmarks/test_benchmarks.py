import re
from pathlib import Path
from typing import Any

import pytest

from noctule import config
from noctule.benchmarks import (
    Benchmark,
    Condition,
    Reference,
    benchmark_names,
    load_benchmark,
    references,
    why_no_reference,
    write_benchmark,
    write_reference,
)
from noctule.errors import InputError, OutputError

# The seed's table, typed again from its publication: clean first.
ALEXNET = """clean .435, quantization .592, gaussian .620, salt_pepper .649, blur .570,
thumbnail_resize .574, pixelate .760, artifacts .746, vertical_artifacts .758, rhombus .728,
rain .748, circle .720, arlequin .747, obstruction .597, border .670, translation .603,
shear .657, elastic .541, rotation .711, backlight .591, brightness .577, contrast .576,
color_distortion .606, gray_scale .580, hue .684"""
ERRORS = {name: float(value) for name, value in re.findall(r"(\w+) (\.\d+)", ALEXNET)}
EIGHT = [
    "shear", "rain", "hue", "quantization", "brightness", "border", "blur",
    "vertical_artifacts",
]  # fmt: skip
SEVEN = ["blur", "rotation", "brightness", "rhombus", "quantization", "obstruction", "hue"]

SMALL = """
name = "small"
title = "Small"
source = "me"
corruptions = ["shear", "rain"]
"""


def load(tmp_path: Path, text: str) -> Benchmark:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_benchmark(path)


def small(**changes: Any) -> Benchmark:
    plain = {"name": "small", "title": "S", "source": "me", "corruptions": ["shear", "rain"]}
    return Benchmark.from_dict({**plain, **changes})


def test_the_built_in_benchmarks_list_what_was_published() -> None:
    published = {
        "imagenet-noc": EIGHT,
        "imagenet-noc-2020-06": SEVEN,
        "imagenet-noc-candidates": [
            name for name in ERRORS if name not in ("clean", "arlequin")
        ],
    }
    assert {name for name in benchmark_names() if "noc" in name} == set(published)
    for name, corruptions in published.items():
        benchmark = load_benchmark(name)
        assert benchmark.name == name
        assert list(benchmark.corruptions) == corruptions
        assert [str(one) for one in benchmark.conditions] == ["clean", *corruptions]


@pytest.mark.parametrize("name", ["imagenet-noc", "imagenet-noc-candidates"])
def test_the_reference_is_alexnets_on_imagenet_and_nowhere_else(name: str) -> None:
    benchmark = load_benchmark(name)
    reference = benchmark.reference_for("imagenet-1k-val")
    assert reference is not None
    assert reference.model == "AlexNet"
    assert reference.errors == ERRORS
    for domain in (None, "photo-patches/train", "imagenet"):
        assert benchmark.reference_for(domain) is None


def test_why_there_is_no_reference_says_where_it_applies_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "REFERENCES_FOLDER", tmp_path)
    assert "no reference errors are known for small" in why_no_reference(small(), "x")
    for model, domain in (("A", "a"), ("B", "b")):
        errors = {"clean": 0.1, "shear": 0.2, "rain": 0.3}
        reference = Reference(model=model, domain=domain, source="s", errors=errors)
        write_reference(reference, tmp_path / f"{model}.toml")
    assert why_no_reference(small(), None).startswith(
        "the reference errors of A apply to a, those of B apply to b; "
        "this data is of unknown origin: pass --reference RUN"
    )
    assert "this data is c:" in why_no_reference(small(), "c")
    assert "A lack shear@5, rain@5: pass" in why_no_reference(small(severities=[5]), "a")


def test_a_shipped_reference_fits_the_benchmarks_it_covers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"clean": 0.1, "shear@2": 0.2, "rain@2": 0.3, "hue": 0.4}
    reference = Reference(model="weak", domain="photos", source="s", errors=errors)
    write_reference(reference, tmp_path / "weak.toml")
    monkeypatch.setattr(references, "REFERENCES_FOLDER", tmp_path)
    assert small(severities=[2]).reference_for("photos") == reference
    assert small(severities=[2, 3]).reference_for("photos") is None
    assert small().reference_for("photos") is None


def test_a_benchmarks_own_reference_comes_first() -> None:
    errors = {"clean": 0.1, "shear": 0.2, "rain": 0.3}
    own = {"model": "mine", "domain": "imagenet-1k-val", "source": "s", "errors": errors}
    reference = small(references=[own]).reference_for("imagenet-1k-val")
    assert reference is not None
    assert reference.model == "mine"


def test_conditions_are_named_and_parsed() -> None:
    for condition, text in [
        (Condition(), "clean"),
        (Condition("shear"), "shear"),
        (Condition("shear", 3), "shear@3"),
    ]:
        assert str(condition) == text
        assert Condition.parse(text) == condition
    assert Condition.parse("color_disortion@1") == Condition("color_distortion", 1)
    for text in (
        "shear@0",
        "shear@6",
        "shear@",
        "shear@1.0",
        "shear@01",
        "shear@1@2",
        "clean@1",
    ):
        with pytest.raises(InputError):
            Condition.parse(text)
    with pytest.raises(InputError, match="Did you mean 'shear'"):
        Condition.parse("sheer@3")


def test_severities_multiply_the_conditions() -> None:
    benchmark = small(severities=[1, 4])
    names = ["clean", "shear@1", "shear@4", "rain@1", "rain@4"]
    assert [str(one) for one in benchmark.conditions] == names
    assert [str(one) for one in benchmark.conditions_of_corruption("rain")] == names[3:]


def test_an_alias_becomes_the_proper_name_everywhere() -> None:
    errors = {"clean": 0.1, "color_disortion": 0.2}
    own = {"model": "m", "domain": "d", "source": "s", "errors": errors}
    benchmark = small(corruptions=["color_disortion"], references=[own])
    assert benchmark.corruptions == ("color_distortion",)
    assert benchmark.references[0].errors == {"clean": 0.1, "color_distortion": 0.2}


@pytest.mark.parametrize("severities", ["full", [2, 5]])
def test_a_benchmark_reads_back_as_it_was_written(severities: object, tmp_path: Path) -> None:
    conditions = (
        ["shear", "rain"]
        if severities == "full"
        else ["shear@2", "shear@5", "rain@2", "rain@5"]
    )
    errors = {"clean": 1 / 3, **dict.fromkeys(conditions, 0.7)}
    references = [
        {"model": "m", "domain": domain, "source": 'a "quoted" é', "errors": errors}
        for domain in ("one", "two")
    ]
    benchmark = small(severities=severities, references=references)
    path = tmp_path / "b.toml"
    write_benchmark(benchmark, path)
    assert load_benchmark(path) == benchmark
    assert load_benchmark(str(path)) == benchmark
    assert Benchmark.from_dict(benchmark.to_dict()) == benchmark
    assert benchmark.to_dict()["severities"] == severities
    with pytest.raises(OutputError, match="No such file"):
        write_benchmark(benchmark, tmp_path / "absent" / "b.toml")


REFERENCE = """
[[references]]
model = "m"
domain = "d"
source = "s"
[references.errors]
"""


@pytest.mark.parametrize(
    ("text", "key", "what"),
    [
        (SMALL + "corruption = []", "corruption", "Did you mean 'corruptions'?"),
        (SMALL.replace('"rain"', '"rian"'), "corruptions", "Did you mean 'rain'?"),
        (SMALL.replace('"rain"', '"clean"'), "corruptions", "unknown corruption 'clean'"),
        (SMALL.replace('"rain"', '"shear"'), "corruptions", "'shear' is listed twice"),
        (
            SMALL.replace('"shear", "rain"', '"color_distortion", "color_disortion"'),
            "corruptions",
            "'color_distortion' is listed twice",
        ),
        (SMALL.replace('"shear", "rain"', ""), "corruptions", "the list is empty"),
        (SMALL.replace('["shear", "rain"]', '"shear"'), "corruptions", "valid list"),
        (SMALL.replace('"small"', '""'), "name", "at least 1 character"),
        (SMALL.replace('source = "me"', ""), "source", "missing"),
        (SMALL + 'metric = "mce"', "metric", "'mean_error', not 'mce'"),
        (SMALL + 'mode = "publish"', "mode", "'released', not 'publish'"),
        (SMALL + "side_px = 8", "side_px", "greater than or equal to 16, not 8"),
        (SMALL + "stored_jpeg_quality = 0", "stored_jpeg_quality", "not 0"),
        (SMALL + "[tables.hue]\nturn = [1]", "tables.hue", "not among the corruptions"),
        (SMALL + "[tables.shear]\nturn = [1]", "tables.shear", "none of its parameters"),
        (SMALL + "severities = []", "severities", "not a list of severities"),
        (SMALL + 'severities = "all"', "severities", "'all' is not a list of severities"),
        (SMALL + "severities = 3", "severities", "3 is not a list of severities"),
        (SMALL + "severities = [0, 1]", "severities", "0 is not a severity"),
        (SMALL + "severities = [6]", "severities", "6 is not a severity. Use"),
        (SMALL + "severities = [1.0]", "severities", "1.0 is not a severity"),
        (SMALL + "severities = [true]", "severities", "True is not a severity"),
        (SMALL + "severities = [2, 2]", "severities", "severity 2 is listed twice"),
        (SMALL + REFERENCE, "references[0].errors", "'clean' is missing"),
        (
            SMALL + REFERENCE + "clean = 0.1\nshear = 0.2",
            "references[0].errors",
            "the errors of m lack rain",
        ),
        (
            SMALL + REFERENCE + "clean = 0.1\nshear = 20.0\nrain = 0.2",
            "references[0].errors.shear",
            "less than or equal to 1, not 20.0",
        ),
        (
            SMALL + REFERENCE + "clean = -0.1\nshear = 0.2\nrain = 0.2",
            "references[0].errors.clean",
            "not -0.1",
        ),
        (
            SMALL + REFERENCE + "clean = nan\nshear = 0.2\nrain = 0.2",
            "references[0].errors.clean",
            "not nan",
        ),
        (
            SMALL + REFERENCE + "clean = 0.1\nsheer = 0.2\nrain = 0.2",
            "references[0].errors",
            "Did you mean 'shear'?",
        ),
        (
            SMALL + REFERENCE.replace("domain", "domian") + "clean = 0.1",
            "references[0].domian",
            "Did you mean 'domain'?",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_key(
    text: str, key: str, what: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'mine.toml'}: {key}: ")
    assert what in str(caught.value)


def test_an_unknown_name_suggests_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Did you mean 'imagenet-noc'"):
        load_benchmark("imagenet-nok")
    with pytest.raises(InputError, match="No such file"):
        load_benchmark("nowhere.toml")
    with pytest.raises(InputError, match="is a folder, not a regular file"):
        load_benchmark(tmp_path)


def test_a_missing_condition_in_a_shipped_file_is_found(tmp_path: Path) -> None:
    """The shipped reference files read without error and name registered corruptions."""
    shipped = references.shipped_references()
    assert len(shipped) == len(list(references.REFERENCES_FOLDER.glob("*.toml")))
    assert "AlexNet" in [one.model for one in shipped]
    path = tmp_path / "r.toml"
    write_reference(shipped[0], path)
    assert config.read_spec(path, Reference) == shipped[0]


def test_a_shipped_reference_is_of_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"clean": 0.1, "contrast_c": 0.2}
    plain = {"name": "n", "title": "t", "source": "s", "severities": [1, 2, 3, 4, 5]}
    benchmark = Benchmark.from_dict({**plain, "corruptions": ["contrast_c"]})
    reference = Reference(
        model="weak", domain="photos", source="s", errors=errors, mode="paper"
    )
    write_reference(reference, tmp_path / "weak.toml")
    monkeypatch.setattr(references, "REFERENCES_FOLDER", tmp_path)
    assert benchmark.reference_for("photos") == reference
    assert benchmark.in_mode("released").reference_for("photos") is None
    tables = {"contrast_c": {"factor": [0.9, 0.8, 0.7, 0.6, 0.5]}}
    other = Benchmark.from_dict({**benchmark.to_dict(), "tables": tables})
    assert other.reference_for("photos") is None
    assert "no reference errors are known for n" in why_no_reference(other, "photos")
