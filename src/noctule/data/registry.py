"""The registry of data sources: `@data_source` registers a way to name a dataset.

A source has a prefix, its name, as in "torchvision:CIFAR10", or claims the requests that it
opens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from noctule.data.dataset import Dataset
from noctule.registry import Registry


class DatasetForm(NamedTuple):
    """One way to name a dataset."""

    spec: str
    description: str


class DataRequest(NamedTuple):
    """The arguments of `DataSource.open`.

    Attributes:
        text: Name as the user wrote it; empty if the user passed a `Path`.
        path: Name as a path.
        labels_file: Labels for a flat folder or an array file.
    """

    text: str
    path: Path
    labels_file: Path | None = None


Open = Callable[[DataRequest], Dataset]


@dataclass(frozen=True)
class DataSource:
    """A source of images.

    Attributes:
        forms: Forms of dataset names.
        open: Function that opens a dataset.
        claims: Predicate for the requests of this source; None for a source with a prefix.
        opens_paths: Whether the source opens files or folders by path.
    """

    forms: tuple[DatasetForm, ...]
    open: Open
    claims: Callable[[DataRequest], bool] | None = None
    opens_paths: bool = False


DATA: Registry[DataSource] = Registry("data source", "noctule.data", "noctule.data.sources")


def data_source(
    name: str,
    *forms: tuple[str, str],
    claims: Callable[[DataRequest], bool] | None = None,
    opens_paths: bool = False,
) -> Callable[[Open], Open]:
    """Register the decorated function as the `open` of a source.

    Args:
        name: Name of the source, and its prefix unless it claims requests.
        *forms: Pairs (spec, description) for `noctule list datasets`.
        claims, opens_paths: See `DataSource`.
    """

    def register(open_: Open) -> Open:
        described = tuple(DatasetForm(*form) for form in forms)
        source = DataSource(described, open_, claims, opens_paths)
        DATA.add(name, source, origin=open_.__module__)
        return open_

    return register


def source_of(request: DataRequest) -> DataSource | None:
    """The source of a dataset, or None if no source claims it."""
    prefix, colon, _ = request.text.partition(":")
    if colon and prefix in DATA and DATA[prefix].claims is None:
        return DATA[prefix]
    # Names take precedence over files and folders.
    by_name_first = sorted(DATA.loaded().values(), key=lambda source: source.opens_paths)
    matches = (source for source in by_name_first if source.claims and source.claims(request))
    return next(matches, None)


def dataset_forms() -> tuple[DatasetForm, ...]:
    """The forms of dataset names, for lists and help.

    >>> [form.spec for form in dataset_forms()][:2]
    ['photo-patches', 'photo-patches/test']
    """
    forms = [form for source in DATA.values() for form in source.forms]
    return tuple(sorted(forms, key=lambda form: (form.spec[0].isupper(), form.spec)))
