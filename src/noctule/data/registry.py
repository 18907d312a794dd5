"""The registry of data sources: `@data_source` registers a way to name a dataset.

A source has a prefix, its name, as in "torchvision:CIFAR10", or claims the requests that it
opens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from noctule.data.dataset import Dataset
from noctule.errors import InputError, unknown_name
from noctule.registry import Registry


class DatasetForm(NamedTuple):
    """One way to name a dataset."""

    spec: str
    description: str


class DataRequest(NamedTuple):
    """The arguments of `DataSource.open`.

    Attributes:
        text: Name as the user wrote it; empty if the user passed a `Path`.
        path: Name as a path, without options.
        labels_file: Labels for a flat folder or an array file.
        options: Options after a question mark, as in "list.csv?label=species".
    """

    text: str
    path: Path
    labels_file: Path | None = None
    options: Mapping[str, str] = {}


Open = Callable[[DataRequest], Dataset]


@dataclass(frozen=True)
class DataSource:
    """A source of images.

    Attributes:
        forms: Forms of dataset names.
        open: Function that opens a dataset.
        claims: Predicate for the requests of this source; None for a source with a prefix.
        opens_paths: Whether the source opens files or folders by path.
        options: Names of the options that a path may have after a question mark.
        takes_labels: Whether the source uses a labels file.
        is_fallback: Whether the source opens the paths that no other source claims.
    """

    forms: tuple[DatasetForm, ...]
    open: Open
    claims: Callable[[DataRequest], bool] | None = None
    opens_paths: bool = False
    options: tuple[str, ...] = ()
    takes_labels: bool = False
    is_fallback: bool = False


DATA: Registry[DataSource] = Registry("data source", "noctule.data", "noctule.data.sources")


def data_source(
    name: str,
    *forms: tuple[str, str],
    claims: Callable[[DataRequest], bool] | None = None,
    opens_paths: bool = False,
    options: tuple[str, ...] = (),
    takes_labels: bool = False,
    is_fallback: bool = False,
) -> Callable[[Open], Open]:
    """Register the decorated function as the `open` of a source.

    Args:
        name: Name of the source, and its prefix unless it claims requests.
        *forms: Pairs (spec, description) for `noctule list datasets`.
        claims, opens_paths, options, takes_labels, is_fallback: See `DataSource`.
    """

    def register(open_: Open) -> Open:
        described = tuple(DatasetForm(*form) for form in forms)
        source = DataSource(
            described, open_, claims, opens_paths, options, takes_labels, is_fallback
        )
        DATA.add(name, source, origin=open_.__module__)
        return open_

    return register


def source_of(request: DataRequest) -> DataSource | None:
    """The source of a dataset, or None if no source claims it."""
    prefix, colon, _ = request.text.partition(":")
    if colon and prefix in DATA and DATA[prefix].claims is None:
        return DATA[prefix]
    # Names take precedence over files and folders.
    by_name_first = sorted(
        DATA.loaded().values(), key=lambda source: (source.opens_paths, source.is_fallback)
    )
    matches = (source for source in by_name_first if source.claims and source.claims(request))
    return next(matches, None)


def parse_options(query: str, where: object) -> dict[str, str]:
    """The options after the question mark of a name; values may be percent-encoded.

    >>> parse_options("split=test&root=my%20data", "CIFAR10")
    {'split': 'test', 'root': 'my data'}

    Raises:
        InputError: An option has no value.
    """
    options = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
    if empty := [name for name, value in options.items() if not value]:
        raise InputError(
            f"the option '{empty[0]}' has no value",
            where=where,
            remedy="Options have the form NAME?option=value&option=value.",
        )
    return options


def check_options(options: Mapping[str, str], known: tuple[str, ...], where: object) -> None:
    """Raise InputError for an option that is not known."""
    for name in options:
        if not known:
            raise InputError(f"takes no options, but has '{name}'", where=where)
        if name not in known:
            raise unknown_name("option", name, known, where=where)


def has_labels(dataset: str, labels_file: Path) -> InputError:
    """The error for a labels file of a dataset that needs none."""
    return InputError(
        f"{dataset} has labels of its own",
        where=labels_file,
        remedy="Use a labels file with a flat folder or an array file only.",
    )


def dataset_forms() -> tuple[DatasetForm, ...]:
    """The forms of dataset names, for lists and help.

    >>> [form.spec for form in dataset_forms()][:2]
    ['photo-patches', 'photo-patches/test']
    """
    forms = [form for source in DATA.values() for form in source.forms]
    # The embedded datasets, those of other packages, then paths.
    return tuple(
        sorted(forms, key=lambda form: (form.spec[0].isupper(), ":" in form.spec, form.spec))
    )
