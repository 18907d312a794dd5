"""A wrong set-up is found before the run, with both accuracies; honest models pass."""

from __future__ import annotations

import importlib.util
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.evaluation.checks import check_classes, check_run
from noctule.evaluation.checks.renaming import EAGER, _best
from noctule.evaluation.checks.sample import Viewer
from noctule.evaluation.checks.variants import VariantComparison, compare, variants_of
from noctule.evaluation.loop import evaluate
from noctule.evaluation.settings import Settings
from noctule.models import load_classifier
from noctule.models.classifier import make_classifier
from noctule.stored import evaluate_stored, export
from repository import ROOT

Pair = tuple[NDArray[np.uint8], NDArray[np.int64]]
QUICK = Benchmark(
    name="quick", title="Quick", source="tests", corruptions=("shear",), severities=(1,)
)
ALONE = Settings(device="cpu", workers=0)


class Red(nn.Module):
    """Class k is the k-th shade of red."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, images: Tensor) -> Tensor:
        red = images[:, 0].mean((1, 2))[:, None] * self.classes - 0.5
        return -20 * (red - torch.arange(self.classes)).square()


class Then(nn.Module):
    """A network, and a function of its logits."""

    def __init__(self, network: nn.Module, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.function = network, function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(self.network(images))


class First(Then):
    """A function of the images, and a network."""

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.function(images))


def shades(classes: int, per_class: int = 4) -> Pair:
    labels = np.repeat(np.arange(classes), per_class)
    images = np.zeros((len(labels), 16, 16, 3), np.uint8)
    images[..., 0] = ((labels + 0.5) / classes * 255).astype(np.uint8)[:, None, None]
    return images, labels


def folders(root: Path, names: Sequence[str], data: Pair) -> Path:
    for number, (image, label) in enumerate(zip(*data, strict=True)):
        (root / names[label]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / names[label] / f"{number}.png")
    return root


def check(network: nn.Module, data: Any, batch_size: int = 32) -> None:
    classifier, dataset = load_classifier(network), open_dataset(data)

    def logits(images: Tensor, preprocessing: noctule.Preprocessing) -> Tensor:
        with torch.no_grad():
            result: Tensor = classifier.module(preprocessing.normalise(images))
        return result

    check_run(classifier, dataset, logits, batch_size=batch_size, on_unreadable="stop")


# Order of classes


@pytest.mark.parametrize("form", ["{}", "class_{}", "{} (photos)"])
def test_folders_in_numeric_order_are_found(tmp_path: Path, form: str) -> None:
    """Sorted as text, 0 and 1 of 12 keep their index: 2 of 12 are right, 16.7 %."""
    names = [form.format(number) for number in range(12)]
    folder = folders(tmp_path, names, shades(12))
    message = r"16\.7 % on 48 images, and 100\.0 % if 10 classes are moved.*leading zeros"
    with pytest.raises(noctule.InputError, match=message):
        check(Red(12), folder)


def test_folders_in_alphabetical_order_are_left_alone(tmp_path: Path) -> None:
    names = sorted(str(number) for number in range(12))
    check(Red(12), folders(tmp_path, names, shades(12)))


def test_names_in_a_labels_file_are_found(tmp_path: Path) -> None:
    images, labels = shades(12)
    folder = folders(tmp_path / "images", ["."] * 12, (images, labels))
    file = tmp_path / "labels.csv"
    file.write_text("".join(f"{k}.png,class_{label}\n" for k, label in enumerate(labels)))
    with pytest.raises(noctule.InputError, match="numeric order"):
        check(Red(12), open_dataset(folder, labels_file=file))


def test_labels_from_1_are_found() -> None:
    images, labels = shades(12)
    keep = labels < 11
    with pytest.raises(noctule.InputError, match=r"0\.0 % on 44 images.*off by one"):
        check(Red(12), (images[keep], labels[keep] + 1))


@pytest.mark.parametrize(
    ("classes", "moved", "per_class"),
    [(4, 2, 4), (2, 2, 8), (10, 2, 30), (100, 90, 3), (100, 10, 20), (300, 300, 4)],
)
def test_exchanged_classes_are_found(classes: int, moved: int, per_class: int) -> None:
    images, labels = shades(classes, per_class)
    # Shades of 300 classes are not all different in 8 bits: two channels hold the number.
    images[..., 0], images[..., 1] = (labels // 16)[:, None, None], (labels % 16)[:, None, None]
    given = np.arange(classes)
    some = np.random.default_rng(0).permutation(classes)[:moved]
    given[some] = np.roll(some, 1)

    def read(images: Tensor) -> Tensor:
        high, low = (images[:, :2].amax((2, 3)) * 255).round().long().unbind(1)
        numbers = (16 * high + low).clamp(0, classes - 1)
        return nn.functional.one_hot(numbers, classes) * 20.0 - 1

    with pytest.raises(noctule.InputError, match=r"and 100\.0 % if \d+ classes are moved"):
        check(Then(nn.Identity(), read), (images, given[labels]))


def test_memory_does_not_grow_with_the_classes() -> None:
    """A table of 21,843 × 21,843 counts would take 3.8 GB."""
    random = np.random.default_rng(0)
    labels, predictions = random.integers(0, 21_843, (2, 1024))
    tracemalloc.start()
    _best(labels, predictions, EAGER)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6


# Form of the images


INPUTS = {
    "as BGR": lambda images: images.flip(1),
    "in 0 to 255": lambda images: images / 255,
    "in \\[-1, 1\\]": lambda images: (images + 1) / 2,
    "in \\[-2, 2\\]": lambda images: images / 4 + 0.5,
}
"""What the network does to its input before the shipped classifier, which normalises itself."""


@pytest.fixture(scope="module")
def patches() -> Pair:
    """A quarter of photo-patches."""
    data = open_dataset("photo-patches")
    chosen = range(len(data) // 4)
    return np.stack([np.array(data.read(index)) for index in chosen]), data.labels[chosen]


@pytest.fixture(scope="module")
def shipped() -> nn.Module:
    """The shipped network, with its normalisation inside."""
    classifier = load_classifier("photo-patches")
    return First(classifier.module, classifier.preprocessing.normalise)


@pytest.mark.parametrize("description", list(INPUTS))
def test_images_in_another_form_are_found(
    shipped: nn.Module, patches: Pair, description: str
) -> None:
    network = First(shipped, INPUTS[description])
    with pytest.raises(noctule.InputError, match=rf"% if they reach the network {description}"):
        check(network, patches)


def test_images_normalised_twice_are_found(
    tmp_path: Path, shipped: nn.Module, patches: Pair
) -> None:
    preprocessing = load_classifier("photo-patches").preprocessing
    twice = load_classifier(shipped, preprocessing=preprocessing)
    with pytest.raises(noctule.InputError, match=r"9\d\.\d % if they reach .* without"):
        evaluate(twice, patches, QUICK, out=tmp_path / "run", settings=ALONE)


@pytest.mark.parametrize(
    ("given", "reached", "fits_better", "is_clear"),
    [
        (0.05, 0.90, True, True),
        (0.60, 0.70, True, True),  # a quarter of the errors
        (0.207, 0.483, True, False),  # 35 % of the errors, of a network trained for 5 steps
        (0.555, 0.705, False, False),  # more contrast, and 4 times the cross-entropy
    ],
)
def test_a_form_that_suits_a_weak_network_is_no_finding(
    given: float, reached: float, fits_better: bool, is_clear: bool
) -> None:
    variant = variants_of(noctule.Preprocessing())[0]
    found = VariantComparison(variant, given, reached, 1e-9, fits_better, 1024)
    assert found.is_clear == is_clear


def test_the_cross_entropy_of_another_form_is_looked_at() -> None:
    """Of two networks that see red in [0, 1], the second is not sure of what it sees."""

    def logits(images: Tensor, preprocessing: noctule.Preprocessing) -> Tensor:
        return (
            40 * images[:, :2].float().mean((2, 3)) / 255
            if preprocessing.std[0] == 1
            else (torch.zeros(len(images), 2))
        )

    images = np.zeros((40, 16, 16, 3), np.uint8)
    images[:20, ..., 0] = images[20:, ..., 1] = 255
    dataset = open_dataset((images, np.repeat([0, 1], 20)))
    viewer = Viewer(load_classifier(Red(2)), dataset, logits, 8, "stop")
    given = viewer.answers(np.arange(40))
    other = compare(viewer, given, variants_of(viewer.classifier.preprocessing)[0])
    assert (other.accuracy, other.fits_better) == (0.5, False)


def test_the_shipped_network_passes(shipped: nn.Module, patches: Pair) -> None:
    check(shipped, patches)


class Green(nn.Module):
    """Class k is the k-th shade of green."""

    def forward(self, images: Tensor) -> Tensor:
        green = images[:, 1].mean((1, 2))[:, None] * 16 - 0.5
        return -20 * (green - torch.arange(16)).square()


def test_guessing_is_found_on_more_images_if_some_leave_a_doubt() -> None:
    """4 of 64 images of each class are right, among them the first of the 16 looked at.

    P(at most 16 of 256, at 12.5 %) = 0.0008, which is no proof.
    """
    turns, labels = np.tile(np.arange(64), 16), np.repeat(np.arange(16), 64)
    predicted = np.where(turns < 4, labels, (labels + 1 + turns % 15) % 16)
    images = np.zeros((1024, 16, 16, 3), np.uint8)
    images[..., 1] = ((predicted + 0.5) / 16 * 255).astype(np.uint8)[:, None, None]
    with pytest.raises(noctule.InputError, match=r"6\.2 % on 1024 images, hardly above"):
        check(Green(), (images, labels))


@pytest.mark.parametrize("network", [Green(), Red(16)])
def test_a_constant_answer_is_said_to_be_one(network: nn.Module) -> None:
    """Not that the classes are in another order, which no renaming could show here."""
    images, labels = shades(16, per_class=8)
    with pytest.raises(noctule.InputError, match="predicts class 0 for each of 128 images"):
        check(network, (np.zeros_like(images), labels))


# Outputs


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (lambda logits: (9 * logits).softmax(1), "softmax"),
        (lambda logits: (9 * logits).softmax(1).bfloat16().float(), "softmax"),
        (lambda logits: (logits / 10 + 2).sigmoid(), "sigmoid"),
    ],
)
def test_probabilities_are_refused(function: Callable[[Tensor], Tensor], kind: str) -> None:
    with pytest.raises(noctule.InputError, match=f"those of a {kind} do: taken for logits"):
        check(Then(Red(4), function), shades(4, 10))


@pytest.mark.parametrize(
    "function",
    [
        lambda logits: logits,
        lambda logits: logits.log_softmax(1),
        lambda logits: logits - logits.amin(),
        # In [0, 1] by chance, but not as sure as probabilities would be.
        lambda logits: logits.softmax(1) / 4 + 0.5,
    ],
)
def test_logits_pass(function: Callable[[Tensor], Tensor]) -> None:
    check(Then(Red(4), function), shades(4, 10))


@pytest.mark.slow
def test_networks_before_training_are_not_taken_for_probabilities() -> None:
    """Their outputs may lie in [0, 1] all by accident: 2 classes and a bias suffice."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    data = (random.integers(0, 256, (64, 16, 16, 3), dtype=np.uint8), np.arange(64) % 2)
    networks = [
        nn.Sequential(nn.Flatten(), nn.Linear(768, 32), nn.ReLU(), nn.Linear(32, 2))
        for _ in range(100)
    ]
    inputs = open_dataset(data)
    messages = [error for one in networks if (error := problem(one, inputs))]
    assert not [one for one in messages if "logits" in one]
    with torch.no_grad():
        outputs = [one(torch.from_numpy(data[0]).permute(0, 3, 1, 2) / 255) for one in networks]
    assert sum(bool((one >= 0).all() and (one <= 1).all()) for one in outputs) > 2


