"""Whether the evaluated network has the architecture that is claimed for it.

A run notes how many parameters the network had, and of which shapes
(`noctule.models.fingerprint`). The claimed architecture is built without memory for weights
(PyTorch's device "meta") and compared. Only architectures of noctule and of torchvision are
built: a submission cannot name code to run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from noctule.leaderboard.lines import CheckItem, expect_equal, failed, truncate, unverified
from noctule.models.fingerprint import architecture_fingerprint
from noctule.models.shipped import SHIPPED
from noctule.models.small_nets import ARCHITECTURES

_LARGEST_SIDE_PX = 2048
MOST_PARAMETERS = 10**15
_PREFIX = "torchvision:"


def canonical(architecture: str) -> str | None:
    """The name under which noctule can build it, or None.

    >>> canonical("ResNet50"), canonical("torchvision:resnet50@IMAGENET1K_V2")
    ('torchvision:resnet50', 'torchvision:resnet50')
    >>> canonical("ResNet-50"), canonical("PatchResNet"), canonical("my.module:function")
    ('torchvision:resnet50', 'photo-patches', None)
    """
    plain = _plain(architecture)
    for name, own in SHIPPED.items():
        if plain in (_plain(name), _plain(own)):
            return name
    name = plain.removeprefix(_PREFIX).partition("@")[0]
    exact = architecture.strip().removeprefix(_PREFIX).partition("@")[0]
    # Without its hyphens regnet_x_1_6gf would be regnet_x_16gf: what is not clear has no name.
    found = [one for one in _torchvision_names() if one == exact] or [
        one for one in _torchvision_names() if _plain(one) == name
    ]
    return f"{_PREFIX}{found[0]}" if len(found) == 1 else None


def _plain(name: str) -> str:
    """As people mean it: capitals, spaces, dots and hyphens tell no architectures apart."""
    return re.sub(r"[\s._-]", "", name.casefold())


def architecture_lines(
    claimed: str,
    parameters: int | None,
    starts: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    classes: int,
) -> list[CheckItem]:
    """Lines on the claimed architecture and on its number of parameters.

    Args:
        claimed: the architecture.
        parameters: how many it is claimed to have, if that is claimed.
        starts: the run's provenance.
        model: the model in run.json.
        classes: how many the run has.
    """
    prints = _recorded(starts)
    if len(prints) > 1:
        return [failed("architecture", "the starts of the run were of different networks")]
    if not prints:
        told = truncate(str(model.get("architecture")))
        why = f"'{claimed}' is claimed and the run says '{told}', but it noted no fingerprint"
        lines = [unverified("architecture", why)]
    else:
        lines = [_compared(claimed, prints[0], model, classes)]
    lines += _noted_lines(claimed, prints, model, classes)
    if parameters is not None:
        if prints:
            lines.append(expect_equal("parameters", parameters, prints[0]["parameters"]))
        else:
            lines.append(unverified("parameters", f"{parameters:,} are claimed"))
    return lines


def _noted_lines(
    claimed: str,
    prints: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    classes: int,
) -> Iterator[CheckItem]:
    """The claim against the architecture that run.json names, if noctule knows that one."""
    noted = str(model.get("architecture"))
    name, line = canonical(noted), "architecture in run.json"
    if name is None:
        return
    # timm has networks of the same names as torchvision, and tags behind a dot.
    short = claimed.strip().removeprefix("timm:").partition(".")[0]
    if name in (canonical(claimed), canonical(short)):
        yield CheckItem(line, "holds", f"'{truncate(noted)}'")
    elif (
        canonical(claimed) is None
        and prints
        and _compared(noted, prints[0], model, classes).state == "does not hold"
    ):
        yield unverified(line, f"'{truncate(noted)}', and its parameters are of other shapes")
    else:
        yield failed(line, f"'{truncate(noted)}', where '{claimed}' is claimed")


def recorded_parameters(starts: Sequence[Mapping[str, Any]]) -> int | None:
    """How many parameters the run noted that its network has."""
    prints = _recorded(starts)
    return int(prints[0]["parameters"]) if len(prints) == 1 else None


def _recorded(starts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The different fingerprints in a run's provenance."""
    found: list[dict[str, Any]] = []
    for start in starts:
        one = start.get("architecture_fingerprint")
        if not isinstance(one, dict) or one in found:
            continue
        count = one.get("parameters")
        sane = type(count) is int and 0 <= count <= MOST_PARAMETERS
        if sane and isinstance(one.get("shapes_sha256"), str):
            found.append(one)
    return found


def _compared(
    claimed: str, recorded: Mapping[str, Any], model: Mapping[str, Any], classes: int
) -> CheckItem:
    count = f"{recorded['parameters']:,} parameters"
    name = canonical(claimed)
    if name is None:
        why = f"'{claimed}' is claimed; noctule builds only its own and torchvision's"
        return unverified("architecture", f"{why}; the run noted {count}")
    built = [architecture_fingerprint(one) for one in _variants(name, model, classes)]
    if not built:
        return unverified("architecture", f"{name} cannot be built for these images")
    if recorded in built:
        return CheckItem("architecture", "holds", f"{name}, {count} of its shapes")
    theirs = f"{built[0]['parameters']:,} parameters"
    same = " of other shapes" if built[0]["parameters"] == recorded["parameters"] else ""
    return failed(
        "architecture",
        f"{name} with {classes} classes has {theirs}, the run noted {count}{same}",
    )


def _variants(name: str, model: Mapping[str, Any], classes: int) -> Iterator[nn.Module]:
    """The architecture, with and without the heads that only training uses."""
    with torch.device("meta"):
        if name in SHIPPED:
            yield ARCHITECTURES[SHIPPED[name]](classes)
            return
        short = name.removeprefix(_PREFIX)
        for options in _options(short, _side_px(model)):
            try:
                yield _torchvision(short, classes, options)
            except (ValueError, RuntimeError, TypeError, AssertionError):
                continue  # a size of image that it does not take


def _options(name: str, side_px: int) -> list[dict[str, Any]]:
    if name in ("googlenet", "inception_v3"):
        return [{"aux_logits": aux, "init_weights": False} for aux in (False, True)]
    if name.startswith("vit_"):
        return [{"image_size": side_px}]
    if name.startswith("maxvit"):
        return [{"input_size": (side_px, side_px)}]
    return [{}]


def _side_px(model: Mapping[str, Any]) -> int:
    """Of the images the network takes; 224 unless the run says otherwise."""
    preprocessing = model.get("preprocessing")
    crop = preprocessing.get("crop_px") if isinstance(preprocessing, Mapping) else None
    side = crop[0] if isinstance(crop, list) and crop else None
    return side if type(side) is int and 1 <= side <= _LARGEST_SIDE_PX else 224


@functools.cache
def _torchvision_names() -> tuple[str, ...]:
    from torchvision import models

    return tuple(models.list_models(module=models))


def _torchvision(name: str, classes: int, options: Mapping[str, Any]) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, num_classes=classes, **options)
    return module
