"""Frost: the sheets of ice, the declared photographs, and the released code's composition."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from corruption_cases import of_image, sample_images
from noctule.corruptions import CORRUPTIONS, corrupt
from noctule.corruptions.imagenet_c import frost as frost_file
from noctule.corruptions.imagenet_c import textures
from noctule.corruptions.imagenet_c.ice import QUANTILES, SHEETS, ice
from noctule.corruptions.imagenet_c.textures import FROST, Texture, load_texture
from noctule.errors import InputError

FROST_C = CORRUPTIONS["frost"]
CIFAR = {
    "image_share": (1, 1, 0.9, 0.85, 0.75),
    "frost_share": (0.2, 0.3, 0.4, 0.4, 0.45),
    "texture_scale": (1.4, 1.4, 1.4, 1.4, 1.4),
}


# ------------------------------------------------------------------------------ the photographs


def folder_of_photographs() -> Path:
    """The installed package that has them."""
    spec = importlib.util.find_spec("imagecorruptions")
    assert spec is not None, "`make setup` installs imagecorruptions"
    assert spec.origin is not None
    return Path(spec.origin).parent / "frost"


def released(image: NDArray[np.uint8], share: float, scale: float, drawn: Any) -> NDArray[Any]:
    """The released programs', for 224, 32 and 64 px, from their three random numbers."""
    number = drawn["place"].whole(0, 0, 4)
    photograph = cv2.imread(str(folder_of_photographs() / FROST[number].name))
    if scale != 1:
        photograph = cv2.resize(photograph, (0, 0), fx=scale, fy=scale)
    _, height, width = image.shape
    row, column = (
        drawn["place"].whole(
            1, 0, photograph.shape[axis] - image.shape[1 + axis] - 1, which=axis
        )
        for axis in (0, 1)
    )
    window = photograph[row : row + height, column : column + width, ::-1].transpose(2, 0, 1)
    return np.clip(share * image + drawn["frost_share"] * window, 0, 255)


@pytest.mark.parametrize(
    ("side", "scale", "severity"), [(224, 1, 3), (32, 0.2, 5), (64, 0.3, 1)]
)
def test_published_is_the_released_programs(side: int, scale: float, severity: int) -> None:
    texture_scale = scale * 224 / side
    frost = FROST_C.with_tables({"texture_scale": (texture_scale,) * 5}).in_mode("released")
    images = sample_images(12, side, side)
    result = frost(images, ids=range(12), severity=severity).numpy()
    drawn = frost.sample(range(len(images)), severity=severity)
    assert len({of_image(drawn, n)["place"].whole(0, 0, 4) for n in range(len(images))}) == 5
    for number, image in enumerate(images.numpy()):
        one = of_image(drawn, number)
        expected = released(image, one["image_share"], scale, one).astype(np.uint8)
        distance = np.abs(result[number].astype(int) - expected)
        assert distance.max() <= 1
        # The weights of cv2.resize have 11 bits.
        assert (distance > 0).mean() <= (0 if scale == 1 else 0.05)


