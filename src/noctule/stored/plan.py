"""What is to be exported, and how, checked before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from PIL import Image
from torch import Tensor

from noctule.arguments import choice
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.corruptions.checks import MIN_SIDE_PX
from noctule.data import Dataset, open_dataset
from noctule.data.decode import LARGEST_PX
from noctule.data.files import FileDataset
from noctule.errors import InputError, UnreadableImageError
from noctule.evaluation.loading import read_batch
from noctule.evaluation.sources import TRIAL_IMAGES
from noctule.input_files import real_path
from noctule.models import Preprocessing
from noctule.stored.layout import SHARD_SIZE, check_published_names, image_entries
from noctule.stored.manifest import FORMATS, Format, Manifest, versions_here
from noctule.stored.write import Target, encoder_settings

PIECE_SIZE = 32
PIECES_FOLDER = "pieces"
PUBLISHED: Final = Preprocessing(resize_px=256, crop_px=(224, 224))
"""How ImageNet-C's images were made of photographs."""


@dataclass(frozen=True)
class Plan:
    """What every process needs to know."""

    dataset: Dataset
    preprocessing: Preprocessing
    seed: int
    target: Target

    @property
    def num_images(self) -> int:
        """Number of images under all conditions."""
        return len(self.dataset) * len(self.target.benchmark.conditions)

    @property
    def pieces(self) -> list[range]:
        """The indices of the images of each piece of work."""
        size = SHARD_SIZE if self.target.format == "webdataset" else PIECE_SIZE
        total = len(self.dataset)
        return [range(start, min(start + size, total)) for start in range(0, total, size)]

    def record(self, indices: range) -> Path:
        """The file with the hashes of a finished piece."""
        return self.target.folder / PIECES_FOLDER / f"{indices.start:08d}"


def planned(
    benchmark: str | Path | Benchmark,
    data: str | Path | Dataset | tuple[Any, Any],
    out: Path,
    format: Format,
    quality: int | None,
    preprocessing: Preprocessing | None,
    seed: int,
) -> tuple[Plan, Manifest]:
    """What to do, checked as far as possible without reading every image."""
    spec = benchmark if isinstance(benchmark, Benchmark) else load_benchmark(benchmark)
    if isinstance(data, str | Path):
        refuse_nested(Path(data).expanduser(), out)
    dataset = open_dataset(data)
    if isinstance(dataset, FileDataset):
        for folder in data_folders(dataset):
            refuse_nested(folder, out)
    _check_format(format, quality)
    check_published_names(spec)
    entries = image_entries(dataset)
    if preprocessing is None:
        preprocessing = default_preprocessing(dataset)
    preprocessing = Unpadded(**vars(preprocessing))
    first = read_batch(dataset, preprocessing, [0])
    if first.unreadable:
        raise unreadable(dataset, *first.unreadable[0])
    _check_corruptions(spec, first.images)
    encoder = encoder_settings(format, quality)
    manifest = Manifest(
        benchmark=spec.to_dict(),
        dataset={
            "name": dataset.name,
            "domain": dataset.domain,
            "fingerprint": dataset.fingerprint(),
            "num_images": len(dataset),
            "class_names": list(dataset.class_names),
        },
        seed=seed,
        preprocessing={
            key: value
            for key, value in preprocessing.to_dict().items()
            if key not in ("mean", "std")
        },
        image_px=list(first.images.shape[2:]),
        format=format,
        encoder=encoder,
        versions=versions_here(),
    )
    shape = tuple(first.images.shape[1:])
    target = Target(out.absolute(), spec, entries, dataset.class_names, format, encoder, shape)
    return Plan(dataset, preprocessing, seed, target), manifest


