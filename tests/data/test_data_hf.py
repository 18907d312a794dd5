"""Datasets of the package `datasets`, saved here: images and labels are those that it gives."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from noctule.data import open_dataset
from noctule.errors import InputError
from noctule.store import RunStore
from photos import noise_image

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
FEATURES = datasets.Features(
    {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "emu"])}
)


def rows(count: int, seed: int) -> Any:
    images = [noise_image(seed=seed + index) for index in range(count)]
    labels = [index % 2 * 2 for index in range(count)]
    return datasets.Dataset.from_dict({"image": images, "label": labels}, features=FEATURES)


SPLITS = datasets.DatasetDict({"odd": rows(11, 0), "validation_matched": rows(7, 100)})


def agrees(dataset: Any, split: str) -> None:
    """Class names, labels and pixels are those of `datasets`."""
    own = SPLITS[split]
    assert dataset.class_names == ("cat", "dog", "emu")
    assert dataset.labels.tolist() == list(own["label"])
    assert dataset.ids == tuple(f"{split}/{index:06d}" for index in range(len(own)))
    for index in (5, 0, 6, len(own) - 1):
        assert np.array_equal(np.array(dataset.read(index)), np.array(own[index]["image"]))
    assert len(pickle.dumps(dataset)) < 10_000  # no image is in it


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hf") / "birds"
    SPLITS.save_to_disk(folder, num_shards={"odd": 3, "validation_matched": 1})
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the repository owner/birds; the cache is empty."""
    real = datasets.load_dataset_builder

    def load(name: str, config: str | None = None, revision: str | None = None) -> Any:
        assert name == "owner/birds"
        return real(str(tmp_path / "repository"), config, cache_dir=str(tmp_path / "cache"))

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    (tmp_path / "repository" / "data").mkdir(parents=True)
    return tmp_path / "repository"


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_a_folder_of_save_to_disk(saved: Path, prefix: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)  # it is not needed
    monkeypatch.chdir(saved.parent)
    name = prefix + str(saved)
    for split in SPLITS:
        dataset = open_dataset(f"{name}?split={split}")
        agrees(dataset, split)
        assert open_dataset(dataset.source["spec"]).fingerprint() == dataset.fingerprint()
    relative = open_dataset("hf:./birds?split=odd")
    monkeypatch.chdir("/")
    assert open_dataset(relative.source["spec"]).ids == relative.ids
    with pytest.raises(InputError, match=r"several splits: odd, validation_matched\. Choose"):
        open_dataset(name)
    with pytest.raises(InputError, match=r"unknown split 'od'. Did you mean 'odd'\?"):
        open_dataset(f"{name}?split=od")
    with pytest.raises(InputError, match=r"no column 'lable'. Did you mean 'label'\?"):
        open_dataset(f"{name}?split=odd&label=lable")


def test_one_dataset_without_splits(tmp_path: Path) -> None:
    SPLITS["odd"].save_to_disk(tmp_path / "birds")
    dataset = open_dataset(f"hf:{tmp_path / 'birds'}")
    assert dataset.ids[:2] == ("000000", "000001")
    assert dataset.name == "birds"


def test_parquet_on_the_hub(hub: Path) -> None:
    for split, content in SPLITS.items():
        content.to_parquet(hub / f"data/{split}-00000-of-00001.parquet")
    for split in SPLITS:
        dataset = open_dataset(f"hf:owner/birds?split={split}")
        agrees(dataset, split)
        assert dataset.name == f"owner/birds/{split}"
        assert open_dataset(dataset.source["spec"]).fingerprint() == dataset.fingerprint()
    assert not (hub.parent / "cache").exists() or not [*(hub.parent / "cache").rglob("*.arrow")]
    # The other split is not even opened.
    (hub / "data/validation_matched-00000-of-00001.parquet").write_bytes(b"")
    agrees(open_dataset("hf:owner/birds?split=odd"), "odd")


def test_names_of_classes_in_the_card(hub: Path) -> None:
    plain = SPLITS["odd"].cast_column("label", datasets.Value("int64"))
    plain = plain.with_format("arrow")
    plain.to_parquet(hub / "data/test-00000-of-00001.parquet")
    card = datasets.DatasetInfo(features=FEATURES)
    from huggingface_hub import DatasetCardData

    data = DatasetCardData()
    datasets.info.DatasetInfosDict({"default": card}).to_dataset_card_data(data)
    (hub / "README.md").write_text(f"---\n{data.to_yaml()}\n---\n")
    assert open_dataset("hf:owner/birds").class_names == ("cat", "dog", "emu")


