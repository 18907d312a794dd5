"""The labels of ImageNet's validation images in its development kit, ILSVRC2012_devkit_t12."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

from noctule.data import imagenet
from noctule.data.dataset import class_index
from noctule.errors import InputError
from noctule.input_files import MAX_TEXT_BYTES, read_text, reject_large_files

TRUTH_FILE: Final = "ILSVRC2012_validation_ground_truth.txt"
META_FILE: Final = "meta.mat"


def ground_truth(path: Path) -> list[str] | None:
    """The WordNet id of each validation image, in the order of their numbers.

    The kit numbers classes from 1 in an order of its own, which its meta.mat relates to WordNet
    ids.

    Args:
        path: The kit's folder, its folder data, or its file of ground truth. The file counts
            only with meta.mat beside it.

    Returns:
        None if the path is something else.

    Raises:
        InputError: The folder is not that of the kit, or its files are damaged.
    """
    if path.is_dir():
        folder = path / "data" if (path / "data").is_dir() else path
        for name in (TRUTH_FILE, META_FILE):
            if not (folder / name).is_file():
                raise InputError(
                    f"is a folder without {name}, so not ImageNet's development kit",
                    where=folder,
                    remedy="Pass a labels file, or the folder ILSVRC2012_devkit_t12.",
                )
    else:
        folder = path.parent
        if path.name != TRUTH_FILE or not (folder / META_FILE).is_file():
            return None
    wnid_of = _wnids(folder / META_FILE)
    truth = folder / TRUTH_FILE
    wnids = []
    for number, line in enumerate(read_text(truth).split(), start=1):
        wnid = wnid_of.get(class_index(line) or 0)
        if wnid is None:
            raise InputError(
                f"'{line[:20]}' is not one of the {len(wnid_of)} classes of {META_FILE}",
                where=f"{truth}, line {number}",
            )
        wnids.append(wnid)
    _check_known(wnids[:10], sorted(wnid_of.values()), truth)
    return wnids


def _wnids(meta: Path) -> dict[int, str]:
    """WordNet ids of the classes, by their number in the kit's order, from 1."""
    from scipy.io import loadmat

    try:
        reject_large_files(meta, MAX_TEXT_BYTES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            synsets = loadmat(meta, variable_names=["synsets"], squeeze_me=True)["synsets"]
        leaves = synsets[synsets["num_children"] == 0]
        numbers = leaves["ILSVRC2012_ID"].astype(int).tolist()
        wnids = [str(wnid) for wnid in leaves["WNID"]]
    except InputError:
        raise
    except Exception as error:  # scipy can raise any exception for damaged files
        raise InputError(
            f"is not the {META_FILE} of ImageNet's development kit: {error}", where=meta
        ) from error
    if not imagenet.has_all_wnids(wnids) or sorted(numbers) != list(range(1, len(wnids) + 1)):
        raise InputError(
            f"describes {len(wnids)} classes, which are not the {imagenet.NUM_CLASSES} of "
            "ILSVRC 2012",
            where=meta,
            remedy="Use ILSVRC2012_devkit_t12, for tasks 1 and 2 of the year 2012.",
        )
    return dict(zip(numbers, wnids, strict=True))


def _check_known(wnids: list[str], all_wnids: list[str], truth: Path) -> None:
    """Refuse a file whose first labels are not those of the first validation images."""
    names = [imagenet.validation_name(number) for number in range(1, len(wnids) + 1)]
    labels = [all_wnids.index(wnid) for wnid in wnids]
    if wrong := imagenet.contradiction(names, labels):
        name, label, true = wrong
        raise InputError(
            f"'{name}' has class {label} of the sorted WordNet ids, but its class is {true}",
            where=truth,
            remedy="Unpack ILSVRC2012_devkit_t12 again.",
        )
