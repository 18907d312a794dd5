"""Protocols: what is scored, checked by hand from logits; and what is never mixed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import noctule
from command_line import run
from noctule import Evaluation, NoctuleWarning, Settings
from noctule.benchmarks import Benchmark
from noctule.comparison import compare
from noctule.data.imagenet import wnids
from noctule.errors import InputError
from noctule.models import Classifier, load_classifier
from noctule.report import samples
from noctule.report.loading import open_runs
from noctule.report.provenance import class_names
from noctule.report.run_groups import grouped
from noctule.store import RunStore
from noctule.stored import evaluate_stored, export

QUICK = Benchmark(
    name="one", title="One", source="a test", corruptions=("contrast",), severities=(1,)
)
WNIDS = ("n02123045", "n02124075", "n03481172", "n02085620")
NAMES = ("tabby", "Egyptian cat", "hammer", "Chihuahua")
INDICES = (281, 285, 587, 151)
IMAGES = 12


class Numbered(nn.Module):
    """The logits of an image are those of the number that all its values are."""

    def __init__(self, classes: int = 1000, softmax: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        table = torch.randn(256, classes, generator=generator)
        if classes == 1000:  # so that many images of each class are right
            for number in range(256):
                table[number, list(INDICES)] += 2
                table[number, INDICES[number % 4]] += 1
        self.register_buffer("table", table)
        self.softmax = softmax

    def forward(self, images: Tensor) -> Tensor:
        logits = self.table[(images[:, 0, 0, 0] * 255).round().clamp(0, 255).long()]
        return logits.softmax(dim=1) if self.softmax else logits


def named(names: Any, module: nn.Module | None = None) -> Classifier:
    classifier = load_classifier(module or Numbered())
    classes = None if names is None else len(names)
    return replace(classifier, class_names=names and tuple(names), num_classes=classes)


def imagenet_names() -> tuple[str, ...]:
    from torchvision.models import ResNet50_Weights

    return tuple(ResNet50_Weights.DEFAULT.meta["categories"])


def folders(root: Path, names: Any = WNIDS, count: int = IMAGES) -> Path:
    """Image k is of class k modulo 4, and of the colour k."""
    for number in range(count):
        folder = root / names[number % len(names)]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number,) * 3).save(folder / f"{number:02}.png")
    return root


def settings(protocol: str | None, class_map: Any = None) -> Settings:
    return Settings(
        device="cpu", workers=0, self_check=False, protocol=protocol, class_map=class_map
    )


def evaluated(
    model: Any, data: Any, out: Path, protocol: Any, class_map: Any = None
) -> Evaluation:
    return noctule.evaluate(model, data, QUICK, out=out, settings=settings(protocol, class_map))


def clean_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """In the order of the numbers of the images."""
    rows = [row for row in evaluation.run.rows().to_pylist() if row["condition"] == "clean"]
    return sorted(rows, key=lambda row: row["image_id"].rpartition("/")[2])


def expect(rows: list[dict[str, Any]], groups: list[list[int]], labels: list[int]) -> None:
    """Compare rows with sums of probabilities, in double precision."""
    table = Numbered().table.double().numpy()
    for number, row in enumerate(rows):
        raw = np.exp(table[number])
        sums = np.array([raw[group].sum() for group in groups])
        probabilities = sums / sums.sum()
        label = labels[number]
        assert row["label"] == label
        assert row["prediction"] == probabilities.argmax()
        assert row["label_rank"] == 1 + (probabilities > probabilities[label]).sum()
        assert row["confidence"] == pytest.approx(probabilities.max(), rel=1e-5)
        assert row["loss"] == pytest.approx(-np.log(probabilities[label]), rel=1e-5)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (imagenet_names, WNIDS),
        (imagenet_names, NAMES),
        (imagenet_names, ("TABBY", "egyptian_cat", "Hammer", "chihuahua")),
        (imagenet_names, tuple(map("-".join, zip(WNIDS, NAMES, strict=True)))),
        (wnids, WNIDS),
        (wnids, NAMES),
        (lambda: [f"{name}, or so" for name in imagenet_names()], NAMES),
        (lambda: None, WNIDS),
        (lambda: None, NAMES),
    ],
)
@pytest.mark.parametrize("protocol", ["1000-way", "restricted"])
@pytest.mark.filterwarnings("ignore:.*taken to be the 1000 of ImageNet")
def test_rows_of_both_protocols(tmp_path: Path, model: Any, data: Any, protocol: str) -> None:
    order = np.argsort(data)
    indices = [INDICES[place] for place in order]
    labels = [list(order).index(number % 4) for number in range(IMAGES)]
    found = evaluated(
        named(model()), folders(tmp_path / "set", data), tmp_path / "run", protocol
    )
    groups = [[index] for index in indices]
    if protocol == "1000-way":
        groups += [[index] for index in range(1000) if index not in indices]
    expect(clean_rows(found), groups, labels)
    rows = found.run.rows()
    assert 0 < np.sum(np.asarray(rows["label_rank"]) > 1) < len(rows)
    record = found.run.identity.dataset
    assert record["protocol"] == {"name": protocol, "num_outputs": len(groups)}
    assert record["num_classes"] == 4
    title = "restricted to 4 classes" if protocol == "restricted" else protocol
    assert record["name"] == f"set, {title}"


def test_the_two_protocols_agree_with_scores_by_hand(tmp_path: Path) -> None:
    data, model = folders(tmp_path / "set"), named(imagenet_names())
    table = Numbered().table[:IMAGES].numpy()
    right = np.array(INDICES)[np.arange(IMAGES) % 4]
    whole = evaluated(model, data, tmp_path / "whole", "1000-way").scores
    part = evaluated(model, data, tmp_path / "part", "restricted").scores
    assert whole.of("error", "clean").value == (table.argmax(1) != right).mean()
    among = np.array(INDICES)[table[:, INDICES].argmax(1)]
    assert part.of("error", "clean").value == (among != right).mean()
    assert part.of("error", "clean").value < whole.of("error", "clean").value


def test_probabilities_are_scored_as_their_logits(tmp_path: Path) -> None:
    data = folders(tmp_path / "set")
    rows = []
    for softmax in (False, True):
        model = named(imagenet_names(), Numbered(softmax=softmax))
        model = replace(model, outputs="probabilities" if softmax else "logits")
        rows.append(clean_rows(evaluated(model, data, tmp_path / str(softmax), "restricted")))
    for one, other in zip(*rows, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)


def test_a_report_names_the_classes_outside_the_data(tmp_path: Path) -> None:
    evaluated(named(imagenet_names()), folders(tmp_path / "set"), tmp_path / "run", "1000-way")
    (opened,) = open_runs([tmp_path / "run"])
    names = class_names(opened)
    assert len(names) == 1000
    assert [names[index] for index in range(5)] == [*sorted(WNIDS), "tench"]


def test_a_model_without_class_names_is_announced(tmp_path: Path) -> None:
    data = folders(tmp_path / "set")
    with pytest.warns(NoctuleWarning, match="taken to be the 1000 of ImageNet, in the order"):
        evaluated(Numbered(), data, tmp_path / "run", "restricted")
    with pytest.raises(InputError, match="does not name its 7 classes"):
        evaluated(
            replace(load_classifier(Numbered(7)), num_classes=7),
            data,
            tmp_path / "a",
            "restricted",
        )
    with (
        pytest.warns(NoctuleWarning, match="taken to be"),
        pytest.raises(InputError, match="returned 7 logits per image, where 1000 are expected"),
    ):
        evaluated(Numbered(7), data, tmp_path / "b", "restricted")
    assert not (tmp_path / "b").exists()


def test_self_checks_know_the_protocol(tmp_path: Path) -> None:
    """The network answers every image with a class outside the data."""

    class Tench(Numbered):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + 50 * torch.eye(1000)[0]

    data = folders(tmp_path / "set", count=200)
    checked = Settings(device="cpu", workers=0, protocol="1000-way")
    with pytest.raises(InputError, match="predicts class 4 for each of 200 images"):
        noctule.evaluate(
            named(imagenet_names(), Tench()), data, QUICK, out=tmp_path / "r", settings=checked
        )
    checked = replace(checked, protocol="restricted")
    noctule.evaluate(
        named(imagenet_names(), Tench()), data, QUICK, out=tmp_path / "r", settings=checked
    )


def test_classes_in_another_order_are_brought_into_the_datas(tmp_path: Path) -> None:
    data = folders(tmp_path / "set", ("a", "b", "c", "d"))
    straight = evaluated(named("abcd", Numbered(4)), data, tmp_path / "1", "restricted")
    assert "protocol" not in straight.run.identity.dataset  # it changes nothing
    turned = Numbered(4)
    turned.table = turned.table[:, [2, 0, 3, 1]]
    other = evaluated(named("cadb", turned), data, tmp_path / "2", "4-way")
    assert clean_rows(other) == clean_rows(straight)


def test_numbered_classes(tmp_path: Path) -> None:
    images = np.repeat(np.arange(4, dtype=np.uint8), 16 * 16 * 3).reshape(4, 16, 16, 3)
    data = (images, np.array([3, 5, 0, 5]))
    plain = evaluated(Numbered(9), data, tmp_path / "1", None)
    stated = evaluated(Numbered(9), data, tmp_path / "2", "9-way")
    assert clean_rows(plain) == clean_rows(stated)
    assert stated.run.identity.dataset["name"].endswith(", 9-way")
    with pytest.raises(InputError, match="its classes are numbers, so it is not known"):
        evaluated(Numbered(9), data, tmp_path / "3", "restricted")


def test_protocols_are_never_mixed(tmp_path: Path) -> None:
    data, model = folders(tmp_path / "set"), named(imagenet_names())
    (tmp_path / "map.json").write_text(json.dumps({name: [name] for name in WNIDS}))
    runs = {
        "whole": ("1000-way", None),
        "part": ("restricted", None),
        "map": ("restricted", tmp_path / "map.json"),
    }
    for name, arguments in runs.items():
        evaluated(model, data, tmp_path / name, *arguments)
    small = named(sorted(WNIDS), Numbered(4))
    evaluated(small, data, tmp_path / "small", None)  # has exactly the classes of the data
    groups = grouped(open_runs([tmp_path / name for name in (*runs, "small")]))
    assert [[one.store.folder.name for one in group] for group in groups] == [
        ["whole"], ["part", "small"], ["map"],
    ]  # fmt: skip
    compare(tmp_path / "part", tmp_path / "small")
    for a, b in (("whole", "part"), ("part", "map")):
        with pytest.raises(InputError, match="another protocol"):
            compare(tmp_path / a, tmp_path / b)
    with pytest.raises(InputError, match="same --protocol and --class-map"):
        noctule.evaluate(
            model, data, QUICK, out=tmp_path / "new", reference=tmp_path / "whole",
            settings=settings("restricted"),
        )  # fmt: skip
    with pytest.raises(InputError, match=r"holds another run: .*protocol"):
        evaluated(model, data, tmp_path / "whole", "restricted")


MAP = {"cat": ["tabby", "n02124075"], "tool": [587], "dog": ["Chihuahua"]}


@pytest.mark.parametrize("protocol", ["1000-way", "restricted"])
def test_probabilities_of_superclasses_are_summed(tmp_path: Path, protocol: str) -> None:
    data = folders(tmp_path / "set", ("cat", "dog", "tool"))
    (tmp_path / "map.json").write_text(json.dumps(MAP))
    found = evaluated(
        named(imagenet_names()), data, tmp_path / "run", protocol, tmp_path / "map.json"
    )
    groups = [[281, 285], [151], [587]]
    if protocol == "1000-way":
        groups += [[index] for index in range(1000) if index not in INDICES]
    expect(clean_rows(found), groups, [number % 3 for number in range(IMAGES)])
    record = found.run.identity.dataset
    assert record["name"].endswith(", class map map")
    assert record["protocol"]["num_outputs"] == len(groups)
    assert record["protocol"]["class_map"]["name"] == "map"


def test_images_without_a_class_of_the_model_are_left_out(tmp_path: Path) -> None:
    data = folders(tmp_path / "set", ("cat", "spoon", "tool", "air"))
    (tmp_path / "map.json").write_text(json.dumps({**MAP, "spoon": [], "*": []}))
    found = evaluated(
        named(imagenet_names()), data, tmp_path / "run", "restricted", tmp_path / "map.json"
    )
    rows = clean_rows(found)
    assert {row["image_id"].partition("/")[0] for row in rows} == {"cat", "tool"}
    assert {row["label"] for row in rows} == {0, 1}
    assert found.run.identity.dataset["name"] == (
        "set, 6 of 12 images, restricted to 2 classes, class map map"
    )
    (opened,) = open_runs([tmp_path / "run"])
    assert len(samples._data_of(opened)) == 12  # where a report finds its samples by id


def test_named_maps_evaluate_their_sets(tmp_path: Path) -> None:
    """LAION-C's folders; and of ObjectNet's, those without a class of ImageNet are left out."""
    model = named(imagenet_names())
    laion_c = folders(tmp_path / "a", ("ball", "bird", "boat", "car_truck"))
    found = evaluated(model, laion_c, tmp_path / "1", "restricted", "laion-c")
    assert found.run.identity.dataset["protocol"]["num_outputs"] == 4
    objects = folders(tmp_path / "b", ("air_freshener", "chair", "t-shirt", "wrench"))
    found = evaluated(model, objects, tmp_path / "2", "1000-way", "objectnet")
    assert found.run.identity.dataset["protocol"]["num_outputs"] == 2 + 1000 - 4
    assert found.run.identity.dataset["num_images"] == 6


def test_stored_images_are_scored_alike(tmp_path: Path) -> None:
    data, model = folders(tmp_path / "set"), named(imagenet_names())
    export(QUICK, data, tmp_path / "stored", processes=1)
    live = evaluated(model, data, tmp_path / "1", "restricted")
    stored = evaluate_stored(
        model, tmp_path / "stored", out=tmp_path / "2", settings=settings("restricted")
    )
    assert stored.run.rows().equals(live.run.rows())
    assert stored.run.identity.dataset["protocol"] == live.run.identity.dataset["protocol"]
    (tmp_path / "map.json").write_text(
        json.dumps({name: [name] for name in WNIDS[:3]} | {"*": []})
    )
    with pytest.raises(InputError, match="leaves out 3 images, but stored images must"):
        evaluate_stored(
            model, tmp_path / "stored", out=tmp_path / "3",
            settings=settings("restricted", tmp_path / "map.json"),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("names", "protocol", "class_map", "message"),
    [
        (WNIDS, None, None,
         "has 1000 classes, the data 4. If the .* --protocol 1000-way .* or"),
        (WNIDS, "10-way", None, "is 10-way, and .* has 1000 classes. Use 1000-way, or restr"),
        (WNIDS, "top", None, "'top' is not a protocol. Use restricted, or 1000-way"),
        (WNIDS, None, "laion-c", "class_map: is of use only with a protocol"),
        (("tabby", "goldfishh"), "restricted", None,
         "1 of 2 classes of the data are not classes .* first 'goldfishh'. Did you mean "
         "'goldfish'"),
        (("n01440764", "n99999999"), "1000-way", None, "first 'n99999999'"),
        (("tabby", "n02123045"), "restricted", None,
         "class 281 .* belongs to both 'n02123045' and 'tabby'"),
        (("ball", "cats"), "restricted", "laion-c",
         "class map laion-c: misses 1 of the 2 classes of set, first 'cats'. Did you "
         "mean 'cat'"),
        (("a", "b"), "restricted", "objectnet",
         "class map objectnet: misses 2 of the 2 classes"),
        (("cat", "tool"), "restricted", {**MAP, "tool": ["hammerr"]},
         "1 of 3 classes of the map are not classes .* first 'hammerr'. Did you mean 'hammer'"),
        (("cat", "tool"), "restricted", {**MAP, "tool": [1000]}, "first '1000'"),
        (("cat", "tool"), "restricted", {**MAP, "tool": ["n02123045"]},
         "class 281 .* belongs to both 'cat' and 'tool'"),
        (("crane", "tool"), "restricted", {"crane": ["crane"], "tool": [587]},
         "2 classes named 'crane', with the indices 134, 517"),
    ],
)  # fmt: skip
def test_bad_input(
    tmp_path: Path, names: Any, protocol: Any, class_map: Any, message: str
) -> None:
    """Each is refused before any folder of a run exists."""
    if isinstance(class_map, dict):
        (tmp_path / "map.json").write_text(json.dumps(class_map))
        class_map = tmp_path / "map.json"
    model_names = [*imagenet_names()]
    model_names[134] = model_names[517] = "crane"
    data = folders(tmp_path / "set", names)
    with pytest.raises(InputError, match=message):
        evaluated(named(model_names), data, tmp_path / "run", protocol, class_map)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "record",
    [
        [], {}, {"name": 1, "num_outputs": 4}, {"name": "a", "num_outputs": 0},
        {"name": "a", "num_outputs": "4"}, {"name": "a", "num_outputs": 4, "class_map": 1},
    ],
)  # fmt: skip
def test_records_that_others_have_changed(tmp_path: Path, record: Any) -> None:
    evaluated(
        named(imagenet_names()), folders(tmp_path / "set"), tmp_path / "run", "restricted"
    )
    file = tmp_path / "run" / "run.json"
    data = json.loads(file.read_text())
    data["dataset"]["protocol"] = record
    file.write_text(json.dumps(data))
    with pytest.raises(InputError, match="is not a run's record"):
        RunStore.open(tmp_path / "run")


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    folders(tmp_path / "set")
    (tmp_path / "one.toml").write_text(
        'name = "one"\ntitle = "One"\nsource = "a test"\ncorruptions = ["contrast"]\n'
        'severities = [1]\nmetric = "mean_error"\n'
    )
    command = ["evaluate", "test_protocols:Numbered", "set", "-b", "one.toml", "--workers", "0"]
    status, out, err = run(monkeypatch, capsys, *command, "--protocol", "restricted")
    assert status == 0, err
    assert "Numbered on set, restricted to 4 classes, One" in out
    status, _, err = run(monkeypatch, capsys, *command, "--protocol", "some")
    assert (status, "Traceback" in err) == (2, False)
    assert "'some' is not a protocol" in err
    status, _, err = run(monkeypatch, capsys, *command, "--class-map", "laion-c")
    assert status == 2
    assert "Add --protocol restricted" in err
