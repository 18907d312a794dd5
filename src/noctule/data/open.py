"""`open_dataset`: open a dataset by name or path."""

from __future__ import annotations

import copy
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from noctule.arguments import path_like
from noctule.data.dataset import Dataset
from noctule.data.files import missing_path
from noctule.data.registry import (
    DATA,
    DataRequest,
    DataSource,
    check_options,
    dataset_forms,
    has_labels,
    parse_options,
    source_of,
)
from noctule.data.right_labels import with_right_labels
from noctule.data.subset import limited, with_ids
from noctule.errors import InputError, NoctuleWarning, nearest
from noctule.input_files import reject_special_files


def open_dataset(
    spec: str | Path | Dataset | tuple[Any, Any] | Any,
    *,
    labels_file: str | Path | None = None,
    background: str | None = None,
    limit: int | None = None,
    ids_file: str | Path | None = None,
    right_labels_file: str | Path | None = None,
) -> Dataset:
    """Open a dataset by name or path, from a pair of arrays, or from a PyTorch dataset.

    Args:
        spec: One of `dataset_forms()`, (images, labels), a PyTorch `Dataset` or `DataLoader`
            (see `noctule.data.sources.items`), or a dataset of noctule, which is returned.
        labels_file: Labels for a flat folder or an array file; `noctule.data.sources.flat` and
            `noctule.data.sources.arrays` describe the formats.
        background: Background of transparent image files, as a name or "#rrggbb"; white by
            default.
        limit: Number of images to use, of all classes in equal proportion; see
            `noctule.data.subset`.
        ids_file: Text file with the ids of the images to use, one per line.
        right_labels_file: JSON file with several right labels per image, as ReaL's; see
            `noctule.data.right_labels`.

    Warns:
        NoctuleWarning: Some files in the folder are not used.

    Raises:
        InputError: The dataset does not exist (the nearest name or path is suggested), or it is
            invalid.
    """
    if labels_file is not None:
        labels_file = path_like(labels_file, "labels_file").expanduser()
    if spec == "":
        raise InputError("the dataset's name is empty", remedy=_forms_text())
    if isinstance(spec, str | Path):
        dataset = _open(_request(spec, labels_file))
    elif labels_file is not None:
        raise has_labels("this dataset", labels_file)
    else:
        dataset = spec if isinstance(spec, Dataset) else _open_object(spec)
    if background is not None:
        dataset = _on_background(dataset, background)
    if right_labels_file is not None:
        file = path_like(right_labels_file, "right_labels_file").expanduser()
        source, dataset = dataset.source, with_right_labels(dataset, file)
        if source is not None:
            dataset.source = {**source, "right_labels_file": str(file.absolute())}
    return _subset(dataset, limit, ids_file)


def _subset(dataset: Dataset, limit: int | None, ids_file: str | Path | None) -> Dataset:
    """The dataset, or a part of it."""
    if limit is None and ids_file is None:
        return dataset
    if limit is not None and ids_file is not None:
        raise InputError(
            "a limit and a file of ids exclude each other",
            where="--limit, --ids",
            remedy="Use one of them.",
        )
    if limit is not None:
        subset, chosen = limited(dataset, limit), {"limit": str(limit)}
    else:
        assert ids_file is not None
        file = path_like(ids_file, "ids_file").expanduser()
        subset, chosen = with_ids(dataset, file), {"ids_file": str(file.absolute())}
    if subset is not dataset and dataset.source is not None:
        subset.source = {**dataset.source, **chosen}
    return subset


def _request(spec: str | Path, labels_file: Path | None) -> DataRequest:
    """The request for a name or path, with the options after its last question mark."""
    if isinstance(spec, Path):
        return DataRequest("", spec.expanduser(), labels_file)
    name, mark, query = spec.rpartition("?")
    with suppress(OSError):  # such as a name that is too long
        if not mark or "=" not in query or Path(spec).expanduser().exists():
            return DataRequest(spec, Path(spec).expanduser(), labels_file)
    options = parse_options(query, spec)
    if "root" in options:  # so that the dataset can be reopened from another folder
        options["root"] = str(Path(options["root"]).expanduser().absolute())
    return DataRequest(spec, Path(name).expanduser(), labels_file, options)


def _open(request: DataRequest) -> Dataset:
    source = _source(request)
    if request.labels_file is not None and not source.takes_labels:
        raise has_labels(request.text or str(request.path), request.labels_file)
    if source.opens_paths:
        check_options(request.options, source.options, request.path)
    dataset = source.open(request)
    if dataset.source is not None:
        pass  # the source knows it better
    elif source.opens_paths:
        options = f"?{urlencode(request.options, quote_via=quote)}" if request.options else ""
        dataset.source = {"spec": f"{request.path.absolute()}{options}"}
    else:
        dataset.source = {"spec": request.text}
    if request.labels_file is not None:
        labels_file = str(request.labels_file.absolute())
        dataset.source = {**dataset.source, "labels_file": labels_file}
    if dataset.left_out:
        message = f"{request.text or request.path}: left out: {dataset.left_out}"
        warnings.warn(message, NoctuleWarning, stacklevel=3)
    return dataset


def _source(request: DataRequest) -> DataSource:
    path = request.path
    try:
        source = source_of(request)
        exists = path.exists()
    except OSError as error:
        raise InputError(f"this path cannot be used: {error.strerror}", where=path) from error
    if source is not None:
        return source
    if not exists:
        path_like(path, "DATA")
        raise _no_such_dataset(path)
    reject_special_files(path)
    raise InputError("this file is not a dataset", where=path, remedy=_forms_text())


def _open_object(value: Any) -> Dataset:
    from noctule.data.sources.arrays import open_array_pair
    from noctule.data.sources.items import is_items, open_items

    if is_items(value):
        return open_items(value)
    if not isinstance(value, tuple) or len(value) != 2:
        raise InputError(
            f"a {type(value).__name__} is not a dataset",
            remedy="Pass a name, a path, a Dataset, a tuple (images, labels), or a dataset of "
            "PyTorch.",
        )
    return open_array_pair(*value)


def _on_background(dataset: Dataset, background: str) -> Dataset:
    """The dataset with another background for transparent images."""
    from noctule.data.decode import background_colour

    colour = background_colour(background)
    if dataset.background is None:
        raise InputError(
            f"the images of {dataset.name} have no transparency",
            where="background",
            remedy="Leave it out: it applies to image files only.",
        )
    dataset = copy.copy(dataset)  # leaves the caller's unchanged
    dataset.background = colour
    if dataset.source is not None:
        dataset.source = {**dataset.source, "background": colour}
    return dataset


def _no_such_dataset(path: Path) -> InputError:
    names = [form.spec for form in dataset_forms() if form.spec.islower()]
    if len(path.parts) > 1 and path.parts[0] not in names:
        return missing_path(path, "file or folder")
    prefixes = [name for name in DATA if name not in DATA.loaded() or not DATA[name].claims]
    guess = nearest(str(path), [*names, *(f"{prefix}:" for prefix in prefixes)])
    hint = f"Did you mean '{guess}'? " if guess else ""
    return InputError(
        f"unknown dataset '{path}', and there is no file or folder of this name",
        remedy=hint + _forms_text(),
    )


def _forms_text() -> str:
    return "A dataset is one of: " + "; ".join(form.spec for form in dataset_forms()) + "."
