"""Zero-shot classifiers: an image and a text encoder, such as CLIP's, and names of classes.

The logits of an image are its similarities to the features of the classes: the mean of the
features of the class's name in each prompt. These are computed once, when the model is loaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noctule.errors import InputError, shown
from noctule.input_files import read_text
from noctule.models.classifier import Classifier, make_classifier
from noctule.models.preprocessing import Preprocessing
from noctule.models.program_files import agreed_classes
from noctule.models.registry import ModelRequest
from noctule.plugins import import_module

DEFAULT_PROMPT: Final = "a photo of a {}."
_PLACE: Final = "{}"
_TEXTS_AT_ONCE: Final = 64
_REMEDY: Final = (
    "Use a text file with one per line, or a list in a package, such as "
    "open_clip:IMAGENET_CLASSNAMES or open_clip:OPENAI_IMAGENET_TEMPLATES."
)


class ClassTexts(NamedTuple):
    """The names of the classes, and the prompts that they are put into.

    Attributes:
        names: In the order of the logits.
        prompts: With {} for the name.

    >>> ClassTexts(("cat", "dog"), ("a {}.", "the {}.")).texts
    ['a cat.', 'the cat.', 'a dog.', 'the dog.']
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """Each name in each prompt, class by class."""
        return [prompt.replace(_PLACE, name) for name in self.names for prompt in self.prompts]

    def identity(self, tokens: list[list[int]], spec: str) -> dict[str, Any]:
        """JSON values that determine the features, besides the weights.

        Args:
            tokens: The tokens of each text.
            spec: Name of the model.

        Raises:
            InputError: Two names have the same tokens, as all have if the tokenizer has no
                vocabulary.

        >>> ClassTexts(("cat", "dog"), ("a {}.",)).identity([[5, 0], [5, 0]], "hf:x")
        Traceback (most recent call last):
        noctule.errors.InputError: hf:x: the tokenizer reads 'cat' and 'dog' alike. Use names
        that the model knows, and the tokenizer that it was trained with.
        """
        names: dict[tuple[int, ...], str] = {}
        for name, ids in zip(self.names, tokens[:: len(self.prompts)], strict=True):
            other = names.setdefault(tuple(ids), name)
            if other.casefold() != name.casefold():
                raise InputError(
                    f"the tokenizer reads '{shown(other)}' and '{shown(name)}' alike",
                    where=spec,
                    remedy="Use names that the model knows, and the tokenizer that it was "
                    "trained with.",
                )
        digest = hashlib.sha256(json.dumps(tokens).encode()).hexdigest()
        return {"classes": self.names, "prompts": self.prompts, "tokens_sha256": digest}

    def describe(self) -> str:
        """A description for people.

        >>> ClassTexts(("cat", "dog"), ("a {}.", "the {}.")).describe()
        "2 classes, 2 prompts such as 'a {}.'"
        """
        several = len(self.prompts) > 1
        prompts = f"{len(self.prompts)} prompts such as" if several else "the prompt"
        return f"{len(self.names)} classes, {prompts} '{shown(self.prompts[0])}'"


def class_texts(request: ModelRequest) -> ClassTexts:
    """The names and prompts of a request.

    Raises:
        InputError: No names are given; a file or a package has none; or a prompt has no {}.
    """
    if request.classes is None:
        raise InputError(
            "it classifies by the names of the classes, and none are given",
            where=request.spec,
            remedy="Pass --classes FILE (in Python, classes=…), with one name per line, in the "
            "order of the data's classes.",
        )
    names = _entries(request.classes, "--classes")
    if len(names) < 2:
        raise InputError(f"has {len(names)} names", where="--classes", remedy=_REMEDY)
    prompts = request.prompts
    if isinstance(prompts, str) and _PLACE in prompts:
        prompts = [prompts]
    entries = [DEFAULT_PROMPT] if prompts is None else _entries(prompts, "--prompts")
    for prompt in entries:
        if _PLACE not in prompt:
            raise InputError(
                f"the prompt '{shown(prompt)}' has no {{}}",
                where="--prompts",
                remedy=f"Put {{}} where the name of the class goes: '{DEFAULT_PROMPT}'.",
            )
    return ClassTexts(tuple(names), tuple(entries))


def refuse_texts(request: ModelRequest) -> None:
    """Raise InputError if a request for another model has names of classes or prompts."""
    for value, option in ((request.classes, "--classes"), (request.prompts, "--prompts")):
        if value is not None:
            raise InputError(
                f"{request.spec} has classes of its own",
                where=option,
                remedy=f"Omit {option}: it is for CLIP and SigLIP.",
            )


