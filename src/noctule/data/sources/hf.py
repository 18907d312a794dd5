"""Datasets of the Hugging Face hub: "hf:uoft-cs/cifar10?split=test".

The package `datasets` finds and downloads the files, once; noctule then reads them where they
lie, a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from noctule.data.registry import DataRequest, check_options, data_source, parse_options
from noctule.data.sources.parquet import ParquetDataset, open_parquet, open_table_files
from noctule.errors import InputError, unknown_name
from noctule.extras import require

PREFIX: Final = "hf:"
_COLUMNS: Final = ("image", "label", "id")


@data_source(
    "hf",
    ("hf:NAME?split=test", "a dataset of the Hugging Face hub (needs the extra noctule[hf])"),
)
def open_named(request: DataRequest) -> ParquetDataset:
    """Open "hf:NAME?split=SPLIT", or "hf:FOLDER?split=SPLIT" as `open_parquet` does.

    Options are `split`, `config`, `revision`, and `image`, `label` and `id` for columns. Of a
    dataset of Parquet files, only the split's are downloaded.

    Raises:
        InputError: There is no such dataset, configuration, split or column, or no network; or
            the images are files of their own.
    """
    name, _, query = request.text.removeprefix(PREFIX).partition("?")
    options = parse_options(query, request.text)
    folder = Path(name).expanduser()
    if name.startswith((".", "/", "~")) or folder.exists():
        check_options(options, ("split", *_COLUMNS), request.text)
        dataset = open_parquet(folder.absolute(), options)
        text = f"?{query}" if query else ""
        dataset.source = {"spec": f"{PREFIX}{folder.absolute()}{text}"}
        return dataset
    check_options(options, ("split", "config", "revision", *_COLUMNS), request.text)
    require("hf")
    with _errors(request.text):
        files, split, features = _files(name, options, request.text)
    dataset = open_table_files(
        files,
        options,
        split=split,
        name=f"{name}/{split}",
        where=request.text,
        features=features,
    )
    try:
        dataset.encoded(0)
    except ValueError as error:
        raise InputError(
            "its images are not in its tables, but files of their own",
            where=request.text,
            remedy=f"Download them with `hf download {name} --repo-type dataset --local-dir "
            "FOLDER`, and evaluate the folder.",
        ) from error
    return dataset


def _files(
    name: str, options: dict[str, str], spec: str
) -> tuple[list[Path], str, dict[str, Any] | None]:
    """The files of the split, its name, and the description of their columns."""
    import datasets

    revision = options.get("revision")
    builder = datasets.load_dataset_builder(name, options.get("config"), revision=revision)
    given = builder.config.data_files
    if builder.name == "parquet" and given:
        split = _split(options.get("split"), list(given), spec)
        paths = datasets.DownloadManager(
            dataset_name=builder.dataset_name, base_path=builder.base_path
        ).download([str(file) for file in given[split]])
        return [Path(path) for path in paths], split, _described(builder.info.features)
    builder.download_and_prepare()
    split = _split(options.get("split"), list(builder.info.splits), spec)
    prepared = builder.as_dataset(split=split)
    files = [Path(one["filename"]) for one in prepared.cache_files]
    return files, split, _described(prepared.features)


def _described(features: Any) -> dict[str, Any] | None:
    """The description of columns, by name; None if the dataset has none besides its files'."""
    if features is None:
        return None
    return {key: one for key, one in features.to_dict().items() if isinstance(one, dict)}


def _split(asked: str | None, splits: list[str], spec: str) -> str:
    """The split that is asked for, or the only one."""
    splits = [str(split) for split in splits]
    if asked is None and len(splits) == 1:
        return splits[0]
    if asked is None:
        raise InputError(
            f"has several splits: {', '.join(sorted(splits))}",
            where=spec,
            remedy="Choose one of them with split=NAME.",
        )
    if asked not in splits:
        raise unknown_name("split", asked, splits, where=spec)
    return asked


@contextmanager
def _errors(spec: str) -> Iterator[None]:
    """Turn the errors of `datasets` into InputErrors; without its progress bars."""
    import datasets

    shows = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    except InputError:
        raise
    # The hub client, its HTTP library and the readers have no common base class.
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"cannot be loaded: {(lines or [type(error).__name__])[0][:300]}",
            where=spec,
            remedy="Use hf:OWNER/NAME?config=NAME&split=NAME. Without network access, pass a "
            "folder that was saved with save_to_disk.",
        ) from error
    finally:
        if shows:
            datasets.enable_progress_bars()
