"""Corruptions in a pipeline of albumentations."""

from __future__ import annotations

import pickle
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

import noctule
from corruption_cases import sample_images
from noctule.errors import InputError
from noctule.transforms import Corrupt, RandomCorruption
from noctule.transforms.albumentations import ForAlbumentations

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = sample_images(1, 48, 64, channels=3)[0].permute(1, 2, 0).numpy().copy()
MASK = np.zeros((48, 64), np.uint8)
MASK[12:30, 20:45] = 1


def pipeline(*transforms: Any, seed: int | None = 0, **options: Any) -> A.Compose:
    return A.Compose([ForAlbumentations(t) for t in transforms], seed=seed, **options)


def test_the_image_is_the_corruption() -> None:
    transform = Corrupt("rain", 3, seed=5)
    result = pipeline(transform)(image=IMAGE)["image"]
    wanted = noctule.corrupt(IMAGE, "rain", severity=3, seed=5)
    assert result.dtype == np.uint8
    assert (result == wanted).all()


def test_floats_and_grey_images() -> None:
    transform = Corrupt("shear", 3, seed=5)
    floats = pipeline(transform)(image=(IMAGE / 255).astype(np.float32))["image"]
    assert floats.dtype == np.float32
    grey = pipeline(transform)(image=np.ascontiguousarray(IMAGE[:, :, 0]))["image"]
    assert grey.shape == (48, 64)


def test_the_seed_of_the_pipeline_decides() -> None:
    def images(seed: int) -> list[np.ndarray]:
        made = pipeline(RandomCorruption(["gaussian_noise", "shear"], p=1), seed=seed)
        return [made(image=IMAGE)["image"] for _ in range(3)]

    first, again, other = images(1), images(1), images(2)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not (first[0] == first[1]).all()
    assert not (first[0] == other[0]).all()
    state = torch.get_rng_state()
    images(1)
    assert torch.get_rng_state().equal(state)  # not PyTorch's numbers


@pytest.mark.parametrize("name", ["translation", "shear", "rotation", "elastic"])
def test_masks_boxes_and_key_points_follow(name: str) -> None:
    made = pipeline(
        Corrupt(name, 2),
        bbox_params=A.BboxParams(format="pascal_voc", label_fields=["labels"]),
        keypoint_params=A.KeypointParams(format="xy", remove_invisible=True),
    )
    seen = 0
    for _ in range(8):
        result = made(
            image=np.repeat(MASK[:, :, None], 3, axis=2) * 255, mask=MASK,
            bboxes=[[20, 12, 45, 30]], labels=["cat"], keypoints=[(32.0, 20.0)],
        )  # fmt: skip
        shown = result["image"][:, :, 0] >= 128
        assert (shown == result["mask"]).mean() > 0.99
        assert result["mask"].dtype == np.uint8
        if not shown.any():
            assert len(result["bboxes"]) == len(result["labels"]) == 0
            continue
        seen += 1
        rows, columns = shown.any(1).nonzero()[0], shown.any(0).nonzero()[0]
        wanted = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(np.array(result["bboxes"][0]) - wanted).max() <= 1
        for x, y in result["keypoints"]:
            assert shown[int(y), int(x)]
    assert seen >= 4


def test_others_leave_them() -> None:
    made = pipeline(
        Corrupt("rain", 5), bbox_params=A.BboxParams(format="pascal_voc", label_fields=[])
    )
    result = made(image=IMAGE, mask=MASK, bboxes=[[20, 12, 45, 30]])
    assert (result["mask"] == MASK).all()
    assert np.allclose(result["bboxes"], [[20, 12, 45, 30]], atol=1e-4)
    assert not (result["image"] == IMAGE).all()


def test_masks_with_channels() -> None:
    several = np.stack([MASK, 2 * MASK], axis=2)
    made = pipeline(Corrupt("rotation", 3, seed=1))
    result = made(image=IMAGE, mask=several)["mask"]
    single = made(image=IMAGE, mask=MASK)["mask"]
    assert (result == np.stack([single, 2 * single], axis=2)).all()


def test_further_targets_follow_and_images_are_corrupted_alike() -> None:
    made = pipeline(
        Corrupt("rotation", 3, seed=1), additional_targets={"second": "mask", "other": "image"}
    )
    wanted = made(image=IMAGE, mask=MASK)
    assert not (wanted["mask"] == MASK).all()
    result = made(image=IMAGE, second=MASK, other=IMAGE)
    assert (result["second"] == wanted["mask"]).all()
    assert (result["other"] == wanted["image"]).all()
    images = made(images=np.stack([IMAGE, IMAGE]))["images"]
    assert (images == wanted["image"]).all()
    with pytest.raises(InputError, match="NoneType"):
        made(volume=np.stack([IMAGE, IMAGE]))


def test_a_recorded_pipeline_can_be_pickled_and_replayed() -> None:
    recorded = A.ReplayCompose([ForAlbumentations(Corrupt("shear", 3))])
    result = pickle.loads(pickle.dumps(recorded(image=IMAGE, mask=MASK)))
    again = A.ReplayCompose.replay(result["replay"], image=IMAGE, mask=MASK)
    assert (again["image"] == result["image"]).all()
    assert (again["mask"] == result["mask"]).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int16, np.float64, np.bool_])
def test_masks_of_every_dtype(dtype: type) -> None:
    made = pipeline(Corrupt("rotation", 3, seed=1))
    result = made(image=IMAGE, mask=MASK.astype(dtype))["mask"]
    assert result.dtype == dtype
    assert (result == made(image=IMAGE, mask=MASK)["mask"].astype(dtype)).all()


def test_probability() -> None:
    made = A.Compose([ForAlbumentations(Corrupt("border", 5), p=0.3)], seed=0)
    changed = sum(not (made(image=IMAGE)["image"] == IMAGE).all() for _ in range(300))
    assert 60 <= changed <= 120


def test_clear_errors() -> None:
    with pytest.raises(InputError, match="is of type str"):
        ForAlbumentations("shear")
    with pytest.raises(InputError, match="dtype float64"):
        pipeline(Corrupt("shear"))(image=IMAGE / 255)
