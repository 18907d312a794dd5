"""Classifiers of Hugging Face transformers: "hf:google/vit-base-patch16-224", "hf:FOLDER".

No code from a checkpoint is run, and a local folder is read without the network. The
preprocessing is translated from the checkpoint's image processor, and compared with what that
makes of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from noctule.errors import InputError
from noctule.extras import require
from noctule.input_files import reject_special_files
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.program_files import agreed_classes
from noctule.models.registry import ModelRequest, model_source
from noctule.models.translation import check_translation, untranslated
from noctule.models.zero_shot import (
    ClassTexts,
    ZeroShotNetwork,
    class_texts,
    pooled,
    refuse_texts,
    text_features,
    too_long,
    zero_shot_classifier,
)

ZERO_SHOT = ("CLIPModel", "MetaClip2Model", "SiglipModel")
"""Networks that classify by the names of the classes."""


@model_source(
    "hf",
    ("hf:NAME", "such as hf:google/vit-base-patch16-224 (needs the extra noctule[hf])"),
    ("hf:FOLDER", "a checkpoint of transformers on disk, read without the network"),
    takes_texts=True,
)
def load(request: ModelRequest) -> Classifier:
    """The classifier of a checkpoint of transformers; see `load_classifier`."""
    require("hf")
    if request.weights is not None:
        raise InputError(
            "has its own weights, and other weights cannot be loaded into it",
            where=request.spec,
            remedy="Omit --weights, or put them into a folder with the checkpoint's "
            "config.json.",
        )
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": False}
    if request.name.startswith((".", "/", "~")) or Path(request.name).exists():
        folder = Path(request.name).expanduser()
        if not (folder / "config.json").is_file():
            raise InputError(
                "is not a folder with a config.json",
                where=request.spec,
                remedy="Save the model and its image processor there with save_pretrained.",
            )
        for file in folder.iterdir():
            reject_special_files(file, folder_allowed=True)
        options["local_files_only"] = True
    with _quiet():
        if _is_zero_shot(request, options):
            return _zero_shot(request, options)
        module = _module(request, options, "AutoModelForImageClassification")
        refuse_texts(request)
        own = request.preprocessing or _preprocessing(request, options, module.config)
    classes = int(module.config.num_labels)
    classifier = make_classifier(
        module,
        own,
        name=request.spec,
        architecture=type(module).__name__,
        weights=f"transformers {request.name}",
        class_names=_class_names(module.config, classes),
        num_classes=agreed_classes(request, classes),
    )
    note = "" if request.preprocessing else "The preprocessing follows the image processor"
    # Some of these networks flatten with `view`, which another memory format forbids.
    return replace(classifier, channels_last=False, preprocessing_note=note)


def _name(request: ModelRequest) -> str:
    return str(Path(request.name).expanduser()) if "~" in request.name else request.name


def _is_zero_shot(request: ModelRequest, options: Mapping[str, Any]) -> bool:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(_name(request), **options)
    except Exception:  # loading the network reports it
        return False
    return bool(set(config.architectures or ()) & set(ZERO_SHOT))


def _zero_shot(request: ModelRequest, options: Mapping[str, Any]) -> Classifier:
    """The classifier of a checkpoint of CLIP or SigLIP."""
    texts = class_texts(request)
    module = _module(request, options, "AutoModelForZeroShotImageClassification")
    own = request.preprocessing or _preprocessing(request, options, module.config)
    try:
        encode, tokens = _text_encoder(module, request, options, texts)
        identity = texts.identity(tokens, request.spec)
        features = text_features(module, encode, texts)
    except InputError:
        raise
    except Exception as error:  # tokenizers may raise anything
        raise InputError(
            f"its tokenizer cannot be used: {_first_line(error)}",
            where=request.spec,
            remedy="Save the tokenizer beside the network with save_pretrained.",
        ) from error
    return zero_shot_classifier(
        request,
        ZeroShotNetwork(module, "get_image_features", features, identity),
        texts,
        own,
        weights=f"transformers {request.name}",
        note="The preprocessing follows the image processor",
    )


def _text_encoder(
    module: Any, request: ModelRequest, options: Mapping[str, Any], texts: ClassTexts
) -> tuple[Callable[[list[str], torch.device], torch.Tensor], list[list[int]]]:
    """The function from texts to their features, and the tokens of all texts.

    Raises:
        InputError: A text has more tokens than the network takes.
    """
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(_name(request), **options)
    tokens: list[list[int]] = tokenizer(texts.texts)["input_ids"]
    most = int(module.config.text_config.max_position_embeddings)
    longest = max(range(len(tokens)), key=lambda index: len(tokens[index]))
    if len(tokens[longest]) > most:
        raise too_long(texts.texts[longest], most, request.spec)
    # SigLIP was trained with texts of a fixed length.
    is_siglip = type(module).__name__ == "SiglipModel"
    padding = {"padding": "max_length", "max_length": most} if is_siglip else {"padding": True}

    def encode(words: list[str], device: torch.device) -> torch.Tensor:
        batch = tokenizer(words, return_tensors="pt", **padding)
        return pooled(module.get_text_features(**batch.to(device)))

    return encode, tokens


def _module(request: ModelRequest, options: Mapping[str, Any], kind: str) -> Any:
    """The network with all its weights.

    Raises:
        InputError: It cannot be loaded, needs code of its own, is no classifier, or lacks
            weights, which transformers would draw at random.
    """
    import transformers

    try:
        module, report = getattr(transformers, kind).from_pretrained(
            _name(request),
            **options,
            dtype="auto",
            weights_only=True,
            output_loading_info=True,
        )
    # The hub client, its HTTP library and the readers have no common base class.
    except Exception as error:
        raise InputError(
            f"no image classifier can be loaded: {_first_line(error)}",
            where=request.spec,
            remedy="It must be a checkpoint for AutoModelForImageClassification, CLIP or "
            "SigLIP, without code of its own. Without network access, use a local folder.",
        ) from error
    missing = [*report["missing_keys"], *report["mismatched_keys"]]
    if missing:
        raise InputError(
            f"lacks {len(missing)} weights of {type(module).__name__}, first "
            f"'{next(iter(missing))}'",
            where=request.spec,
            remedy="Use a checkpoint that was trained to classify.",
        )
    return module


def _class_names(config: Any, classes: int) -> tuple[str, ...] | None:
    """The names of the classes, unless they are only numbers."""
    names = [str(config.id2label.get(index, "")) for index in range(classes)]
    invented = [f"LABEL_{index}" for index in range(classes)]
    return None if "" in names or names == invented else tuple(names)


def _preprocessing(
    request: ModelRequest, options: Mapping[str, Any], config: Any
) -> Preprocessing:
    """The preprocessing of the checkpoint's image processor.

    Raises:
        InputError: There is none, or it does what a `Preprocessing` cannot.
    """
    import transformers

    from_pretrained: Any = transformers.AutoImageProcessor.from_pretrained  # without types

    try:
        processor = from_pretrained(_name(request), **options)
        own = translate(processor.to_dict(), int(getattr(config, "num_channels", 3)))
        check_translation(
            lambda image: processor(image, return_tensors="pt")["pixel_values"][0], own
        )
    except Exception as error:  # a processor of another kind may fail anywhere
        raise untranslated(request.spec, "image processor", _first_line(error)) from error
    return own


def translate(processor: Mapping[str, Any], channels: int = 3) -> Preprocessing:
    """The preprocessing with the settings of an image processor.

    Args:
        processor: The settings, as in a preprocessor_config.json with all defaults.
        channels: Number of channels of the network's input.

    Raises:
        InputError: The size is of an unknown kind.

    >>> translate({"size": {"height": 224, "width": 224}, "do_normalize": False}).describe()
    'resized to 224 × 224 px (bilinear), mean 0, 0, 0, std 1, 1, 1'
    """
    # The image arrives as x in [0, 1], of which the processor makes scale · x − offset.
    scale = 255 * processor.get("rescale_factor", 1 / 255)
    scale = scale if processor.get("do_rescale", True) else 255.0
    offset = 1.0 if processor.get("rescale_offset") else 0.0
    normalises = processor.get("do_normalize", True)
    mean, std = (
        np.broadcast_to(processor.get(name, default) if normalises else default, channels)
        for name, default in (("image_mean", 0.0), ("image_std", 1.0))
    )
    again = std if processor.get("include_top") else 1.0
    return Preprocessing(
        **_geometry(processor),
        interpolation=Image.Resampling(int(processor.get("resample", 2))).name.lower(),
        mean=tuple(((mean + offset) / scale).tolist()),
        std=tuple((std * again / scale).tolist()),
        mode="RGB" if channels == 3 else "L",
    )


def _geometry(processor: Mapping[str, Any]) -> dict[str, Any]:
    """How images are resized and cropped."""
    size, crop = processor.get("size") or {}, processor.get("crop_size") or {}
    geometry: dict[str, Any] = {}
    if processor.get("do_center_crop") and crop:
        geometry["crop_px"] = (int(crop["height"]), int(crop["width"]))
    if not processor.get("do_resize", True):
        return geometry
    if {"height", "width"} <= size.keys():
        return {"resize_px": (int(size["height"]), int(size["width"])), **geometry}
    if size.keys() != {"shortest_edge"}:
        raise InputError(f"the size {dict(size)} is not supported")
    side, kind = int(size["shortest_edge"]), str(processor.get("image_processor_type"))
    if kind.startswith("ConvNext"):
        if side >= 384:
            return {"resize_px": (side, side), **geometry}
        geometry.setdefault("crop_px", (side, side))
    if kind.startswith("Levit"):
        side = int(256 / 224 * side)
    return {"resize_px": int(side / (processor.get("crop_pct") or 1)), **geometry}


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and messages of transformers."""
    import transformers

    logging: Any = transformers.utils.logging  # without types
    verbosity, shows = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shows:
            logging.enable_progress_bar()
