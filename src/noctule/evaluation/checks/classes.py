"""Whether the data and the model have the same classes, by their number and names."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from noctule.data import Dataset
from noctule.data.dataset import numbered_classes
from noctule.data.imagenet import has_all_wnids
from noctule.errors import InputError, shown
from noctule.models import Classifier

_WNID = re.compile(r"n\d{8}")


def check_classes(
    classifier: Classifier, dataset: Dataset, num_logits: int | None = None
) -> None:
    """Refuse a model whose classes differ from the data's.

    Args:
        classifier: The model.
        dataset: The data.
        num_logits: Number of logits that the model returns; None before it is run.

    Raises:
        InputError: The number of classes differs; a name has different indices in the two; or
            the data's WordNet ids are not ImageNet's sorted 1000, for an ImageNet model.
    """
    names = classifier.class_names
    known = (num_logits, classifier.num_classes, len(names) if names else None)
    count = next((number for number in known if number is not None), None)
    if count is not None:
        _check_count(classifier.name, count, dataset)
    if names and not is_numbered(dataset.class_names):
        _check_names(classifier.name, names, dataset)


def is_numbered(class_names: Sequence[str]) -> bool:
    """Whether the class names are just the indices: "0", "1" and so on.

    >>> is_numbered(["0", "1"]), is_numbered(["1", "2"])
    (True, False)
    """
    return list(class_names) == numbered_classes([len(class_names) - 1], "class names")


def _check_count(model: str, count: int, dataset: Dataset) -> None:
    """Numbered data may lack the model's last classes; named data must have all of them."""
    wanted = len(dataset.class_names)
    if wanted == count or (wanted < count and is_numbered(dataset.class_names)):
        return
    if count == 1 and wanted == 2:
        remedy = "Return two logits per image: 0 and the single logit."
    elif wanted < count:
        remedy = (
            "If the classes of the data are some of the model's, choose how they are scored: "
            f"--protocol {count}-way (all classes of the model compete) or --protocol "
            "restricted (those of the data only)."
        )
    elif min(dataset.labels) == 1 and wanted == count + 1:
        remedy = "The labels seem to count from 1: subtract 1 from each."
    else:
        remedy = "Evaluate a model trained on these classes, or the data it was trained for."
    raise InputError(
        f"the model {shown(model)} has {count} classes, the data {wanted}",
        where=dataset.name,
        remedy=remedy,
    )


def _check_names(model: str, model_names: Sequence[str], dataset: Dataset) -> None:
    ours, theirs = _unique_indices(dataset.class_names), _unique_indices(model_names)
    shared = ours.keys() & theirs.keys()
    elsewhere = [name for name in ours if name in shared and ours[name] != theirs[name]]
    # Lists of ImageNet's names differ in a few: "crane" is a bird in some, a machine in others.
    if elsewhere and (ours.keys() == theirs.keys() or len(elsewhere) * 100 > len(shared)):
        name = elsewhere[0]
        raise InputError(
            f"class '{shown(dataset.class_names[ours[name]])}' has index {ours[name]} in the "
            f"data and {theirs[name]} in {shown(model)} ({len(elsewhere)} of "
            f"{len(shared)} names differ in their index)",
            where=dataset.name,
            remedy="Bring the classes of the data into the model's order.",
        )
    if are_imagenet(model_names) and all(map(_WNID.fullmatch, dataset.class_names)):
        if list(dataset.class_names) != sorted(dataset.class_names):
            raise InputError(
                f"its WordNet ids are not sorted, as the classes of {shown(model)} are",
                where=dataset.name,
                remedy="Bring the classes of the data into the model's order.",
            )
        if not has_all_wnids(dataset.class_names):
            raise InputError(
                f"its WordNet ids are not the 1000 of ImageNet-1k that {shown(model)} knows",
                where=dataset.name,
                remedy="Evaluate a model trained on these classes.",
            )


def are_imagenet(names: Sequence[str]) -> bool:
    """Whether these are the 1000 classes of ImageNet-1k, in the order of their WordNet ids."""
    # The last two as in ImageNet, or as in CLIP's list.
    ends = (
        ("tench",), ("goldfish",), ("ear", "corn cob"), ("toilet tissue", "toilet paper"),
    )  # fmt: skip
    if len(names) != 1000:
        return False
    known = zip([comparable(names[index]) for index in (0, 1, -2, -1)], ends, strict=True)
    return all(name.startswith(end) for name, end in known) or (
        has_all_wnids(names) and list(names) == sorted(names)
    )


def _unique_indices(names: Iterable[str]) -> dict[str, int]:
    """The index of each comparable name that occurs once."""
    keys = list(map(comparable, names))
    counts = Counter(keys)
    return {name: index for index, name in enumerate(keys) if counts[name] == 1}


def comparable(name: str) -> str:
    """A class name without what differs between lists of names.

    >>> comparable("Great_White-Shark, white shark"), comparable("004.Groove_billed_Ani")
    ('great white shark', 'groove billed ani')
    """
    text = unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ")
    text = re.sub(r"^\d+[.\s]+(?=\D)", "", " ".join(text.partition(",")[0].split()))
    return text or name
