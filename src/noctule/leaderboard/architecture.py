"""Check whether the evaluated network has the claimed architecture.

A run records the number and shapes of the network's parameters (`noctule.models.fingerprint`).
The claimed architecture is built without memory for weights (PyTorch's "meta" device) and
compared. Only architectures of noctule and torchvision are built, so that a submission cannot
name code to run.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from noctule.leaderboard.check_items import (
    CheckItem,
    expect_equal,
    failed,
    passed,
    truncate,
    unverified,
)
from noctule.models.fingerprint import architecture_fingerprint
from noctule.models.sources.shipped import SHIPPED
from noctule.models.sources.torchvision import PREFIX, architecture_names, structures

_LARGEST_SIDE_PX = 2048
MAX_PARAMETERS = 10**15


def canonical(architecture: str) -> str | None:
    """The name under which noctule can build an architecture, or None.

    >>> canonical("ResNet50"), canonical("torchvision:resnet50@IMAGENET1K_V2")
    ('torchvision:resnet50', 'torchvision:resnet50')
    >>> canonical("ResNet-50"), canonical("PatchResNet"), canonical("my.module:function")
    ('torchvision:resnet50', 'photo-patches', None)
    """
    plain = _plain(architecture)
    for name, own in SHIPPED.items():
        if plain in (_plain(name), _plain(own.__name__)):
            return name
    name = plain.removeprefix(PREFIX).partition("@")[0]
    exact = architecture.strip().removeprefix(PREFIX).partition("@")[0]
    # regnet_x_1_6gf and regnet_x_16gf differ only in separators: ambiguous names give None.
    names = _torchvision_names()
    matches = [exact] if exact in names else [known for known in names if _plain(known) == name]
    return f"{PREFIX}{matches[0]}" if len(matches) == 1 else None


def _plain(name: str) -> str:
    """A name without capitals, spaces, dots, hyphens and underscores."""
    return re.sub(r"[\s._-]", "", name.casefold())


def check_architecture(
    claimed: str,
    parameters: int | None,
    starts: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    classes: int,
) -> list[CheckItem]:
    """Check the claimed architecture and its claimed number of parameters.

    Args:
        claimed: The claimed architecture.
        parameters: The claimed number of parameters, if any.
        starts: Provenance records of the run.
        model: The model in run.json.
        classes: Number of classes of the run.
    """
    prints = _recorded(starts)
    if len(prints) > 1:
        return [failed("architecture", "the run was started with different networks")]
    if not prints:
        recorded = truncate(str(model.get("architecture")))
        reason = f"claimed '{claimed}', recorded '{recorded}' without a fingerprint"
        items = [unverified("architecture", reason)]
    else:
        items = [_compared(claimed, prints[0], model, classes)]
    items += _check_recorded_name(claimed, prints, model, classes)
    if parameters is not None:
        if prints:
            items.append(expect_equal("parameters", parameters, prints[0]["parameters"]))
        else:
            items.append(unverified("parameters", f"claimed {parameters:,}, none recorded"))
    return items


def _check_recorded_name(
    claimed: str,
    prints: Sequence[Mapping[str, Any]],
    model: Mapping[str, Any],
    classes: int,
) -> Iterator[CheckItem]:
    """Compare the claim with the architecture in run.json, if noctule knows that name."""
    recorded = str(model.get("architecture"))
    name, title = canonical(recorded), "architecture in run.json"
    if name is None:
        return
    # timm shares names with torchvision and adds tags after a dot.
    short = claimed.strip().removeprefix("timm:").partition(".")[0]
    if name in (canonical(claimed), canonical(short)):
        yield passed(title, f"'{truncate(recorded)}'")
    elif (
        canonical(claimed) is None
        and prints
        and _compared(recorded, prints[0], model, classes).state == "does not hold"
    ):
        yield unverified(title, f"'{truncate(recorded)}', but parameters of other shapes")
    else:
        yield failed(title, f"'{truncate(recorded)}', claimed '{claimed}'")


def recorded_parameters(starts: Sequence[Mapping[str, Any]]) -> int | None:
    """The number of parameters that the run recorded for its network."""
    prints = _recorded(starts)
    return int(prints[0]["parameters"]) if len(prints) == 1 else None


def _recorded(starts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The distinct fingerprints in a run's provenance."""
    fingerprints: list[dict[str, Any]] = []
    for start in starts:
        fingerprint = start.get("architecture_fingerprint")
        if not isinstance(fingerprint, dict) or fingerprint in fingerprints:
            continue
        count = fingerprint.get("parameters")
        is_plausible = type(count) is int and 0 <= count <= MAX_PARAMETERS
        if is_plausible and isinstance(fingerprint.get("shapes_sha256"), str):
            fingerprints.append(fingerprint)
    return fingerprints


def _compared(
    claimed: str, recorded: Mapping[str, Any], model: Mapping[str, Any], classes: int
) -> CheckItem:
    count = f"{recorded['parameters']:,} parameters"
    name = canonical(claimed)
    if name is None:
        reason = f"'{claimed}' is neither noctule's nor torchvision's"
        return unverified("architecture", f"{reason}; the run recorded {count}")
    built = [architecture_fingerprint(net) for net in _variants(name, model, classes)]
    if not built:
        return unverified("architecture", f"{name} cannot be built for this image size")
    if recorded in built:
        return passed("architecture", f"{name}, {count} of matching shapes")
    expected = f"{name} with {classes} classes has {built[0]['parameters']:,} parameters"
    shapes = " of other shapes" if built[0]["parameters"] == recorded["parameters"] else ""
    return failed("architecture", f"{expected}, the run recorded {count}{shapes}")


def _variants(name: str, model: Mapping[str, Any], classes: int) -> list[nn.Module]:
    """The architecture, with and without heads used only in training."""
    with torch.device("meta"):
        if name in SHIPPED:
            return [SHIPPED[name](classes)]
        return structures(name.removeprefix(PREFIX), classes, _side_px(model))


def _side_px(model: Mapping[str, Any]) -> int:
    """Side of the network's input images; 224 unless the run recorded another."""
    preprocessing = model.get("preprocessing")
    crop = preprocessing.get("crop_px") if isinstance(preprocessing, Mapping) else None
    side = crop[0] if isinstance(crop, list) and crop else None
    return side if type(side) is int and 1 <= side <= _LARGEST_SIDE_PX else 224


@functools.cache
def _torchvision_names() -> tuple[str, ...]:
    return tuple(architecture_names())