def problem(network: nn.Module, data: noctule.Dataset) -> str | None:
    try:
        check(network, data)
    except noctule.InputError as error:
        return str(error)
    return None


# Number of classes and their names: always


def wnid_folders(root: Path, count: int) -> Path:
    return folders(root, [f"n{1440764 + k:08d}" for k in range(count)], shades(count, 2))


@pytest.mark.parametrize("thorough", [True, False])
def test_some_of_the_classes_are_refused(tmp_path: Path, thorough: bool) -> None:
    folder = wnid_folders(tmp_path / "val", 19)
    settings = Settings(device="cpu", workers=0, self_check=thorough)
    with pytest.raises(noctule.InputError, match="has 1000 classes, the data 19"):
        evaluate(Red(1000), folder, QUICK, out=tmp_path / "run", settings=settings)


def named(names: Sequence[str]) -> noctule.Classifier:
    return make_classifier(
        Red(len(names)),
        noctule.Preprocessing(),
        name="m",
        architecture="red",
        weights="none",
        class_names=tuple(names),
        num_classes=len(names),
    )


def data_named(names: Sequence[str]) -> noctule.Dataset:
    from noctule.data.sources.arrays import ArrayDataset

    return ArrayDataset("d", *shades(len(names), 1), class_names=names)


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (["cat", "dog", "emu"], ["cat", "emu", "dog"]),
        (["Cat, kitten", "brown_bear", "emu"], ["cat", "dodo", "brown bear"]),
        (["1", "10", "2"], ["1", "2", "10"]),
    ],
)
def test_names_at_other_indices_are_refused(data: list[str], model: list[str]) -> None:
    with pytest.raises(noctule.InputError, match="names differ in their index"):
        check_classes(named(model), data_named(data))


