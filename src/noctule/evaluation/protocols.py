"""Protocols: how the outputs of a model are scored if its classes are not those of the data.

"1000-way": all classes of the model compete. "restricted": only those that the data have.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor

from noctule.data import Dataset
from noctule.data.class_map import ClassMap, load_class_map
from noctule.data.dataset import class_index
from noctule.data.imagenet import NUM_CLASSES, wnids
from noctule.data.subset import of_classes
from noctule.errors import InputError, NoctuleWarning, nearest, shown
from noctule.evaluation.checks.classes import are_imagenet, comparable, is_numbered
from noctule.evaluation.settings import Settings
from noctule.models import Classifier
from noctule.store.comparability import RESTRICTED

_WNID: Final = re.compile(r"n\d{8}(?!\d)")


@dataclass(frozen=True)
class Protocol:
    """Which classes of a model compete, and which of them belong to each class of the data.

    Attributes:
        name: "restricted", or "1000-way" for a model with 1000 classes.
        groups: Indices of the model's classes, for each class of the data.
        rest: Indices of the model's other classes that compete.
        class_names: Names of the outputs: the classes of the data, then the others.
        num_classes: Number of the model's classes.
        class_map: The map that the groups come from, if any.
    """

    name: str
    groups: tuple[tuple[int, ...], ...]
    rest: tuple[int, ...]
    class_names: tuple[str, ...]
    num_classes: int
    class_map: ClassMap | None
    _on: dict[torch.device, Tensor] = field(default_factory=dict, compare=False)

    @property
    def title(self) -> str:
        """The protocol in words, for tables."""
        title = self.name
        if title == RESTRICTED:
            title += f" to {len(self.groups)} classes"
        return title if self.class_map is None else f"{title}, class map {self.class_map.name}"

    def to_dict(self) -> dict[str, Any]:
        """What a run records; models are compared only if name and class map are equal."""
        record: dict[str, Any] = {"name": self.name, "num_outputs": len(self.class_names)}
        if self.class_map is not None:
            record["class_map"] = {"name": self.class_map.name, "sha256": self.class_map.sha256}
        return record

    def outputs(self, logits: Tensor) -> Tensor:
        """Logits of the classes of the data, then of the others, (batch, outputs).

        The softmax of an output is the sum of its classes' probabilities, among all classes
        that compete.

        Args:
            logits: (batch, num_classes).

        Raises:
            InputError: The model has another number of classes.
        """
        if logits.shape[1] != self.num_classes:
            raise InputError(
                f"returned {logits.shape[1]} logits per image, where {self.num_classes} are "
                "expected",
                where="the model",
                remedy=f"The protocol '{self.title}' is of a model with {self.num_classes} "
                "classes.",
            )
        index = self._on.get(logits.device)
        if index is None:
            index = self._on[logits.device] = self._index.to(logits.device)
        if index.shape[1] == 1:
            return logits[:, index[:, 0]]
        grouped = logits[:, index.clamp(min=0)].masked_fill(index < 0, -torch.inf)
        return grouped.logsumexp(dim=2)

    @cached_property
    def _index(self) -> Tensor:
        """Indices of each output's classes, (outputs, most classes), filled up with -1."""
        groups = [*self.groups, *((index,) for index in self.rest)]
        most = max(map(len, groups))
        return torch.tensor([[*one, *[-1] * (most - len(one))] for one in groups])

    def named(self, dataset: Dataset) -> Dataset:
        """The dataset with a class name for each output; images and labels are the same."""
        dataset = copy.copy(dataset)
        dataset.class_names = self.class_names
        return dataset


def scored(
    classifier: Classifier, dataset: Dataset, settings: Settings
) -> tuple[Dataset, Protocol | None]:
    """The images that a protocol scores, and the protocol.

    There is none if the settings name none, or if it would change nothing: the model has the
    classes of the data, in the same order.

    Raises:
        InputError: Classes of the data are not the model's, or not in the class map; two are
            the same class of the model; or the protocol is for another number of classes.

    Warns:
        NoctuleWarning: The model does not name its classes, which are taken to be ImageNet's.
    """
    if settings.protocol is None:
        return dataset, None
    class_map = None if settings.class_map is None else load_class_map(settings.class_map)
    if class_map is not None:
        dataset = _of_map(dataset, class_map)
    elif settings.protocol == RESTRICTED and is_numbered(dataset.class_names):
        raise InputError(
            "its classes are numbers, so it is not known which of the model's it has",
            where=dataset.name,
            remedy="Name them by WordNet id or name, as folders or in the labels file, or use "
            "another protocol.",
        )
    model = _model_classes(classifier, dataset, settings.protocol)
    groups = _groups(model, dataset, class_map)
    _check_disjoint(groups, dataset, model)
    rest: tuple[int, ...] = ()
    if settings.protocol != RESTRICTED:
        _check_number(settings.protocol, model, dataset)
        used = {index for group in groups for index in group}
        rest = tuple(index for index in range(model.number) if index not in used)
    in_order = tuple((index,) for index in range(model.number))
    if class_map is None and groups == in_order:
        return dataset, None
    names = (*dataset.class_names, *(model.names[index] for index in rest))
    return dataset, Protocol(settings.protocol, groups, rest, names, model.number, class_map)