def test_arrow_on_the_hub(hub: Path, saved: Path) -> None:
    for index, file in enumerate(sorted((saved / "odd").glob("*.arrow"))):
        (hub / f"data/test-0000{index}-of-00003.arrow").write_bytes(file.read_bytes())
    dataset = open_dataset("hf:owner/birds?split=test")
    assert dataset.labels.tolist() == list(SPLITS["odd"]["label"])
    assert np.array_equal(np.array(dataset.read(9)), np.array(SPLITS["odd"][9]["image"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "hf:owner/birds: has several splits: odd, validation_matched. Choose"),
        ("?split=od", r"unknown split 'od'. Did you mean 'odd'\?"),
        ("?split=odd&label=lable", r"no column 'lable'. Did you mean 'label'\? Its columns"),
        ("?split=odd&image=label", "has no column 'label' of encoded images"),
        ("?split=odd&id=key", "no column 'key'"),
        ("?split=odd&config=large", "BuilderConfig 'large' not found"),
        ("?splt=odd", "unknown option 'splt'. Did you mean 'split'"),
        ("?split=", "the option 'split' has no value"),
    ],
)
def test_unsuitable(hub: Path, options: str, message: str) -> None:
    for split, content in SPLITS.items():
        content.to_parquet(hub / f"data/{split}-00000-of-00001.parquet")
    with pytest.raises(InputError, match=message):
        open_dataset(f"hf:owner/birds{options}")


def test_images_in_files_of_their_own(hub: Path) -> None:
    for index, name in enumerate(("cat", "dog")):
        (hub / "data/test" / name).mkdir(parents=True)
        noise_image(seed=index).save(hub / "data/test" / name / "1.png")
    with pytest.raises(InputError, match=r"files of their own\. Download .*hf download owner/"):
        open_dataset("hf:owner/birds?split=test")


def test_damaged_and_empty(hub: Path) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        open_dataset("hf:owner/birds?split=test")
    (hub / "data/test-00000-of-00001.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InputError, match=r"cannot be loaded|is not a parquet file"):
        open_dataset("hf:owner/birds?split=test")
    # No code of a dataset is run.
    victim = hub / "victim"
    (hub / "repository.py").write_text(f"open({str(victim)!r}, 'w')\n")
    with pytest.raises(InputError, match=r"cannot be loaded|is not a parquet file"):
        open_dataset("hf:owner/birds?split=test")
    assert not victim.exists()


def test_without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"cannot be loaded: .*saved with save_to_disk"):
        open_dataset("hf:nobody/nothing?split=test")
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset(f"hf:{tmp_path}/none?split=test")
    with pytest.raises(InputError, match="has no Parquet or Arrow files"):
        open_dataset(f"hf:{tmp_path}?split=test")


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'noctule\[hf\]'"):
        open_dataset("hf:owner/birds?split=test")


def test_on_the_command_line(saved: Path, noctule_cli: Any, tmp_path: Path) -> None:
    """A missing split is an error before the run; the rows have the ids."""
    (tmp_path / "b.toml").write_text(
        'name = "b"\ntitle = "b"\nsource = "b"\ncorruptions = ["shear"]\nseverities = [1]\n'
    )
    run = (
        "--no-self-check", "--device", "cpu", "-b", tmp_path / "b.toml", "--out",
        tmp_path / "r", "--resize", "32", "--crop", "32",
    )  # fmt: skip
    command = ("evaluate", "test_data_hf:network")
    status, _, err = noctule_cli(*command, f"hf:{saved}?split=test", *run)
    assert (status, "unknown split 'test'" in err, "Traceback" in err) == (2, True, False)
    assert not (tmp_path / "r").exists()
    status, _, err = noctule_cli(*command, f"hf:{saved}?split=odd", *run)
    assert status == 0, err
    ids = {row["image_id"] for row in RunStore.open(tmp_path / "r").rows().to_pylist()}
    assert ids == {f"odd/{index:06d}" for index in range(11)}


def network() -> Any:
    import torch

    return torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
