"""Milliseconds per image, beside the same operations of albumentations, kornia, torchvision.

    python scripts/transforms.py [--size-px 32 224 640x480] [--images 32]
        [--dtypes uint8 float32] [--passes 3] [--rounds 3] [--only brightness rotation]

Below are the parameters of the operations, and what the packages do differently. All sides get
the images as they take them, in memory and in the same dtype:

    batch     noctule, kornia and torchvision: (images, 3, height, width), two threads. kornia
              and torchvision apply the same parameters to all images. albumentations: one image
              (height, width, 3) in each call, in two processes of one thread at once.
    single    One image in each call, one thread.

kornia takes no uint8 images. The ratio is the fastest package's time over noctule's; operations
in parentheses differ too much to count. Exits with 1 unless noctule is at least as fast in
every line. Fog, rain, snow, shot noise and motion blur are not compared: they are other
operations in these packages.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from noctule.corruptions import corrupt
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from timing import (
    CORES,
    Call,
    RgbImages,
    Side,
    Table,
    Target,
    Team,
    channels_first,
    compare,
    comparison_parser,
    parse_comparison,
    serve,
)

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for a newer version
SEVERITY = 3
# Parameters of noctule's corruptions; those that are not given are drawn at this severity, and
# lengths are for a shorter side of 224 px.
OURS: Mapping[str, Mapping[str, float | str]] = {
    "brightness": {"change": 0.3},
    "contrast": {"weight": 0.5},
    "color_distortion": {"change": 0.3, "channel": "red"},
    "gray_scale": {"weight": 1.0},
    "hue": {"turn": 0.2},
    "saturate": {"factor": 2.0, "added": 0.0},
    "brightness_c": {"change": 0.3},
    "quantization": {"steps": 3},
    "gaussian_noise": {"sigma": 0.18},
    "impulse_noise": {"amount": 0.09},
    "gaussian_blur": {"sigma_px": 3.0},
    "defocus_blur": {"radius_px": 6.0, "edge_sigma": 0.5},
    "zoom_blur": {"largest": 1.2, "step": 0.02},
    "glass_blur": {"sigma_px": 1.0, "reach_px": 2.0, "iterations": 3},
    "rotation": {"angle_deg": 30},
    "shear": {"angle_deg": 25},
    "translation": {"dx_px": 30, "dy_px": 40},
    "elastic_transform": {"alpha_px": 11.2, "sigma_px": 2.24, "affine_px": 0.0},
    "obstruction": {"side_px": 80, "top_fraction": 0.5, "left_fraction": 0.5, "gray": 0.5},
    "spatter": {
        "mean": 0.65, "spread_px": 0.3, "sigma_px": 2.0, "threshold": 0.68, "mud": 0,
        "intensity": 0.5,
    },
    "jpeg_compression": {"quality": 15},
    "pixelate_c": {"share": 0.5},
    "thumbnail_resize": {"factor": 2.0},
}  # fmt: skip
# They mask bits instead of rounding, change pixels instead of elements, or shrink with another
# filter.
UNCOUNTED = {
    ("albumentations", "quantization"), ("kornia", "quantization"),
    ("torchvision", "quantization"), ("albumentations", "impulse_noise"),
    ("kornia", "impulse_noise"), ("albumentations", "thumbnail_resize"),
    ("kornia", "thumbnail_resize"),
}  # fmt: skip
Functions = dict[str, Callable[[Any], object]]


def albumentations(height: int, width: int, dtype: str) -> Functions:
    """Its transforms, by the names of noctule's corruptions.

    Differences: contrast mixes with the mean luma; quantization truncates; impulse_noise
    changes pixels instead of elements; hue has 180 steps; zoom_blur zooms to whole pixels;
    elastic_transform has no affine part; JPEG is OpenCV's; thumbnail_resize shrinks with a box
    filter; the hole of obstruction lies anywhere.
    """
    import albumentations as A
    import cv2

    scale = min(height, width) / REFERENCE_SIDE_PX
    white = 255 if dtype == "uint8" else 1
    still = {"hue_shift_limit": (0, 0), "sat_shift_limit": (0, 0), "val_shift_limit": (0, 0)}
    same = {"brightness": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    nearest = {"interpolation": cv2.INTER_NEAREST, "p": 1}
    blur_px, hole_px = 2 * round(12 * scale) + 1, round(80 * scale)
    dx, dy = round(30 * scale), round(40 * scale)
    hole = {"hole_height_range": (hole_px, hole_px), "hole_width_range": (hole_px, hole_px)}
    rgb_shift = {"g_shift_limit": (0, 0), "b_shift_limit": (0, 0)}

    def downscale(upscale: int) -> Any:
        pair = {"downscale": cv2.INTER_AREA, "upscale": upscale}
        return A.Downscale(scale_range=(0.5, 0.5), interpolation_pair=pair, p=1)

    found = {
        "brightness": A.RandomBrightnessContrast((0.3, 0.3), (0, 0), p=1),
        "contrast": A.ColorJitter(contrast=(0.5, 0.5), p=1, **same),
        "color_distortion": A.RGBShift((0.3 * white, 0.3 * white), p=1, **rgb_shift),
        "gray_scale": A.ToGray(p=1),
        "hue": A.HueSaturationValue(**{**still, "hue_shift_limit": (36, 36)}, p=1),
        "brightness_c": A.HueSaturationValue(**{**still, "val_shift_limit": (77, 77)}, p=1),
        "quantization": A.Posterize(2, p=1),
        "gaussian_noise": A.GaussNoise((0.18, 0.18), p=1),
        "impulse_noise": A.SaltAndPepper((0.09, 0.09), (0.5, 0.5), p=1),
        "gaussian_blur": A.GaussianBlur((blur_px, blur_px), (3 * scale, 3 * scale), p=1),
        "defocus_blur": A.Defocus((max(1, round(6 * scale)),) * 2, (0.5, 0.5), p=1),
        "zoom_blur": A.ZoomBlur((1.21, 1.21), (0.02, 0.02), p=1),
        "glass_blur": A.GlassBlur(scale, max(1, round(2 * scale)), 3, p=1),
        "rotation": A.Rotate((-30, -30), **nearest),
        "shear": A.Affine(shear={"x": (25, 25), "y": (0, 0)}, **nearest),
        "translation": A.Affine(translate_px={"x": (dx, dx), "y": (dy, dy)}, **nearest),
        "elastic_transform": A.ElasticTransform(
            11.2 * scale, max(1, 2.24 * scale), noise_distribution="uniform", p=1
        ),
        "obstruction": A.CoarseDropout((1, 1), fill=0.5 * white, p=1, **hole),
        "spatter": A.Spatter(intensity=(0.5, 0.5), gauss_sigma=(2 * scale, 2 * scale), p=1),
        "jpeg_compression": A.ImageCompression(quality_range=(15, 15), p=1),
        "pixelate_c": downscale(cv2.INTER_NEAREST),
        "thumbnail_resize": downscale(cv2.INTER_LINEAR),
    }
    return {name: partial(_image_of, transform) for name, transform in found.items()}


def _image_of(transform: Any, image: Any) -> object:
    # Without its Compose, which only costs time.
    return transform(image=image)["image"]


def kornia(height: int, width: int, dtype: str) -> Functions:
    """Its functions of float images, by the names of noctule's corruptions.

    Differences: contrast mixes with the mean luma; quantization truncates; impulse_noise
    changes pixels instead of elements; gaussian_noise does not clamp; shear is about a corner;
    elastic_transform has no affine part; thumbnail_resize smooths with a Gaussian before it
    shrinks; the hole of obstruction lies anywhere.
    """
    if dtype != "float32":
        return {}
    import torch
    from kornia import augmentation as augment
    from kornia import color, enhance, filters, geometry

    side = min(height, width)
    scale = side / REFERENCE_SIDE_PX
    blur_px, warp_px = 2 * round(12 * scale) + 1, 2 * max(1, round(6.7 * scale)) + 1
    sigma, sigma_warp = (3 * scale, 3 * scale), (2.24 * scale, 2.24 * scale)
    alpha = (2 * 11.2 * scale / width, 2 * 11.2 * scale / height)
    angle, shear = torch.tensor([-30.0]), torch.tensor([[0.466, 0.0]])
    shift = torch.tensor([[30.0, 40.0]]) * scale
    hole = (80 * scale) ** 2 / (height * width)
    half = (height // 2, width // 2)

    def shrink(images: torch.Tensor) -> object:
        small = geometry.resize(images, half, antialias=True)
        return geometry.resize(small, (height, width))

    def warp(images: torch.Tensor) -> object:
        noise = torch.rand(len(images), 2, height, width).mul_(2).sub_(1)
        return geometry.transform.elastic_transform2d(
            images, noise, (warp_px, warp_px), sigma_warp, alpha, padding_mode="reflection"
        )

    shift_red = augment.RandomRGBShift((0.3, 0.3), (0.0, 0.0), (0.0, 0.0), p=1)
    noise = augment.RandomGaussianNoise(0.0, 0.18, p=1)
    salt_pepper = augment.RandomSaltAndPepperNoise((0.09, 0.09), (0.5, 0.5), p=1)
    erase = augment.RandomErasing((hole, hole), (1.0, 1.0), 0.5, p=1)
    return {
        "brightness": lambda x: enhance.adjust_brightness(x, 0.3),
        "contrast": lambda x: enhance.adjust_contrast_with_mean_subtraction(x, 0.5),
        "color_distortion": shift_red,
        "gray_scale": lambda x: color.rgb_to_grayscale(x).repeat(1, 3, 1, 1),
        "hue": lambda x: enhance.adjust_hue(x, 0.4 * np.pi),
        "saturate": lambda x: enhance.adjust_saturation(x, 2.0),
        "quantization": lambda x: enhance.posterize(x, 2),
        "gaussian_noise": noise,
        "impulse_noise": salt_pepper,
        "gaussian_blur": lambda x: filters.gaussian_blur2d(x, (blur_px, blur_px), sigma),
        "rotation": lambda x: geometry.rotate(x, angle.expand(len(x)), mode="nearest"),
        "shear": lambda x: geometry.shear(x, shear.expand(len(x), 2), mode="nearest"),
        "translation": lambda x: geometry.translate(x, shift.expand(len(x), 2), mode="nearest"),
        "elastic_transform": warp,
        "obstruction": erase,
        "thumbnail_resize": shrink,
    }


def torchvision(height: int, width: int, dtype: str) -> Functions:
    """Its functions, by the names of noctule's corruptions.

    Differences: contrast mixes with the mean luma; quantization truncates;
    elastic_transform has no affine part.
    """
    import torch
    from torchvision.transforms import InterpolationMode, v2
    from torchvision.transforms.v2 import functional as F

    scale = min(height, width) / REFERENCE_SIDE_PX
    white = 255 if dtype == "uint8" else 1
    blur_px, hole_px = 2 * round(12 * scale) + 1, round(80 * scale)
    shift = [round(30 * scale), round(40 * scale)]
    half, size = [height // 2, width // 2], [height, width]
    top, left = (height - hole_px) // 2, (width - hole_px) // 2
    grey = torch.full((3, 1, 1), 0.5 * white).to(getattr(torch, dtype))
    nearest = InterpolationMode.NEAREST
    found: Functions = {
        "contrast": lambda x: F.adjust_contrast(x, 0.5),
        "gray_scale": lambda x: F.rgb_to_grayscale(x, 3),
        "hue": lambda x: F.adjust_hue(x, 0.2),
        "quantization": lambda x: F.posterize(x, 2),
        "gaussian_noise": lambda x: F.gaussian_noise(x, 0.0, 0.18),
        "gaussian_blur": lambda x: F.gaussian_blur(x, [blur_px, blur_px], [3 * scale] * 2),
        "rotation": lambda x: F.rotate(x, -30.0, nearest),
        "shear": lambda x: F.affine(x, 0.0, [0, 0], 1.0, [25.0, 0.0], nearest),
        "translation": lambda x: F.affine(x, 0.0, shift, 1.0, [0.0, 0.0], nearest),
        "elastic_transform": v2.ElasticTransform(2 * 11.2 * scale, 2.24 * scale),
        "obstruction": lambda x: F.erase(x, top, left, hole_px, hole_px, grey),
        "thumbnail_resize": lambda x: F.resize(F.resize(x, half), size),
    }
    if dtype == "uint8":
        found["jpeg_compression"] = lambda x: F.jpeg(x, 15)
    return found


PACKAGES = {"albumentations": albumentations, "kornia": kornia, "torchvision": torchvision}
DTYPES = ("uint8", "float32")


def main() -> None:
    """Time everything, print tables and say whether the targets are met."""
    parser = comparison_parser(__doc__, list(OURS))
    parser.add_argument("--dtypes", choices=DTYPES, nargs="+", default=list(DTYPES))
    options = parse_comparison(parser)
    if options.quick:
        options.dtypes = ["float32"]  # the one that all take
    met = compare(__file__, options, partial(tables, options))
    sys.exit(0 if met or options.quick else 1)


def tables(options: argparse.Namespace, team: Team) -> Iterator[Table]:
    """A table for batches and one for single images, in each dtype."""
    for dtype in options.dtypes:
        names = {package: names_in(package, dtype) for package in PACKAGES}
        workers = {"noctule": team.start("noctule", dtype)}
        for package in PACKAGES:
            count = CORES if package == "albumentations" else 1
            workers[package] = team.start(package, dtype, count=count if names[package] else 0)
        for kind in ("batch", "single"):
            lines: dict[str, dict[str, Side]] = {}
            for name in options.only:
                having = [
                    "noctule",
                    *(package for package in PACKAGES if name in names[package]),
                ]
                if len(having) > 1:
                    lines[name] = {
                        side: side_of(workers[side], name, kind == "batch", options.images)
                        for side in having
                    }
            target = Target(1.0, 1.0)
            yield Table(f"{dtype}, {kind}", lines, ["noctule"], target, uncounted=UNCOUNTED)


def names_in(package: str, dtype: str) -> set[str]:
    """The operations that a package has; none if it is not installed."""
    try:
        return set(PACKAGES[package](REFERENCE_SIDE_PX, REFERENCE_SIDE_PX, dtype))
    except ImportError as error:
        print(f"{package} is left out: {error}", file=sys.stderr)
        return set()


def side_of(workers: list[Any], name: str, batch: bool, images: int) -> Side:
    """One process with batches, or as many as there are with single images."""
    if not batch:
        return Side(workers[:1], {"name": name, "count": 1})
    if len(workers) > 1:
        return Side(workers, {"name": name, "count": 1})
    return Side(workers, {"name": name, "count": images}, images, CORES)


def serve_side(images: RgbImages, package: str, dtype: str) -> None:
    """Time one package."""
    batch: Any = channels_first(images, dtype)
    if package == "albumentations":
        batch = images if dtype == "uint8" else np.float32(images) / np.float32(255)
    height, width = images.shape[1:3]
    functions = {} if package == "noctule" else PACKAGES[package](height, width, dtype)

    def prepare(name: str, count: int) -> Call:
        parts = [batch[start : start + count] for start in range(0, len(batch), count)]
        if package == "albumentations":
            parts = [*batch]

        def call(number: int) -> object:
            part = parts[number % len(parts)]
            if package == "noctule":
                ids = range(number * count, (number + 1) * count)
                return corrupt(part, name, ids=ids, severity=SEVERITY, **OURS[name])
            return functions[name](part)

        return call

    serve(prepare)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve_side(np.load(sys.argv[2]), *sys.argv[3:])
    else:
        main()