class _ModelClasses(NamedTuple):
    """The classes of a model.

    Attributes:
        model: Name of the model, for messages.
        names: Names by index.
        indices: Indices by WordNet id or comparable name; several for a name that occurs twice.
    """

    model: str
    names: Sequence[str]
    indices: Mapping[str, set[int]]

    @property
    def number(self) -> int:
        """Number of classes."""
        return len(self.names)

    def find(self, name: str) -> set[int]:
        """Indices of the classes that a WordNet id, name or index may mean."""
        wnid = _WNID.match(name)
        for key in (comparable(name), wnid[0] if wnid else ""):
            if key in self.indices:
                return self.indices[key]
        index = class_index(name)
        return {index} if index is not None and 0 <= index < self.number else set()


def _model_classes(classifier: Classifier, dataset: Dataset, protocol: str) -> _ModelClasses:
    names = classifier.class_names
    if names is None and is_numbered(dataset.class_names):
        number = classifier.num_classes or int(protocol.partition("-")[0])
        names = tuple(map(str, range(number)))
    is_imagenet = names is not None and are_imagenet(names)
    if names is None:
        if classifier.num_classes not in (None, NUM_CLASSES):
            raise InputError(
                f"does not name its {classifier.num_classes} classes, so the data's cannot be "
                "found among them",
                where=classifier.name,
                remedy="Give the model class names, or each image the model's class index.",
            )
        names, is_imagenet = wnids(), True
        warnings.warn(
            f"{classifier.name}: it does not name its classes; they are taken to be the "
            f"{NUM_CLASSES} of ImageNet, in the order of their WordNet ids.",
            NoctuleWarning,
            stacklevel=4,
        )
    indices: dict[str, set[int]] = {}
    for index, name in enumerate(names):
        indices.setdefault(comparable(name), set()).add(index)
    if is_imagenet:
        from torchvision.models import ResNet50_Weights

        categories = ResNet50_Weights.DEFAULT.meta["categories"]
        for index, (wnid, name) in enumerate(zip(wnids(), categories, strict=True)):
            indices.setdefault(wnid, {index})
            indices.setdefault(comparable(name), set()).add(index)
    return _ModelClasses(classifier.name, names, indices)


def _of_map(dataset: Dataset, class_map: ClassMap) -> Dataset:
    """The images of the classes that a map lists with members.

    Raises:
        InputError: The map misses a class of the data.
    """
    members = {comparable(name): one for name, one in class_map.members.items()}
    keys = list(map(comparable, dataset.class_names))
    missing = [
        name for name, key in zip(dataset.class_names, keys, strict=True) if key not in members
    ]
    if (missing and not class_map.leaves_out_others) or len(missing) == len(keys):
        guess = nearest(missing[0], class_map.members)
        raise InputError(
            f"misses {len(missing)} of the {len(keys)} classes of {dataset.name}, first "
            f"'{shown(missing[0])}'",
            where=f"class map {class_map.name}",
            remedy=(f"Did you mean '{guess}'? " if guess else "")
            + "To leave images of a class out, list it without classes of the model.",
        )
    kept = [index for index, key in enumerate(keys) if members.get(key)]
    return dataset if len(kept) == len(keys) else of_classes(dataset, kept)


def _groups(
    model: _ModelClasses, dataset: Dataset, class_map: ClassMap | None
) -> tuple[tuple[int, ...], ...]:
    """Indices of the model's classes, for each class of the data."""
    where, what = dataset.name, "classes of the data"
    members: dict[str, tuple[str, ...]] = {name: (name,) for name in dataset.class_names}
    if class_map is not None:
        where, what = f"class map {class_map.name}", "classes of the map"
        listed = {comparable(name): one for name, one in class_map.members.items()}
        members = {name: listed[comparable(name)] for name in dataset.class_names}
    wanted = [name for group in members.values() for name in group]
    found = {name: model.find(name) for name in wanted}
    unknown = [name for name in wanted if not found[name]]
    if unknown:
        guess = nearest(unknown[0], [*model.names, *model.indices])
        raise InputError(
            f"{len(unknown)} of {len(wanted)} {what} are not classes of {shown(model.model)}, "
            f"first '{shown(unknown[0])}'",
            where=where,
            remedy=(f"Did you mean '{shown(guess)}'? " if guess else "")
            + "Name classes by WordNet id or as the model does, or pass --class-map.",
        )
    for name in wanted:
        if len(found[name]) > 1:
            raise InputError(
                f"{shown(model.model)} has {len(found[name])} classes named '{shown(name)}', "
                f"with the indices {', '.join(map(str, sorted(found[name])))}",
                where=where,
                remedy="Name it by WordNet id, or in a class map by its index.",
            )
    return tuple(
        tuple(index for name in members[own] for index in found[name])
        for own in dataset.class_names
    )


def _check_disjoint(
    groups: Sequence[Sequence[int]], dataset: Dataset, model: _ModelClasses
) -> None:
    owner: dict[int, str] = {}
    for name, group in zip(dataset.class_names, groups, strict=True):
        for index in group:
            if index in owner:
                raise InputError(
                    f"class {index} of {shown(model.model)}, '{shown(model.names[index])}', "
                    f"belongs to both '{shown(owner[index])}' and '{shown(name)}'",
                    where=dataset.name,
                    remedy="Merge the two classes, or name them in a class map.",
                )
            owner[index] = name


def _check_number(protocol: str, model: _ModelClasses, dataset: Dataset) -> None:
    if protocol != f"{model.number}-way":
        raise InputError(
            f"is {protocol}, and {shown(model.model)} has {model.number} classes",
            where="--protocol",
            remedy=f"Use {model.number}-way, or restricted to the {len(dataset.class_names)} "
            "of the data.",
        )
