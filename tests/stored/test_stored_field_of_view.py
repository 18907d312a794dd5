"""Clean images that show another part of the scene than the stored ones are noticed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import noctule
from noctule.benchmarks import Benchmark
from noctule.data import open_dataset
from noctule.data.sources.photo_patches import CLASS_NAMES, photograph
from noctule.errors import NoctuleWarning
from noctule.models import Preprocessing
from noctule.stored import StoredSet, open_stored
from noctule.stored.field_of_view import warn_if_fields_of_view_differ

SIDE = 64
# 256 / 224 of the side, as the authors of ImageNet-C did it.
PUBLISHED = Preprocessing(resize_px=73, crop_px=(SIDE, SIDE))
WAYS = {
    "published": PUBLISHED,
    "whole": Preprocessing(resize_px=SIDE, crop_px=(SIDE, SIDE)),
    "squeezed": Preprocessing(resize_px=(SIDE, SIDE)),
    "nearly whole": Preprocessing(resize_px=66, crop_px=(SIDE, SIDE)),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded photographs in two class folders, at a third of their size."""
    folder = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(CLASS_NAMES):
        place = folder / f"n0{number % 2}"
        place.mkdir(exist_ok=True)
        photograph(name).reduce(3).save(place / f"{name}.png")
    return folder


def write_set(photos: Path, folder: Path, way: Preprocessing, corruption: str) -> StoredSet:
    """A set as others publish them: made of the photographs in one way, one corruption."""
    data = open_dataset(photos)
    benchmark = Benchmark(
        name="b",
        title="b",
        source="tests",
        corruptions=(corruption,),
        severities=(1, 2, 3, 4, 5),
    )
    for severity in benchmark.severities or ():
        for index, image_id in enumerate(data.ids):
            image = way.prepare(data.read(index))[None]
            made = noctule.corrupt(image, corruption, severity=severity, ids=[image_id])[0]
            name = noctule.CORRUPTIONS[corruption].published_name
            path = folder / name / str(severity) / image_id
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made.permute(1, 2, 0).numpy()).save(path)
    return open_stored(folder, benchmark, data)


def told(stored: StoredSet, model: Preprocessing) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        present = Preprocessing(crop_px=(SIDE, SIDE))
        warn_if_fields_of_view_differ(stored, model, present)
    assert all(one.category is NoctuleWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("way", ["published", "whole", "squeezed"])
@pytest.mark.parametrize("corruption", ["gaussian_noise", "brightness_c", "defocus_blur"])
def test_only_another_crop_is_warned_of(
    photos: Path, tmp_path: Path, way: str, corruption: str
) -> None:
    stored = write_set(photos, tmp_path / "set", WAYS[way], corruption)
    assert told(stored, WAYS[way]) == []
    for other, model in WAYS.items():
        # A crop of 97 % and the whole are nearly the same part of a scene.
        if other != way and {other, way} != {"whole", "nearly whole"}:
            (message,) = told(stored, model)
            assert "cropped otherwise than the stored images" in message
            assert ("--resize 73 --crop 64" in message) == (way == "published")


class Plain(nn.Module):
    """Two logits of nothing."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 2)


def test_evaluation_says_so(photos: Path, tmp_path: Path) -> None:
    stored = write_set(photos, tmp_path / "set", PUBLISHED, "gaussian_noise")
    model = noctule.load_classifier(Plain(), preprocessing=WAYS["nearly whole"])
    with pytest.warns(NoctuleWarning, match="cropped otherwise than the stored images"):
        noctule.evaluate_stored(
            model,
            tmp_path / "set",
            stored.benchmark,
            data=photos,
            out=tmp_path / "run",
            settings=noctule.Settings(device="cpu", workers=0, self_check=False),
        )


def test_clean_images_of_the_stored_size_are_not_warned_of(
    photos: Path, tmp_path: Path
) -> None:
    stored = write_set(photos, tmp_path / "set", PUBLISHED, "gaussian_noise")
    data = open_dataset(photos)
    for index, image_id in enumerate(data.ids):
        path = tmp_path / "clean" / image_id
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = PUBLISHED.prepare(data.read(index)).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(path)
    again = open_stored(tmp_path / "set", stored.benchmark, open_dataset(tmp_path / "clean"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_fields_of_view_differ(again, Preprocessing(), Preprocessing())
