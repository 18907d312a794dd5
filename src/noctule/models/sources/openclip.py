"""Zero-shot classifiers of open_clip: "openclip:ViT-B-32@openai", "openclip:FOLDER"."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from noctule.errors import InputError
from noctule.extras import require
from noctule.input_files import read_text, reject_special_files
from noctule.models.architectures import unknown_architecture
from noctule.models.classifier import Classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.registry import ModelRequest, model_source
from noctule.models.translation import check_translation, untranslated
from noctule.models.weights_file import load_into
from noctule.models.zero_shot import (
    ClassTexts,
    ZeroShotNetwork,
    class_texts,
    text_features,
    too_long,
    zero_shot_classifier,
)

CONFIG = "open_clip_config.json"


@model_source(
    "openclip",
    (
        "openclip:NAME@WEIGHTS",
        "such as ViT-B-32@openai (needs the extra noctule[openclip])",
    ),
    ("openclip:FOLDER", "a model of open_clip on disk, read without the network"),
    takes_texts=True,
)
def load(request: ModelRequest) -> Classifier:
    """The zero-shot classifier of a model of open_clip; see `load_classifier`.

    A name is one of open_clip's, with its weights after "@" or from a file; a folder with an
    open_clip_config.json; or OWNER/NAME on the Hugging Face hub.
    """
    require("openclip")
    texts = class_texts(request)
    with _quiet():
        name, tag = _location(request)
        model = _model(request, name, tag)
        own = request.preprocessing or _preprocessing(request, model)
        try:
            encode, tokens = _text_encoder(model, name, texts, request.spec)
            identity = texts.identity(tokens, request.spec)
            features = text_features(model, encode, texts)
        except InputError:
            raise
        except Exception as error:  # tokenizers may raise anything
            raise InputError(
                f"its texts cannot be encoded: {_first_line(error)}", where=request.spec
            ) from error
    origin = f"open_clip {request.name}" if request.weights is None else ""
    return zero_shot_classifier(
        request,
        ZeroShotNetwork(model, "encode_image", features, identity),
        texts,
        own,
        weights=origin or request.weights.description,  # type: ignore[union-attr]
        note="The preprocessing follows open_clip's configuration",
    )


def _location(request: ModelRequest) -> tuple[str, str | None]:
    """The name for open_clip, and the name of the weights.

    Raises:
        InputError: The name or the weights are unknown, or there are none or two; or a
            configuration asks for code of its own.
    """
    import open_clip

    path = Path(request.name).expanduser()
    if request.name.startswith((".", "/", "~")) or path.exists():
        _check_folder(path, request.spec)
        name = f"local-dir:{path.absolute()}"
    elif "/" in request.name:
        name = f"hf-hub:{request.name}"
    else:
        name, _, tag = request.name.partition("@")
        if name not in (known := open_clip.list_models()):
            raise unknown_architecture("open_clip model", name, known)
        tags = open_clip.list_pretrained_tags_by_model(name)
        if bool(tag) == (request.weights is not None) or (tag and tag not in tags):
            raise InputError(
                f"'{tag}' are no weights of {name}" if tag else "no weights are named",
                where=request.spec,
                remedy=f"Use --weights FILE alone, or one of: {', '.join(tags) or 'none'}.",
            )
        return name, tag or None
    if request.weights is not None:
        raise InputError(
            "has its own weights, and other weights cannot be loaded into it",
            where=request.spec,
            remedy="Omit --weights.",
        )
    return name, None


def _check_folder(folder: Path, spec: str) -> None:
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"is not a folder with an {CONFIG}",
            where=spec,
            remedy="Save the model there with open_clip.push_to_hf_hub.save_for_hf.",
        )
    for file in folder.iterdir():
        reject_special_files(file, folder_allowed=True)
    read_text(folder / CONFIG)


def _model(request: ModelRequest, name: str, tag: str | None) -> Any:
    """The network with all its weights, float32.

    Raises:
        InputError: It cannot be loaded, or asks for code of its own.
    """
    import open_clip

    from_file = request.weights is not None
    try:
        # open_clip passes the options of a configuration on to transformers.
        if "trust_remote_code" in json.dumps(open_clip.get_model_config(name)):
            raise InputError(
                "its configuration asks for code of its own, which is not run",
                where=request.spec,
            )
        model: Any = open_clip.create_model(
            name,
            tag,
            load_weights=not from_file,
            require_pretrained=not from_file,
            pretrained_text=False,
            weights_only=True,
        )
    except InputError:
        raise
    # The hub client, its HTTP library and the readers have no common base class.
    except Exception as error:
        raise InputError(
            f"open_clip cannot load it: {_first_line(error)}",
            where=request.spec,
            remedy="Without network access, use a local folder, or --weights.",
        ) from error
    if request.weights is not None:
        load_into(model, request.weights.state, request.weights.path)
    return model.eval()


def _preprocessing(request: ModelRequest, model: Any) -> Preprocessing:
    """The preprocessing of open_clip's configuration, compared with its own transform.

    Raises:
        InputError: It does what a `Preprocessing` cannot.
    """
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    config = open_clip.get_model_preprocess_cfg(model)
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    try:
        if config["resize_mode"] == "longest":
            raise InputError("it pads images")
        stretches = config["resize_mode"] == "squash"
        own = Preprocessing(
            resize_px=(height, width) if stretches or height != width else height,
            crop_px=None if stretches else (height, width),
            fit="stretch" if stretches else "cover",
            interpolation=config["interpolation"],
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
        )
        check_translation(image_transform_v2(PreprocessCfg(**config), is_train=False), own)
    except Exception as error:  # open_clip does not check its configuration
        raise untranslated(request.spec, "preprocessing", _first_line(error)) from error
    return own


def _text_encoder(
    model: Any, name: str, texts: ClassTexts, spec: str
) -> tuple[Callable[[list[str], torch.device], torch.Tensor], list[list[int]]]:
    """The function from texts to their features, and the tokens of all texts.

    Raises:
        InputError: A text has more tokens than the network takes.
    """
    import open_clip

    tokenizer = open_clip.get_tokenizer(name)
    most = int(tokenizer.context_length)
    if isinstance(tokenizer, open_clip.SimpleTokenizer):
        for text in texts.texts:
            if len(tokenizer.encode(text)) + 2 > most:
                raise too_long(text, most, spec)

    def encode(words: list[str], device: torch.device) -> torch.Tensor:
        features: torch.Tensor = model.encode_text(tokenizer(words).to(device))
        return features

    return encode, tokenizer(texts.texts).tolist()


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"\s+", " ", (lines or [type(error).__name__])[0])[:300]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of open_clip, which writes them to the root logger."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