class Unpadded(Preprocessing):
    """Preprocessing that refuses an image smaller than the crop; picklable."""

    def prepare(self, source: Image.Image) -> Tensor:
        """See `Preprocessing.prepare`.

        Raises:
            UnreadableImageError: The crop is larger than the resized image and would pad it
                with black, unless the fit is "contain". Or the image would have more than
                `LARGEST_PX` pixels.
        """
        width, height = self._resized_size(source.width, source.height)
        crop_height, crop_width = self.crop_px or (0, 0)
        if self.fit != "contain" and (height < crop_height or width < crop_width):
            raise UnreadableImageError(
                "",
                f"it has {height} × {width} px, fewer than the crop's {crop_height} × "
                f"{crop_width}; give another --crop or --resize",
            )
        made_height, made_width = self.crop_px or (height, width)
        if made_height * made_width > LARGEST_PX:
            raise UnreadableImageError(
                "",
                f"it would be resized to {made_height} × {made_width} px, more than "
                f"{LARGEST_PX:,} pixels; give a smaller --resize or --crop",
            )
        return super().prepare(source)


def refuse_nested(data: Path, out: Path) -> None:
    """Refuse to write into the data, or into a folder that holds them; links are followed.

    Raises:
        InputError: One lies in the other, or they are the same.
    """
    real_data, real_out = real_path(data), real_path(out)
    if not real_data.exists():
        return  # a name such as photo-patches
    if real_out.is_relative_to(real_data) or real_data.is_relative_to(real_out):
        inside = "lies in the data" if real_out.is_relative_to(real_data) else "holds the data"
        raise InputError(
            f"{inside}, {data}", where=out, remedy="Choose a folder beside the data."
        )


def data_folders(dataset: FileDataset) -> list[Path]:
    """The root of a dataset, then every folder on the way to a file; some may be links."""
    folders = {dataset.root: None}
    for index in range(len(dataset)):
        folder = dataset.file(index).parent
        while folder not in folders:
            folders[folder] = None
            folder = folder.parent
    return list(folders)


def default_preprocessing(dataset: Dataset) -> Preprocessing:
    """`PUBLISHED` for photographs; small images, and images in memory, are left as they are.

    Raises:
        InputError: The first image cannot be read.
    """
    try:
        image = dataset.read(0)
    except UnreadableImageError as error:
        raise unreadable(dataset, dataset.ids[0], error.reason) from error
    assert PUBLISHED.crop_px is not None
    if not dataset.in_memory and min(image.size) >= min(PUBLISHED.crop_px):
        return PUBLISHED
    if dataset.in_memory and image.mode == "L":
        return Preprocessing(mode="L", mean=(0.0,), std=(1.0,))
    return Preprocessing()


def _check_format(format: str, quality: int | None) -> None:
    choice(format, "--format", FORMATS)
    if quality is None and format == "jpeg":
        raise InputError(
            "the quality of JPEG is not stated",
            where="--format jpeg",
            remedy="Add --quality 85, which ImageNet-C uses.",
        )
    if quality is not None and format in ("png", "npy"):
        raise InputError(f"{format} is lossless and has no quality", where="--quality")


def _check_corruptions(benchmark: Benchmark, images: Tensor) -> None:
    """Apply each to a few images, so that what is missing or does not fit shows now."""
    small = images[:1, :, :MIN_SIDE_PX, :MIN_SIDE_PX].expand(TRIAL_IMAGES, -1, -1, -1)
    for condition in benchmark.conditions:
        benchmark.corrupt(condition, small, ids=range(TRIAL_IMAGES), seed=0)


def read_images(plan: Plan, images: range) -> Tensor:
    """The uncorrupted images of a piece: uint8 (images, channels, height, width).

    Raises:
        InputError: An image cannot be read, or has another size than the first.
    """
    batch = read_batch(plan.dataset, plan.preprocessing, images)
    if batch.unreadable:
        raise unreadable(plan.dataset, *batch.unreadable[0])
    shapes = tuple(batch.images.shape[1:]), plan.target.image_shape
    if shapes[0] != shapes[1]:
        sizes = (" × ".join(map(str, shape[-2:])) for shape in shapes)
        raise InputError(
            f"the image of '{batch.ids[0]}' has {{}} px and that of '{plan.dataset.ids[0]}' "
            "{} px".format(*sizes),
            where=plan.dataset.name,
            remedy="Pass --resize and --crop that give all images one size.",
        )
    return batch.images


def unreadable(dataset: Dataset, image_id: str, reason: str) -> InputError:
    """The error for an image that cannot be decoded."""
    return InputError(
        f"cannot read '{image_id}': {reason}",
        where=dataset.name,
        remedy="Repair or remove it: a stored set holds every image.",
    )