def _entries(value: object, option: str) -> list[str]:
    """The lines of a file, or the strings of a list in a package or in Python."""
    where: object = option
    if isinstance(value, str | Path):
        where, path = value, Path(value).expanduser()
        module, _, name = str(value).partition(":")
        is_file = path.exists() or not (module and name)
        value = _lines(path, option) if is_file else _in_package(module, name, option)
    if not isinstance(value, Sequence) or isinstance(value, bytes) or not len(value):
        raise InputError(f"{where} is not a list of texts", where=option, remedy=_REMEDY)
    entries = []
    for number, entry in enumerate(value, start=1):
        # open_clip's prompts are functions of the name.
        text = entry(_PLACE) if callable(entry) else entry
        if not isinstance(text, str) or not (text := " ".join(text.split())):
            raise InputError(
                f"entry {number} of {where} is empty or no text", where=option, remedy=_REMEDY
            )
        entries.append(text)
    return entries


def _lines(path: Path, option: str) -> list[str]:
    if not path.exists():
        raise InputError(f"there is no file '{path}'", where=option, remedy=_REMEDY)
    return read_text(path).rstrip().splitlines()


def _in_package(module: str, name: str, option: str) -> object:
    found = getattr(import_module(module, option), name, None)
    if found is None:
        raise InputError(f"the module '{module}' has no '{name}'", where=option)
    return found


class ZeroShotNetwork(nn.Module):
    """A network from images to their similarities to texts.

    Args:
        model: Both encoders; its `logit_scale`, and `logit_bias` if it has one, make logits of
            similarities.
        encode_image: Name of the method from images to features (batch, features), which may be
            the `pooler_output` of what it returns.
        features: Features of the classes, (classes, features), of length 1.
        identity: JSON values that determine these features, besides the weights.
    """

    text_features: Tensor

    def __init__(
        self, model: nn.Module, encode_image: str, features: Tensor, identity: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self.model = model
        self.encode_image = encode_image
        self.identity = dict(identity)
        # Its last bits depend on the machine, so that it is no part of the state.
        self.register_buffer("text_features", features, persistent=False)

    def get_extra_state(self) -> dict[str, Any]:
        """The identity of the texts, which the hash of the weights includes."""
        return self.identity

    def forward(self, images: Tensor) -> Tensor:
        """Logits (batch, classes) of normalised images (batch, channels, height, width)."""
        features = pooled(getattr(self.model, self.encode_image)(images))
        bias: Any = getattr(self.model, "logit_bias", None)
        scale: Any = self.model.logit_scale
        # A scale of 100 would turn the rounding of bfloat16 into errors of half a logit.
        with torch.autocast(images.device.type, enabled=False):
            similarities = F.normalize(features.float(), dim=-1) @ self.text_features.T
            logits: Tensor = similarities * scale.float().exp()
            return logits if bias is None else logits + bias.float()


def pooled(returned: Any) -> Tensor:
    """The features in what an encoder returned."""
    features: Tensor = getattr(returned, "pooler_output", returned)
    return features


def text_features(
    model: nn.Module, encode: Callable[[list[str], torch.device], Tensor], texts: ClassTexts
) -> Tensor:
    """The features of the classes, computed on a CUDA device if there is one.

    Args:
        model: The network, which is moved back afterwards.
        encode: From texts to their features (texts, features), on a device.
        texts: Names and prompts.

    Returns:
        float32 (classes, features), of length 1.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    words, rows = texts.texts, []
    try:
        model.eval().to(device)
        with torch.no_grad():
            for start in range(0, len(words), _TEXTS_AT_ONCE):
                features = encode(words[start : start + _TEXTS_AT_ONCE], device)
                rows.append(F.normalize(features.float(), dim=-1).cpu())
    finally:
        model.to("cpu")
    means = torch.cat(rows).view(len(texts.names), len(texts.prompts), -1).mean(dim=1)
    return F.normalize(means, dim=-1)


def zero_shot_classifier(
    request: ModelRequest,
    network: ZeroShotNetwork,
    texts: ClassTexts,
    own: Preprocessing,
    *,
    weights: str,
    note: str,
) -> Classifier:
    """The classifier of a network, with the names of its classes.

    Args:
        request: What was asked for.
        network: The network.
        texts: Names and prompts.
        own: Its preprocessing.
        weights: Origin of the weights.
        note: Origin of the preprocessing.
    """
    classifier = make_classifier(
        network,
        own,
        name=request.spec,
        architecture=type(network.model).__name__,
        weights=f"{weights}; {texts.describe()}",
        class_names=texts.names,
        num_classes=agreed_classes(request, len(texts.names)),
    )
    # Some of these networks flatten with `view`, which another memory format forbids.
    note = "" if request.preprocessing else f"{texts.describe()}. {note}"
    return replace(classifier, channels_last=False, preprocessing_note=note)


def too_long(text: str, most: int, spec: str) -> InputError:
    """The error for a text with more than `most` tokens."""
    return InputError(
        f"'{shown(text)}' has more than {most} tokens, which is all that the model reads",
        where=spec,
        remedy="Shorten the name of the class or the prompt.",
    )
