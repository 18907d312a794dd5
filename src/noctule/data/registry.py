"""The registry of data sources: `@data_source` registers a way to name a dataset.

A source has a prefix, its name, as in "torchvision:CIFAR10";
or it claims the requests that it opens.
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
    """What a source is asked for.

    Attributes:
        text: The name as the user wrote it; empty for a `Path`, which is no name.
        path: The name as a path.
        labels_file: Labels for a flat folder or for an array file.
    """

    text: str
    path: Path
    labels_file: Path | None = None


Open = Callable[[DataRequest], Dataset]


@dataclass(frozen=True)
class DataSource:
    """A source of images.

    Attributes:
        forms: How its datasets are named.
        open: Returns a dataset.
        claims: Whether a request is for this source; None for a source with a prefix.
        opens_paths: Whether it opens files or folders by their path, with a labels file or
            without.
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
        name: The source's name; its prefix, unless it claims requests.
        *forms: Pairs (spec, description), as `noctule list datasets` shows them.
        claims, opens_paths: See `DataSource`.
    """

    def register(open_: Open) -> Open:
        described = tuple(DatasetForm(*form) for form in forms)
        source = DataSource(described, open_, claims, opens_paths)
        DATA.add(name, source, origin=open_.__module__)
        return open_

    return register


def source_of(request: DataRequest) -> DataSource | None:
    """The source of a dataset; None if no source claims it."""
    prefix, colon, _ = request.text.partition(":")
    if colon and prefix in DATA and DATA[prefix].claims is None:
        return DATA[prefix]
    # A name comes before a file or folder of the same name.
    by_name_first = sorted(DATA.loaded().values(), key=lambda source: source.opens_paths)
    return next((one for one in by_name_first if one.claims and one.claims(request)), None)


def dataset_forms() -> tuple[DatasetForm, ...]:
    """Every form of `open_dataset`'s argument, for lists and help.

    >>> [form.spec for form in dataset_forms()][:2]
    ['photo-patches', 'photo-patches/test']
    """
    forms = [form for source in DATA.values() for form in source.forms]
    return tuple(sorted(forms, key=lambda form: (form.spec[0].isupper(), form.spec)))
