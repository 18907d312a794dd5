"""Which runs may be compared: those whose models were shown the same images, scored alike.

Everything that compares runs asks here: the reference of CE, `compare`, the groups of a report
and of a leaderboard, and a benchmark that is evaluated on stored images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from noctule.benchmarks import Benchmark, Condition
from noctule.corruptions import SEVERITIES
from noctule.corruptions.pixels import REFERENCE_SIDE_PX
from noctule.errors import InputError
from noctule.remote import AnyPath
from noctule.store.identity import RunIdentity
from noctule.store.run import RunStore

T = TypeVar("T")

RESTRICTED = "restricted"

# What `corruption_settings` looks at; the rest of a benchmark does not change its images.
_PIXEL_KEYS = ("mode", "side_px", "tables", "stored_jpeg_quality", "plugins")


class Mismatch(NamedTuple):
    """One thing that determines images, and differs."""

    name: str
    ours: object
    theirs: object


@dataclass(frozen=True)
class ImageIdentity:
    """What determines the images that a run's model was shown.

    Attributes:
        data: "fingerprint ..." of the files that were read and, if live evaluation sees the
            same images, of the data that the files were made from.
        protocol: How outputs are scored, with the class map; "restricted" also if model and
            data have the same classes.
        seed: Seed of the corruptions.
        benchmark: `Benchmark.to_dict()`.
        conditions: Names of the conditions.
    """

    data: frozenset[str]
    protocol: str
    seed: int
    benchmark: Mapping[str, Any]
    conditions: tuple[str, ...]

    @classmethod
    def of(cls, run: RunIdentity) -> ImageIdentity:
        """That of a run."""
        known = {str(run.dataset["fingerprint"]), live_fingerprint(run.dataset)}
        data = frozenset(f"fingerprint {one}" for one in known)
        protocol = run.dataset.get("protocol", {})
        parts = [str(protocol.get("name", RESTRICTED))]
        if class_map := protocol.get("class_map"):
            parts.append(f"class map {class_map.get('name')} {class_map.get('sha256')}")
        return cls(data, ", ".join(parts), run.seed, run.benchmark, run.conditions)

    def mismatches(self, other: ImageIdentity) -> list[Mismatch]:
        """Why the other's images under these conditions are not these; conditions apart."""
        ours, theirs = (
            {
                "protocol": one.protocol,
                "seed": one.seed,
                **corruption_settings(one.benchmark, self.conditions),
            }
            for one in (self, other)
        )
        found = [Mismatch(key, ours[key], theirs[key]) for key in ours]
        if self.data.isdisjoint(other.data):
            found.insert(0, Mismatch("data", *(sorted(one.data) for one in (self, other))))
        return [one for one in found if one.ours != one.theirs]

    def equals(self, other: ImageIdentity) -> bool:
        """Whether these are the same images under the same conditions."""
        same = set(self.conditions) == set(other.conditions)
        return same and not self.mismatches(other)


def live_fingerprint(dataset: Mapping[str, Any]) -> str:
    """The data's fingerprint; for lossless stored images, that of live evaluation."""
    live = dataset.get("stored", {}).get("live_fingerprint")
    return str(dataset["fingerprint"] if live is None else live)


def corruption_settings(
    benchmark: Mapping[str, Any], conditions: Iterable[str]
) -> dict[str, Any]:
    """What determines a benchmark's images under some conditions, besides data and seed.

    That is the mode, in mode "released" the JPEG files that images pass through, the values of
    the severities, lengths for 224 px, and the code of a plugin.
    """
    mode, quality = str(benchmark.get("mode", "paper")), benchmark.get("stored_jpeg_quality")
    if mode == "released" and quality:
        mode += f", as JPEG {quality}"
    settings: dict[str, Any] = {"mode": mode}
    severities: dict[str, list[int]] = {}
    for one in (Condition.parse(name, known=False) for name in conditions):
        if one.corruption is not None:
            wanted = SEVERITIES if one.severity is None else (one.severity,)
            severities.setdefault(one.corruption, []).extend(wanted)
    for name, chosen in severities.items():
        settings[f"severities of {name}"] = _severity_values(benchmark, name, sorted(chosen))
        settings[f"code of {name}"] = benchmark.get("plugins", {}).get(name, "noctule's")
    return settings


def _severity_values(benchmark: Mapping[str, Any], name: str, severities: list[int]) -> Any:
    """A benchmark's own values for a corruption; what cannot be values is left as it is."""
    tables, side_px = benchmark.get("tables", {}), benchmark.get("side_px", REFERENCE_SIDE_PX)
    try:
        return {
            key: [
                values[one - 1] * (REFERENCE_SIDE_PX / side_px if key.endswith("_px") else 1)
                for one in severities
            ]
            for key, values in sorted(tables.get(name, {}).items())
        } or "none"
    except (TypeError, AttributeError, LookupError, ZeroDivisionError):
        return tables, side_px