@pytest.mark.parametrize(
    ("data", "model"),
    [
        (["cat", "dog"], ["CAT", "dog"]),
        (["automobile", "dog"], ["car", "dog"]),
        (["0", "1"], ["cat", "dog"]),
        (["chat", "chien"], ["cat", "dog"]),
        (["001.Black_footed_Albatross", "002.Emu"], ["Black-footed albatross", "emu"]),
    ],
)
def test_names_that_agree_or_cannot_be_compared_pass(data: list[str], model: list[str]) -> None:
    check_classes(named(model), data_named(data))


def test_other_wordnet_ids_are_refused_for_a_model_of_imagenet() -> None:
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    data = data_named([f"n{10_000_000 + k}" for k in range(1000)])
    with pytest.raises(noctule.InputError, match="are not the 1000 of ImageNet-1k"):
        check_classes(named(_IMAGENET_CATEGORIES), data)


# How the model is shown images


def test_a_network_for_batches_of_one_size_is_evaluated(tmp_path: Path) -> None:
    class Four(Red):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images.reshape(4, 3, 16, 16))

    settings = Settings(device="cpu", batch_size=4)
    found = evaluate(Four(4), shades(4, 100), QUICK, out=tmp_path / "run", settings=settings)
    assert found.scores.of("error", "clean").value == 0.0


