"""Transforms of torchvision: every corruption, every container, and what stands beside."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

import noctule
from corruption_cases import sample_images
from noctule.corruptions import CORRUPTIONS
from noctule.errors import InputError
from noctule.transforms import Corrupt, RandomCorruption
from repository import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")

PAGE = ROOT / "docs" / "transforms.md"
SIZE = (48, 64)
IMAGE = sample_images(1, *SIZE, channels=3)[0]
GEOMETRIC = [name for name, c in CORRUPTIONS.items() if c.family == "geometry"]


def as_array(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy().copy()


# A container, and how a result in it becomes (channels, height, width).
CONTAINERS: dict[str, tuple[Callable[[torch.Tensor], Any], Callable[[Any], torch.Tensor]]] = {
    "tensor": (lambda x: x, lambda y: y),
    "batch": (lambda x: x[None], lambda y: y[0]),
    "image": (tv_tensors.Image, lambda y: y.as_subclass(torch.Tensor)),
    "array": (as_array, lambda y: torch.from_numpy(y).permute(2, 0, 1)),
    "pil": (
        lambda x: Image.fromarray(as_array(x)),
        lambda y: torch.from_numpy(np.array(y)).permute(2, 0, 1),
    ),
    "channels last": (
        lambda x: x[None].contiguous(memory_format=torch.channels_last),
        lambda y: y[0],
    ),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_transform_with_an_id_is_the_corruption(name: str, container: str) -> None:
    wrap, unwrap = CONTAINERS[container]
    wanted = noctule.corrupt(IMAGE[None], name, severity=2, seed=3, ids=["a"])[0]
    sample = wrap(IMAGE)
    before = copy.deepcopy(sample)
    result = Corrupt(name, 2, seed=3)(sample, id="a")
    assert type(result) is type(sample)
    assert unwrap(result).equal(wanted)
    assert unwrap(sample).equal(unwrap(before))
    assert unwrap(noctule.corrupt(sample, name, severity=2, seed=3, ids=["a"])).equal(wanted)


@pytest.mark.parametrize("name", ["shear", "rain", "gaussian_noise"])
def test_floats_stay_floats(name: str) -> None:
    image = IMAGE / 255
    wanted = noctule.corrupt(image[None], name, severity=2, ids=[5])[0]
    assert Corrupt(name, 2)(image, id=5).equal(wanted)
    array = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    assert torch.from_numpy(Corrupt(name, 2)(array, id=5)).permute(2, 0, 1).equal(wanted)


def test_grey_images() -> None:
    grey = IMAGE[:1]
    wanted = noctule.corrupt(grey[None], "rain", severity=2, ids=[5])[0]
    assert Corrupt("rain", 2)(grey, id=5).equal(wanted)
    plane = grey[0].numpy()
    assert (Corrupt("rain", 2)(plane, id=5) == wanted[0].numpy()).all()
    image = Corrupt("rain", 2)(Image.fromarray(plane), id=5)
    assert image.mode == "L"
    assert (np.array(image) == wanted[0].numpy()).all()


@pytest.mark.parametrize("name", GEOMETRIC)
def test_masks_and_boxes_follow_geometry(name: str) -> None:
    """The oracle is a photograph of the mask: white where the object is, corrupted as well."""
    upper, left, lower, right = 12, 20, 30, 45
    photograph = torch.zeros(3, *SIZE)
    photograph[:, upper:lower, left:right] = 1
    mask = tv_tensors.Mask(photograph[0].to(torch.uint8))
    boxes = tv_tensors.BoundingBoxes(
        [[left, upper, right, lower]], format="XYXY", canvas_size=SIZE
    )
    points = tv_tensors.KeyPoints([[left + 0.5, upper + 0.5]], canvas_size=SIZE)
    fixed = {"lighting": 0.0} if "lighting" in CORRUPTIONS[name].draws else {}
    transform = Corrupt(name, 3, **fixed)
    seen = 0
    for image_id in range(6):
        image, moved, box, point = transform((photograph, mask, boxes, points), id=image_id)
        shown = image[0] >= 0.5
        assert (moved == shown).to(torch.float64).mean() > 0.99  # but for interpolated edges
        assert type(moved) is tv_tensors.Mask
        if not shown.any():
            assert box.tolist() == [[0, 0, 0, 0]]
            continue
        seen += 1
        rows, columns = shown.any(1).nonzero().flatten(), shown.any(0).nonzero().flatten()
        wanted = torch.tensor([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert (box[0] - wanted).abs().max() <= 1
        assert not moved.equal(mask) or name == "elastic_transform"
        for format in ("XYWH", "CXCYWH"):
            other = v2.functional.convert_bounding_box_format(
                boxes.to(torch.float32), new_format=tv_tensors.BoundingBoxFormat(format)
            )
            back = v2.functional.convert_bounding_box_format(
                transform((photograph, other), id=image_id)[1],
                new_format=tv_tensors.BoundingBoxFormat.XYXY,
            )
            assert (back - box).abs().max() == 0
        x, y = point[0].tolist()
        assert np.isnan(x) == np.isnan(y)
        if not np.isnan(x):  # a mark at the point, where it is now
            assert moved[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].any()
    assert seen >= 3


@pytest.mark.parametrize(
    "name", [name for name, c in CORRUPTIONS.items() if c.family != "geometry"][::5]
)
def test_others_leave_masks_and_boxes(name: str) -> None:
    mask = tv_tensors.Mask(torch.arange(SIZE[0] * SIZE[1]).view(SIZE) % 5)
    boxes = tv_tensors.BoundingBoxes([[1, 2, 30, 40]], format="XYXY", canvas_size=SIZE)
    image, moved, box, label = Corrupt(name, 5)((IMAGE, mask, boxes, 7))
    assert moved is mask
    assert box is boxes
    assert label == 7
    assert not image.equal(IMAGE)


def test_labels_and_other_tensors_pass_through() -> None:
    vector, image = torch.arange(5.0), tv_tensors.Image(IMAGE)
    sample = {"vector": vector, "image": image, "more": [IMAGE, "text", None]}
    result = Corrupt("shear", 3)(sample)
    assert result["vector"] is vector
    assert result["more"] == [IMAGE, "text", None] or result["more"][0] is IMAGE
    assert not result["image"].equal(image)


def test_two_images_of_a_sample_share_their_random_numbers() -> None:
    pair = (tv_tensors.Image(IMAGE), tv_tensors.Image(IMAGE))
    first, second = Corrupt("gaussian_noise", 3)(*pair)
    assert first.equal(second)


def test_frames_of_a_video_share_their_random_numbers() -> None:
    video = tv_tensors.Video(IMAGE.expand(4, -1, -1, -1))
    result = Corrupt("gaussian_noise", 3)(video)
    assert type(result) is tv_tensors.Video
    assert result.shape == video.shape
    assert all(frame.equal(result[0]) for frame in result)
    several = Corrupt("gaussian_noise", 3)(tv_tensors.Video(video.expand(2, -1, -1, -1, -1)))
    assert several.shape == (2, 4, *IMAGE.shape)
    assert several[0, 0].equal(several[0, 3])
    assert not several[0, 0].equal(several[1, 0])


def test_a_video_without_frames() -> None:
    video = tv_tensors.Video(torch.zeros(0, 3, 48, 64))
    assert Corrupt("shear")(video).shape == video.shape


def test_the_repr_shows_every_argument_that_is_not_the_default() -> None:
    for shown in (
        "Corrupt('shear', severity=(1, 3), seed=0, mode='released', per='batch')",
        "RandomCorruption(['rain'], p=0.5, severity=(1, 5), mode='released')",
    ):
        assert repr(eval(shown)) == shown


def test_fresh_numbers_follow_torch_and_can_be_repeated() -> None:
    transform = RandomCorruption(["gaussian_noise", "shear", "rain"], p=0.7)
    batch = IMAGE.expand(16, -1, -1, -1)
    torch.manual_seed(4)
    first = transform(batch)
    applied = transform.applied
    second = transform(batch)
    assert not first.equal(second)
    torch.manual_seed(4)
    assert transform(batch).equal(first)
    assert len({*applied.names}) == 4  # with None
    for image, image_id, name, severity in zip(first, *applied[1:], strict=True):
        again = IMAGE
        if name is not None:
            again = noctule.corrupt(
                IMAGE[None], name, severity=severity, seed=applied.seed, ids=[image_id]
            )[0]
        assert image.equal(again)


def test_a_seed_without_ids_keys_by_content() -> None:
    transform = RandomCorruption(["gaussian_noise", "shear"], p=1, seed=3)
    batch = sample_images(4, *SIZE, channels=3)
    whole = transform(batch)
    assert whole.equal(torch.stack([transform(image) for image in batch]))


def test_the_choice_is_uniform_and_p_is_the_probability() -> None:
    names, count = ["brightness", "contrast", "border"], 6000
    transform = RandomCorruption(names, p=0.4, severity=(2, 4), seed=1)
    applied = transform.chooser.decide(torch.zeros(count, 1, 16, 16), range(count))
    assert abs(sum(name is not None for name in applied.names) / count - 0.4) < 0.03
    for name in names:
        assert abs(applied.names.count(name) / count - 0.4 / 3) < 0.02
    for severity in (2, 3, 4):
        assert abs(applied.severities.count(severity) / count - 1 / 3) < 0.03
    assert {*applied.severities} == {2, 3, 4}


def test_a_batch_may_share_its_random_numbers() -> None:
    batch = IMAGE.expand(5, -1, -1, -1)
    shared = Corrupt("gaussian_noise", 3, per="batch")(batch)
    assert all(image.equal(shared[0]) for image in shared)
    own = Corrupt("gaussian_noise", 3)(batch)
    assert not own[0].equal(own[1])
    names = {*_applied(RandomCorruption([*CORRUPTIONS], p=1, per="batch"), batch).names}
    assert len(names) == 1


def _applied(transform: RandomCorruption, batch: torch.Tensor) -> Any:
    transform(batch)
    return transform.applied


def test_p_0_and_1() -> None:
    result = RandomCorruption(["shear"], p=0)(IMAGE)
    assert result.equal(IMAGE)
    assert result.data_ptr() != IMAGE.data_ptr()
    assert RandomCorruption(["shear"], p=1)(IMAGE).equal(IMAGE) is False


class Photographs(Dataset[torch.Tensor]):
    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> torch.Tensor:
        result: torch.Tensor = self.transform(IMAGE)
        return result


@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_and_epochs_differ_and_repeat(start: str) -> None:
    noise = RandomCorruption(["gaussian_noise"], p=1)
    transform, count = v2.Compose([noise, v2.ToDtype(torch.float32)]), 1 + (start == "fork")

    def epochs() -> list[torch.Tensor]:
        torch.manual_seed(9)
        loader = DataLoader(
            Photographs(transform), batch_size=4, num_workers=2, multiprocessing_context=start
        )
        return [torch.cat([*loader]) for _ in range(count)]

    images = torch.cat(epochs())
    assert len(images.flatten(1).unique(dim=0)) == 8 * count
    if start == "fork":
        assert torch.cat(epochs()).equal(images)


def test_copies_do_the_same() -> None:
    transform = RandomCorruption(["shear", "rain"], p=0.5, severity=(1, 3), seed=2)
    for other in (pickle.loads(pickle.dumps(transform)), copy.deepcopy(transform)):
        assert repr(other) == repr(transform)
        assert other(IMAGE, id=3).equal(transform(IMAGE, id=3))


def test_a_module_in_a_training_step() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        Corrupt("gaussian_noise", 3), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    batch = sample_images(4, *SIZE, channels=3) / 255
    network(batch).sum().backward()
    assert network[1].weight.grad.abs().sum() > 0
    assert [*network.state_dict()] == ["1.weight", "1.bias"]
    assert not network.eval()(batch).equal(network(batch))  # acts in evaluation as well


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Corrupt("sheer"), "Did you mean 'shear'"),
        (lambda: Corrupt("shear", 6), "severity"),
        (lambda: Corrupt("shear", 2.5), "severity"),
        (lambda: Corrupt("shear", (4, 2)), "4 is above 2"),
        (lambda: Corrupt("shear", (1, 2, 3)), "not a pair"),
        (lambda: Corrupt("shear", mode="published"), "mode"),
        (lambda: Corrupt("shear", per="pixel"), "per"),
        (lambda: RandomCorruption([]), "not a list of corruptions"),
        (lambda: RandomCorruption("shear"), "not a list of corruptions"),
        (lambda: RandomCorruption(["shear"], p=1.5), "p: "),
        (lambda: RandomCorruption(["shear", "imagenet-noc"]), "unknown corruption"),
        (lambda: Corrupt("shear", angle=3), "unknown parameter 'angle'"),
        (lambda: Corrupt("brightness", change=99), "brightness.change"),
        (lambda: Corrupt("shear")(), "no image among the inputs, which are: nothing"),
        (lambda: Corrupt("shear")(IMAGE - 3.0), r"outside \[0, 1\]"),
        (lambda: Corrupt("shear")(IMAGE.to(torch.float16) / 255), "dtype torch.float16"),
        (lambda: Corrupt("shear")(as_array(IMAGE).astype(np.float64)), "dtype float64"),
        (lambda: Corrupt("shear")(IMAGE.numpy()), r"shape \(3, 48, 64\)"),
        (lambda: Corrupt("shear")(IMAGE.permute(1, 2, 0)), r"channels, height, width"),
        (lambda: Corrupt("hue")(IMAGE[:1]), "needs images with 3 channels"),
        (lambda: Corrupt("shear")(Image.new("RGBA", (32, 32))), r"convert\('RGB'\)"),
        (lambda: Corrupt("shear")(Image.new("P", (32, 32))), "mode P"),
        (lambda: Corrupt("shear")(["a", 3]), "no image among the inputs, which are: str, int"),
        (lambda: Corrupt("shear")(torch.zeros(3, 8, 8, dtype=torch.uint8)), "at least 16 px"),
        (lambda: Corrupt("shear")(IMAGE.expand(2, -1, -1, -1), id="a"), "1 ids for 2 images"),
        (
            lambda: Corrupt("shear")(IMAGE[None].expand(2, -1, -1, -1),
                                     tv_tensors.Mask(torch.zeros(2, *SIZE))),
            "one image at a time",
        ),
        (
            lambda: Corrupt("shear")(IMAGE, tv_tensors.Mask(torch.zeros(5, 5))),
            "5 × 5 px, but the image has 48 × 64 px",
        ),
        (
            lambda: Corrupt("shear")(
                IMAGE,
                tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=(9, 9)),
            ),
            "9 × 9 px",
        ),
        (
            lambda: Corrupt("shear")(
                IMAGE,
                tv_tensors.BoundingBoxes(
                    [[1.0, 2, 3, 4, 20]], format="CXCYWHR", canvas_size=SIZE
                ),
            ),
            "boxes of the format CXCYWHR",
        ),
    ],
)  # fmt: skip
def test_clear_errors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_corruption_that_does_more_than_move_pixels_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Planted: a change of brightness that calls itself geometry."""
    changed = replace(CORRUPTIONS["brightness"], family="geometry")
    monkeypatch.setitem(CORRUPTIONS._entries, "brightness", changed)
    mask = tv_tensors.Mask(torch.zeros(SIZE))
    for change in (0.4, -0.1):
        with pytest.raises(InputError, match="cannot follow"):
            Corrupt("brightness", change=change)(IMAGE, mask)