def test_published_never_draws_the_sixth(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def loaded(texture: Texture, device: torch.device) -> torch.Tensor:
        seen.append(texture.name)
        return load_texture(texture, device)

    monkeypatch.setattr(frost_file, "load_texture", loaded)
    black = torch.zeros(200, 3, 16, 16, dtype=torch.uint8)
    frost = FROST_C.in_mode("released")
    frost.apply_kernel(black, frost.draw(range(200), 0, None))
    counts = {texture.name: seen.count(texture.name) for texture in FROST}
    assert counts.pop("frost6.jpg") == 0
    assert min(counts.values()) > 20  # 40 ± 6


@pytest.mark.parametrize("size", [(300, 1000), (1000, 300), (700, 700)])
def test_published_covers_large_images(size: tuple[int, int]) -> None:
    black = torch.zeros(8, 3, *size, dtype=torch.uint8)
    result = FROST_C.in_mode("released")(black, ids=range(len(black)), frost_share=1.0)
    assert (result.double().mean(dim=(1, 2, 3)) > 60).all()  # as dark as the darkest is bright


def test_a_photograph_is_loaded_once() -> None:
    assert load_texture(FROST[0]) is load_texture(FROST[0])


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Neither a folder nor a package has the photographs."""
    monkeypatch.delenv(textures.ENVIRONMENT, raising=False)
    monkeypatch.setattr(textures, "PACKAGES", ("no_such_package",))
    textures._load.cache_clear()
    yield monkeypatch
    textures._load.cache_clear()


@pytest.mark.usefixtures("nowhere")
def test_without_photographs_there_is_frost() -> None:
    assert not FROST_C(sample_images(2, 32, 32)).equal(sample_images(2, 32, 32))


@pytest.mark.usefixtures("nowhere")
def test_without_photographs_published_names_the_remedies() -> None:
    with pytest.raises(InputError, match=r"frost[1-5].*is missing.*no_such_package") as caught:
        FROST_C.in_mode("released")(sample_images(2, 32, 32))
    for part in ("NOCTULE_TEXTURES", "pip install --no-deps imagecorruptions", "paper"):
        assert part in str(caught.value)


def test_a_folder_of_ones_own(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = sample_images(5, 32, 32)
    nowhere.setenv(textures.ENVIRONMENT, str(tmp_path))
    with pytest.raises(InputError, match="cannot be read: No such file"):
        FROST_C.in_mode("released")(images, ids=range(len(images)))
    for texture in FROST:
        shutil.copy(folder_of_photographs() / texture.name, tmp_path)
    found = FROST_C.in_mode("released")(images, ids=range(len(images)))
    nowhere.undo()
    assert FROST_C.in_mode("released")(images, ids=range(len(images))).equal(found)


def test_another_file_is_refused(nowhere: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for texture in FROST:
        (tmp_path / texture.name).write_bytes(b"frost")
    nowhere.setenv(textures.ENVIRONMENT, str(tmp_path))
    with pytest.raises(InputError, match=r"frost\d.* is not the frost\d.*SHA-256") as caught:
        FROST_C.in_mode("released")(sample_images(1, 32, 32))
    assert str(tmp_path) in str(caught.value)


# -------------------------------------------------------------------------------------- the ice


def octaves(brightness: NDArray[np.float64]) -> NDArray[np.float64]:
    """The standard deviations of seven octaves, from the finest, away from the borders."""
    window = np.outer(*(np.hanning(length) for length in brightness.shape))
    plane = (brightness - (brightness * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fft2(plane)) ** 2 / (window**2).sum() / plane.size
    rows, columns = (np.fft.fftfreq(length) for length in plane.shape)
    frequency = np.hypot(rows[:, None], columns)
    below = [power[frequency < 2.0**-k].sum() for k in range(2, 9)]
    return np.sqrt(-np.diff([power.sum(), *below]))


@pytest.mark.parametrize("number", range(6))
def test_a_sheet_has_the_tones_and_octaves_of_a_photograph(number: int) -> None:
    sheet = ice(number).astype(float)
    photograph = load_texture(FROST[number]).permute(1, 2, 0).double().numpy()
    assert sheet.mean(axis=(0, 1)) == pytest.approx(photograph.mean(axis=(0, 1)), abs=3)
    ours, theirs = sheet.mean(axis=2), photograph.mean(axis=2)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.05)
    tones = np.quantile(ours, QUANTILES)
    assert tones == pytest.approx(np.quantile(theirs, QUANTILES), abs=4)
    assert tones == pytest.approx(SHEETS[number].tones, abs=4)
    ratio = octaves(ours) / octaves(theirs)
    assert ratio.min() > 0.5
    assert ratio.max() < 1.6


@pytest.mark.parametrize("number", range(6))
def test_a_sheet_has_no_seam(number: int) -> None:
    sheet = ice(number).astype(float)
    for axis in (0, 1):
        steps = np.abs(np.diff(sheet, axis=axis, append=sheet.take([0], axis)))
        along = steps.mean(axis=(1 - axis, 2))
        assert along[-1] < along.mean() + 4 * along.std()
        assert along[-1] > along.mean() - 4 * along.std()


def test_sheets_differ_and_cannot_be_written_to() -> None:
    assert len({ice(number).tobytes() for number in range(6)}) == 6
    assert ice(1) is ice(1)
    with pytest.raises(ValueError, match="read-only"):
        ice(1)[0, 0] = 0


def test_the_frost_of_black_images_is_all_six_sheets() -> None:
    black = torch.zeros(300, 3, 224, 224, dtype=torch.uint8)
    colors = (
        corrupt(black, "frost", ids=range(len(black)), frost_share=1.0)
        .double()
        .mean(dim=(2, 3))
    )
    means = torch.tensor(np.stack([ice(number).mean(axis=(0, 1)) for number in range(6)]))
    distinct = means[[0, 1, 3, 4, 5]]  # two sheets have the tones of one photograph
    nearest = torch.cdist(colors, distinct).argmin(dim=1).bincount()
    # 50 of each, and 100 of the two; some windows are brighter than their sheet.
    assert nearest.tolist() == pytest.approx([50, 100, 50, 50, 50], abs=25)


# ------------------------------------------------------------------------------ the composition


@pytest.mark.parametrize("scale", [0.05, 0.3, 4.0])
@pytest.mark.parametrize("mode", ["paper", "released"])
def test_the_scales_one_may_set(mode: Any, scale: float) -> None:
    images = sample_images(4, 48, 80)
    result = corrupt(images, "frost", ids=range(len(images)), mode=mode, texture_scale=scale)
    assert not result.equal(images)
    one = corrupt(images[2:3], "frost", ids=[2], mode=mode, texture_scale=scale)
    assert one[0].equal(result[2])


def test_a_shrunk_texture_is_rougher() -> None:
    """At 224 px the scale is the texture's own; a third of it shows three times as much."""
    black = torch.zeros(32, 3, 224, 224)
    rough, smooth = (
        corrupt(black, "frost", ids=range(len(black)), texture_scale=scale, frost_share=1.0)
        .diff(dim=3)
        .abs()
        .mean()
        for scale in (0.33, 2.0)
    )
    assert rough > 2 * smooth


def test_the_tables_of_cifar() -> None:
    images = sample_images(5, 32, 32)
    cifar = FROST_C.with_tables(CIFAR)
    change = [
        (cifar(images, ids=range(len(images)), severity=k).double() - images).abs().mean()
        for k in (1, 3)
    ]
    assert 5 < change[0] < change[1]


def test_on_one_channel_it_is_the_luma() -> None:
    grey = sample_images(4, 48, 48, channels=1, dtype=torch.float32)
    colored = corrupt(
        grey.expand(-1, 3, -1, -1),
        "frost",
        ids=range(len(grey)),
        image_share=0.2,
        frost_share=0.5,
    )
    weights = torch.tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    expected = (colored * weights).sum(dim=1, keepdim=True) + 0.2 * grey * (1 - weights.sum())
    result = corrupt(grey, "frost", ids=range(len(grey)), image_share=0.2, frost_share=0.5)
    assert torch.allclose(result, expected, atol=1e-5)