@pytest.mark.parametrize(("images", "batch_size"), [(1000, 7), (1000, 300), (30, 7)])
def test_batches_are_those_of_the_evaluation(images: int, batch_size: int) -> None:
    """Full, but for the last of all images."""
    sizes = []

    class Counting(Red):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return super().forward(images)

    check(Counting(10), shades(10, images // 10), batch_size)
    assert set(sizes) == ({7, 2} if images == 30 else {batch_size})


def test_stored_images_are_looked_at_too(tmp_path: Path) -> None:
    images, labels = shades(4, 10)
    export(QUICK, (images, labels), tmp_path / "right", processes=1)
    export(QUICK, (images, np.array([1, 0, 2, 3])[labels]), tmp_path / "wrong", processes=1)
    found = evaluate_stored(Red(4), tmp_path / "right", out=tmp_path / "a", settings=ALONE)
    assert found.scores.of("error", "clean").value == 0.0
    with pytest.raises(noctule.InputError, match=r"50\.0 % on 40 images, and 100\.0 % if"):
        evaluate_stored(Red(4), tmp_path / "wrong", out=tmp_path / "b", settings=ALONE)
    unchecked = Settings(device="cpu", workers=0, self_check=False)
    with pytest.raises(noctule.InputError, match="has 3 classes, the data 4"):
        evaluate_stored(Red(3), tmp_path / "right", out=tmp_path / "c", settings=unchecked)


# Simulations; scripts/self_check.py is longer


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = ROOT / "scripts" / "self_check.py"
    spec = importlib.util.spec_from_file_location("self_check_simulation", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_honest_weak_models_pass(simulation: ModuleType) -> None:
    """At 1 of 1,000, more than 1 alarm in 115 runs has a probability of 0.006."""
    alarms = []
    for family in simulation.HONEST:
        random = np.random.default_rng(1)
        alarms += [simulation.message(family, random) for _ in range(5)]
    assert len([text for text in alarms if text is not None]) <= 1, alarms


def test_exchanged_classes_of_weaker_models_stop_the_run(simulation: ModuleType) -> None:
    """But for two families of which some pass: 16 images, and a tenth of 1,000 classes."""
    for family in simulation.WRONG:
        if "16 images" not in family.name and "100 exchanged" not in family.name:
            assert simulation.message(family, np.random.default_rng(1)), family.name