def test_a_dataset_of_hugging_face() -> None:
    corrupt = RandomCorruption(["shear", "rain"], p=1)

    def transform(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        batch["image"] = [corrupt(image.convert("RGB")) for image in batch["image"]]
        return batch

    image = Image.fromarray(as_array(IMAGE))
    made = datasets.Dataset.from_dict(
        {"image": [image, image], "label": [0, 1]},
        features=datasets.Features(image=datasets.Image(), label=datasets.Value("int64")),
    ).with_transform(transform)
    first, again = made[0]["image"], made[0]["image"]
    assert first.size == image.size
    assert not (np.array(first) == np.array(again)).all()
    assert [row["label"] for row in made] == [0, 1]


def test_the_code_of_the_page_runs() -> None:
    space: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 4
    for block in blocks:
        exec(block, space)
    assert space["train"](Image.fromarray(as_array(IMAGE))).shape == (3, 224, 224)
    assert space["shear"](IMAGE).shape == IMAGE.shape
    made = space["pipeline"](image=as_array(IMAGE), bboxes=[[20, 12, 45, 30]], labels=["cat"])
    assert made["image"].shape == (*SIZE, 3)
    assert space["augment"](IMAGE[None]).shape == (1, *IMAGE.shape)
    assert len(space["transform"]({"image": [Image.fromarray(as_array(IMAGE))]})["image"]) == 1