def comparable_groups(
    items: Iterable[T],
    images: Callable[[T], ImageIdentity],
    also: Callable[[T], Hashable],
) -> list[list[T]]:
    """Items that may be ranked together: all in a group were shown the same images.

    Args:
        items: Runs, or what stands for them.
        images: The identity of an item's images.
        also: What else the items of a group have in common.
    """
    groups: list[list[T]] = []
    for item in items:
        for group in groups:
            if all(
                also(one) == also(item) and images(one).equals(images(item)) for one in group
            ):
                group.append(item)
                break
        else:
            groups.append([item])
    return groups


def benchmark_facts(benchmark: Mapping[str, Any]) -> str:
    """All of a benchmark that does not determine its images, such as its metric, as JSON."""
    facts = {key: one for key, one in benchmark.items() if key not in _PIXEL_KEYS}
    return json.dumps(facts, sort_keys=True, default=dict)


def check_reference(run: RunStore, reference: RunStore) -> None:
    """Refuse a reference run whose errors are not comparable.

    Raises:
        InputError: Its images are not those of the run, or it lacks conditions.
    """
    ours, theirs = run.identity, reference.identity
    for one in ImageIdentity.of(ours).mismatches(ImageIdentity.of(theirs)):
        article = "another" if one.name in ("protocol", "seed", "mode") else "other"
        values, remedy = (one.theirs, one.ours), "Evaluate the reference model on the same data"
        if one.name == "data":
            values = _described(theirs.dataset), _described(ours.dataset)
        if one.name == "protocol":
            remedy = "Evaluate both models with the same --protocol and --class-map"
        raise InputError(
            f"this run has {article} {one.name} ({values[0]}) than {run.folder} ({values[1]})",
            where=reference.folder,
            remedy=f"{remedy} with the same seed."
            + (_of_stored_images(ours, theirs) if one.name == "data" else ""),
        )
    if missing := sorted(set(ours.conditions) - set(theirs.conditions)):
        raise InputError(
            f"this run lacks {', '.join(missing)}",
            where=reference.folder,
            remedy="Evaluate the reference model on the same benchmark.",
        )


def _described(dataset: Mapping[str, Any]) -> str:
    """The fingerprint of data; of a stated subset also its name, which has its size."""
    name = f"'{dataset['name']}', " if "subset" in dataset else ""
    return f"{name}{dataset['fingerprint']}"


def _of_stored_images(*runs: RunIdentity) -> str:
    """What to know of a comparison of stored images with live ones."""
    if len({"stored" in one.dataset for one in runs}) == 1:
        return ""
    return (
        " Stored images are known to equal those of live evaluation only where noctule stored "
        "them without loss, of the same data, resized and cropped as the model does."
    )


def check_same_pixels(run: RunStore, reference: RunStore) -> None:
    """Refuse runs that were shown other images under the same ids.

    The hashes of the decoded images are compared; of stored images, only where both runs took
    them from the same set and prepare them alike.

    Raises:
        InputError: An image has other pixels in one of the runs.
    """
    kinds = [
        (one.dataset.get("stored"), "stored" in one.dataset and one.model.get("preprocessing"))
        for one in (run.identity, reference.identity)
    ]
    if kinds[0] != kinds[1]:
        return
    ours, theirs = run.image_hashes(), reference.image_hashes()
    if other := sorted(key for key in ours.keys() & theirs.keys() if ours[key] != theirs[key]):
        raise InputError(
            f"{len(other):,} of {len(ours):,} images have other pixels than in {run.folder}, "
            f"first '{other[0]}'",
            where=reference.folder,
            remedy="Evaluate both models on the same files, decoded by the same version of "
            "Pillow.",
        )


def open_reference(reference: str | AnyPath | RunStore, run: RunStore) -> RunStore:
    """A reference run that is complete, and whose errors are comparable with a run's.

    Args:
        reference: The reference run, or its folder.
        run: The run, which may not have been started.

    Raises:
        InputError: See `check_reference`; or the reference run is unfinished.
    """
    other = reference if isinstance(reference, RunStore) else RunStore.open(reference)
    check_reference(run, other)
    other.rows(columns=["label"])
    return other


def check_stored_benchmark(wanted: Benchmark, stored: Benchmark, where: object) -> None:
    """Refuse a benchmark whose corruptions were not stored, though they have their names.

    Args:
        wanted: Benchmark whose conditions are to be among the stored ones.
        stored: Benchmark that the set was made for.
        where: The set, for the message.

    Raises:
        InputError: The images are others; what differs is named with both values.
    """
    conditions: Sequence[str] = [str(one) for one in wanted.conditions]
    ours = corruption_settings(wanted.to_dict(), conditions)
    for key, value in corruption_settings(stored.to_dict(), conditions).items():
        if value != ours[key]:
            raise InputError(
                f"was made with {key} = {value}, and {wanted.name} has {ours[key]}",
                where=where,
                remedy="Leave --benchmark out to evaluate what is there.",
            )
