"""Exporting: the stored images are those of live evaluation, whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import noctule
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.corruptions import CORRUPTIONS
from noctule.data import Dataset, open_dataset
from noctule.evaluation import execution
from noctule.evaluation.loop import evaluate
from noctule.models import Preprocessing, load_classifier
from noctule.stored import evaluate_stored, export, exporting, open_stored, verify
from noctule.stored.layout import check_published_names, class_folders, image_entries
from noctule.stored.write import Target
from stored_sets import LOSSLESS, ONE_PROCESS, SEVERITIES, file_bytes, photos
from stripes import ChannelMeans, Stripes, Uneven

WRITE_MISSING = exporting._write_missing


class Part(Dataset):
    """Every so manyth image of a dataset; picklable."""

    def __init__(self, whole: str, step: int) -> None:
        self.whole = open_dataset(whole)
        self.indices = range(0, len(self.whole), step)
        ids = [self.whole.ids[index] for index in self.indices]
        labels = self.whole.labels[list(self.indices)]
        super().__init__("part", self.whole.class_names, ids, labels)

    def read(self, index: int) -> Image.Image:
        return self.whole.read(self.indices[index])

    def content(self) -> Iterator[bytes]:
        return self.whole.content()


class TwoMeans(ChannelMeans):
    """For two classes."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images)[:, :2]


# The same rows as live evaluation


@pytest.mark.parametrize("form", LOSSLESS)
@pytest.mark.parametrize("severities", [None, (2, 5)])
def test_a_stored_set_gives_the_rows_of_live_evaluation(
    tmp_path: Path, form: Any, severities: tuple[int, ...] | None
) -> None:
    names = load_benchmark("imagenet-noc").corruptions
    benchmark = Benchmark(
        name="b", title="B", source="tests", corruptions=names, severities=severities
    )
    data = Part("photo-patches", 61)
    export(benchmark, data, tmp_path / "set", format=form, seed=7, processes=1)
    live_settings = replace(ONE_PROCESS, seed=7)
    live = evaluate(
        "photo-patches", data, benchmark, out=tmp_path / "l", settings=live_settings
    )
    stored = evaluate_stored(
        "photo-patches", tmp_path / "set", out=tmp_path / "f", settings=ONE_PROCESS
    )
    assert stored.run.rows().equals(live.run.rows())
    assert len(live.run.rows()) == len(data) * len(benchmark.conditions)
    assert stored.scores.of("mean_error") == live.scores.of("mean_error")
    assert stored.run.identity.seed == 7


@pytest.mark.parametrize("form", LOSSLESS)
def test_photographs_are_resized_and_cropped_as_the_model_does(
    tmp_path: Path, form: Any
) -> None:
    data = photos(tmp_path / "val")
    model = load_classifier(
        TwoMeans(), preprocessing=Preprocessing(resize_px=256, crop_px=(224, 224))
    )
    manifest = export(SEVERITIES, data, tmp_path / "set", format=form, processes=1)
    assert (manifest.image_px, manifest.preprocessing["resize_px"]) == ([224, 224], 256)
    live = evaluate(model, data, SEVERITIES, out=tmp_path / "live", settings=ONE_PROCESS).run
    stored = evaluate_stored(
        model, tmp_path / "set", out=tmp_path / "stored", settings=ONE_PROCESS
    ).run
    assert stored.rows().equals(live.rows())
    assert live.rows()["image_id"][0].as_py() == "n01/ILSVRC_0.JPEG"


def test_a_part_of_the_benchmark_can_be_evaluated(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(20), tmp_path / "set", format="npy", processes=1)
    part = Benchmark(
        name="p", title="P", source="tests", corruptions=("gaussian",), severities=(5,)
    )
    live = evaluate(ChannelMeans(), Stripes(20), part, out=tmp_path / "l", settings=ONE_PROCESS)
    stored = evaluate_stored(
        ChannelMeans(), tmp_path / "set", part, out=tmp_path / "f", settings=ONE_PROCESS
    )
    assert stored.run.rows().equals(live.run.rows())
    lacking = Benchmark(
        name="q", title="Q", source="tests", corruptions=("gaussian",), severities=(4,)
    )
    with pytest.raises(
        noctule.InputError, match=r"gaussian@4\. It was made for severities\. Choose"
    ):
        open_stored(tmp_path / "set", lacking)
    other = part.in_mode("released")
    with pytest.raises(noctule.InputError, match="made with mode = paper, and p has rel"):
        open_stored(tmp_path / "set", other)
    with pytest.raises(noctule.InputError, match="labels and ids of its own"):
        open_stored(tmp_path / "set", SEVERITIES, Stripes(20))


def test_jpeg_differs_as_little_as_its_quality_says(tmp_path: Path) -> None:
    data = Part("photo-patches", 61)
    mild = Benchmark(
        name="m", title="M", source="tests", corruptions=("brightness",), severities=(1,)
    )
    export(mild, data, tmp_path / "png", processes=1)
    differences = {}
    for quality in (30, 95):
        out = tmp_path / f"jpeg{quality}"
        manifest = export(mild, data, out, format="jpeg", quality=quality, processes=1)
        assert manifest.encoder == {
            "name": "jpeg", "quality": quality, "subsampling": "4:2:0",
        }  # fmt: skip
        apart = [
            np.array(Image.open(path)).astype(int)
            - np.array(Image.open(tmp_path / "png" / path.relative_to(out).with_suffix(".png")))
            for path in sorted(out.rglob("*.jpg"))
        ]
        assert len(apart) == 2 * len(data)
        differences[quality] = np.abs(np.stack(apart)).mean()
    assert 0 < differences[95] < 3 < differences[30] < 15
    run = evaluate_stored(
        "photo-patches", tmp_path / "jpeg95", out=tmp_path / "run", settings=ONE_PROCESS
    ).run
    assert run.identity.dataset["stored"]["encoder"]["quality"] == 95


# What lies on disk


def test_the_files_are_where_other_frameworks_look_for_them(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    data = photos(tmp_path / "val")
    export(SEVERITIES, data, tmp_path / "set", processes=1)
    found = ImageFolder(str(tmp_path / "set/gaussian/3"))
    names = [Path(name).relative_to(tmp_path / "set").as_posix() for name, _ in found.samples]
    assert names[0] == "gaussian/3/n01/ILSVRC_0.png"
    assert found.targets == open_dataset(data).labels.tolist()
    clean = np.array(Image.open(tmp_path / "set/clean/n02/ILSVRC_1.png"))
    image = Image.open(data / "n02/ILSVRC_1.JPEG")
    whole = Preprocessing(resize_px=256, crop_px=(224, 224)).prepare(image)
    assert (clean == whole.permute(1, 2, 0).numpy()).all()
    stored = np.array(Image.open(tmp_path / "set/gaussian/3/n02/ILSVRC_1.png"))
    again = noctule.corrupt(whole[None], "gaussian", ids=["n02/ILSVRC_1.JPEG"], severity=3)
    assert (stored == again[0].permute(1, 2, 0).numpy()).all()


def test_arrays_are_severity_by_severity(tmp_path: Path) -> None:
    data = Stripes(40)
    export(SEVERITIES, data, tmp_path / "set", format="npy", processes=1)
    shear, labels = (np.load(tmp_path / f"set/{name}.npy") for name in ("shear", "labels"))
    assert shear.shape == (3 * 40, 32, 32, 3)
    assert labels.tolist() == data.labels.tolist() * 3
    images = torch.stack([Preprocessing().prepare(data.read(k)) for k in range(40)])
    for block, severity in enumerate((1, 3, 5)):
        due = noctule.corrupt(images, "shear", ids=data.ids, severity=severity)
        assert (shear[40 * block : 40 * (block + 1)] == due.permute(0, 2, 3, 1).numpy()).all()
    assert (np.load(tmp_path / "set/clean.npy") == images.permute(0, 2, 3, 1).numpy()).all()


def test_shards_hold_a_image_a_class_and_where_it_is_from(tmp_path: Path) -> None:
    data = Stripes(300)
    export(SEVERITIES, data, tmp_path / "set", format="webdataset", quality=90, processes=1)
    shards = sorted((tmp_path / "set/shear/5").iterdir())
    assert [path.name for path in shards] == ["000000.tar", "000001.tar"]
    with tarfile.open(shards[1]) as shard:
        members = shard.getmembers()
        assert [one.name for one in members[:3]] == [
            "00000256.jpg", "00000256.cls", "00000256.json",
        ]  # fmt: skip
        assert {(one.mtime, one.uid, one.uname) for one in members} == {(0, 0, "")}
        assert len(members) == 3 * 44
        label, told = (shard.extractfile(one).read() for one in members[1:3])
    assert int(label) == data.labels[256]
    assert json.loads(told) == {
        "id": "s/0256", "label": int(label), "class": "g", "condition": "shear@5",
    }  # fmt: skip


def test_class_folders_sort_as_the_labels_count() -> None:
    assert class_folders(["cat", "dog"]) == ["cat", "dog"]
    numbered = [str(number) for number in range(12)]
    assert class_folders(numbered)[9:11] == ["09-9", "10-10"]
    for names in (numbered, ["dog", "cat"], ["../a", "b/c", ".", "", "\n", "a\\b"], ["A", "a"]):
        folders = class_folders(names)
        assert folders == sorted(folders)
        assert len({name.casefold() for name in folders}) == len(names)
        assert not [
            name for name in folders if set(name) & set("/\\\n") or name[:1] in ("", ".")
        ]


class Named(Stripes):
    """Stripes whose classes and images have the given names."""

    def __init__(self, classes: list[str], ids: list[str]) -> None:
        super().__init__(len(ids))
        self.class_names, self.ids = tuple(classes), tuple(ids)


def test_hostile_names_stay_inside_and_keep_their_ids(tmp_path: Path) -> None:
    ids = [
        "../../x",
        "/etc/passwd",
        "a b",
        "ü/☃.png",
        "c:d\\e",
        "..",
        "new\nline",
        "-rf",
        "$HOME",
    ]
    data = Named(["../../up", "zwei Wörter", "…"], ids)
    export(SEVERITIES, data, tmp_path / "deep/set", processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["set"]
    assert sorted(path.name for path in (tmp_path / "deep/set/clean").iterdir()) == [
        "_._.._up", "zwei Wörter", "…",
    ]  # fmt: skip
    live = evaluate(ChannelMeans(), data, SEVERITIES, out=tmp_path / "l", settings=ONE_PROCESS)
    stored = evaluate_stored(
        ChannelMeans(), tmp_path / "deep/set", out=tmp_path / "f", settings=ONE_PROCESS
    )
    assert stored.run.rows().equals(live.run.rows())
    assert verify(tmp_path / "deep/set").is_good


# Refusals


def test_two_images_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = Named(["a", "b", "c"], ["x/1.png", "y/2.png", "z/3.png", "w/1.jpg"])
    with pytest.raises(noctule.InputError, match=r"'x/1\.png' and 'w/1\.jpg' would both be"):
        export(SEVERITIES, data, tmp_path / "set", processes=1)
    assert not (tmp_path / "set").exists()
    assert len(image_entries(Named(["a", "b", "c"], ["x/1.png", "y/1.png", "z/1.png"]))) == 3


def test_two_corruptions_of_one_published_name_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    double = replace(CORRUPTIONS["gaussian"], published_name="Shear")
    monkeypatch.setitem(CORRUPTIONS._entries, "gaussian", double)
    with pytest.raises(noctule.InputError, match="'gaussian' would be written to 'Shear', as"):
        check_published_names(SEVERITIES)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"seed": 1}, "seed is 0 there and 1 here"),
        ({"format": "npy"}, 'format is "png" there and "npy" here'),
        ({"data": Stripes(21)}, "dataset.num_images is 20 there and 21 here"),
        ({"preprocessing": Preprocessing(resize_px=16)}, r"resize_px is null there and 16"),
        ({"benchmark": SEVERITIES.in_mode("released")}, "benchmark.mode is absent there"),
    ],
)
def test_another_set_in_the_same_folder_is_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    arguments: dict[str, Any] = {"benchmark": SEVERITIES, "data": Stripes(20), "processes": 1}
    export(**arguments, out=tmp_path)
    before = file_bytes(tmp_path)
    with pytest.raises(noctule.InputError, match=what):
        export(**{**arguments, **changes}, out=tmp_path)
    export(**arguments, out=tmp_path)
    assert file_bytes(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": "jpeg"}, "quality of JPEG is not stated"),
        ({"format": "gif"}, "--format: unknown value 'gif'"),
        ({"quality": 85}, "png is lossless"),
        ({"format": "jpeg", "quality": 101}, "--quality: 101 is out of range"),
        ({"processes": 0}, "--processes: 0 is out of range"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    tmp_path: Path, changes: dict[str, Any], what: str
) -> None:
    with pytest.raises(noctule.InputError, match=what):
        export(SEVERITIES, Stripes(20), tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()


def test_an_image_that_cannot_be_used_is_found_before_anything_is_written(
    tmp_path: Path,
) -> None:
    data = photos(tmp_path / "val")
    Image.new("RGB", (300, 400)).save(data / "n02/ILSVRC_2.JPEG")
    keep = Preprocessing()
    with pytest.raises(noctule.InputError, match=r"280 × 34\d px"):
        export(SEVERITIES, data, tmp_path / "set", preprocessing=keep, processes=1)
    (data / "n02/ILSVRC_2.JPEG").write_bytes(b"no image")
    with pytest.raises(noctule.InputError, match=r"cannot read 'n02/ILSVRC_2\.JPEG'.*Repair"):
        export(SEVERITIES, data, tmp_path / "set", processes=1)
    assert not (tmp_path / "set").exists()


def test_images_of_different_pieces_must_have_one_size(tmp_path: Path) -> None:
    with pytest.raises(noctule.InputError, match=r"s/0032' has 32 × 33 px .* 's/0000' 32 × 32"):
        export(SEVERITIES, Uneven(33), tmp_path / "set", processes=1)


def test_a_folder_with_other_things_or_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("x")
    with pytest.raises(noctule.InputError, match=r"not empty .*thesis\.txt"):
        export(SEVERITIES, Stripes(20), tmp_path / "mine", processes=1)
    export(SEVERITIES, Stripes(20), tmp_path / "set", processes=1)
    (tmp_path / "set/SHA256SUMS").unlink()
    (tmp_path / "set/rain").symlink_to(tmp_path / "mine")
    with pytest.raises(noctule.InputError, match="set/rain: is a link"):
        export(SEVERITIES, Stripes(20), tmp_path / "set", processes=1)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


# Interruptions


@pytest.mark.parametrize("form", LOSSLESS)
def test_several_processes_write_the_bytes_of_one(tmp_path: Path, form: Any) -> None:
    told: list[tuple[int, int]] = []
    for processes in (1, 2):
        export(
            SEVERITIES,
            Stripes(300),
            tmp_path / str(processes),
            format=form,
            processes=processes,
            progress=lambda done, total: told.append((done, total)),
        )
    assert file_bytes(tmp_path / "1") == file_bytes(tmp_path / "2")
    assert told.count((300 * 7, 300 * 7)) == 2


def test_a_process_for_each_device_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[int, list[str]]] = []

    def run_jobs(*arguments: Any, **options: Any) -> None:
        started.append((options["processes"], list(map(str, options["devices"]))))
        execution.run_jobs(*arguments, **options)

    monkeypatch.setattr(exporting, "run_jobs", run_jobs)
    export(SEVERITIES, Stripes(100), tmp_path / "1", processes=1)
    export(SEVERITIES, Stripes(100), tmp_path / "2", devices=["cpu", "cpu"])
    assert (2, ["cpu", "cpu"]) in started
    assert file_bytes(tmp_path / "1") == file_bytes(tmp_path / "2")
    with pytest.raises(noctule.InputError, match=r"of several types|no device 'cuda'"):
        export(SEVERITIES, Stripes(20), tmp_path / "3", devices=["cpu", "cuda"])
    assert not (tmp_path / "3").exists()


def test_a_set_made_on_a_gpu_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device is a stand-in: "cuda" is recorded, and the CPU computes."""
    gpu = SimpleNamespace(type="cuda")
    monkeypatch.setattr(exporting, "chosen_devices", lambda names: names)
    monkeypatch.setattr(
        exporting, "torch", SimpleNamespace(device=lambda name: gpu, version=torch.version)
    )
    monkeypatch.setattr(exporting, "_write_missing", write_on_the_cpu)
    manifest = export(SEVERITIES, Stripes(20), tmp_path, devices=["cuda"], processes=1)
    assert manifest.versions["cuda"] == str(torch.version.cuda)
    monkeypatch.undo()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert verify(tmp_path).is_good
    with pytest.raises(noctule.InputError, match="was made on a GPU, where some corruptions"):
        verify(tmp_path, again=2)
    with pytest.raises(noctule.InputError, match=r"versions\.cuda is .* there and absent here"):
        export(SEVERITIES, Stripes(20), tmp_path, processes=1)


def write_on_the_cpu(plan: Any, processes: int, devices: Any, progress: Any) -> None:
    WRITE_MISSING(plan, processes, [torch.device("cpu")], progress)


def test_an_unfinished_set_is_not_evaluated_and_not_verified(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(20), tmp_path, processes=1)
    (tmp_path / "SHA256SUMS").unlink()
    for use in (open_stored, verify):
        with pytest.raises(noctule.InputError, match="is not finished"):
            use(tmp_path)


@pytest.mark.parametrize("form", ["png", "npy"])
def test_a_full_disk_keeps_what_is_finished(
    tmp_path: Path, form: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Target.write
    calls = 0

    def full(self: Target, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 20:  # in the third piece: a piece has seven conditions
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(self, *arguments)

    arguments: dict[str, Any] = {"format": form, "processes": 1}
    with monkeypatch.context() as patch:
        patch.setattr(Target, "write", full)
        with pytest.raises(noctule.OutputError, match=r"No space left.*pieces are kept"):
            export(SEVERITIES, Stripes(150), tmp_path / "set", **arguments)
    assert len(list((tmp_path / "set/pieces").iterdir())) == 2
    calls = -1000
    with monkeypatch.context() as patch:
        patch.setattr(Target, "write", full)
        export(SEVERITIES, Stripes(150), tmp_path / "set", **arguments)
    assert calls == -1000 + 3 * 7  # of 150 images in pieces of 32, two were finished
    export(SEVERITIES, Stripes(150), tmp_path / "whole", **arguments)
    assert file_bytes(tmp_path / "set") == file_bytes(tmp_path / "whole")


EXPORT = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_stored_export import *
if __name__ == "__main__":
    export(SEVERITIES, Stripes(600), Path(sys.argv[1]), format=sys.argv[2], processes=2)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
@pytest.mark.slow
@pytest.mark.parametrize("form", ["png", "npy"])
def test_a_export_killed_again_and_again_equals_an_undisturbed_one(
    tmp_path: Path, form: str
) -> None:
    script = tmp_path / "export_it.py"
    script.write_text(EXPORT.format(tests=str(Path(__file__).parent)))
    command = [sys.executable, str(script), str(tmp_path / "killed"), form]
    pieces = tmp_path / "killed/pieces"
    kills = 0
    for wanted in (1, 10):
        process = subprocess.Popen(command)
        while process.poll() is None and len(list(pieces.glob("[0-9]*"))) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills == 2
    assert 10 <= len(list(pieces.glob("[0-9]*"))) < 19
    subprocess.run(command, check=True)
    export(SEVERITIES, Stripes(600), tmp_path / "whole", format=form, processes=1)
    assert file_bytes(tmp_path / "killed") == file_bytes(tmp_path / "whole")


def test_an_array_that_was_lost_on_the_way_is_written_anew(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(70), tmp_path / "whole", format="npy", processes=1)
    export(SEVERITIES, Stripes(70), tmp_path / "set", format="npy", processes=1)
    (tmp_path / "set/SHA256SUMS").unlink()
    (tmp_path / "set/shear.npy").unlink()
    (tmp_path / "set/pieces").mkdir()
    for start in (0, 32, 64):
        (tmp_path / f"set/pieces/{start:08d}").touch()
    export(SEVERITIES, Stripes(70), tmp_path / "set", format="npy", processes=1)
    assert file_bytes(tmp_path / "set") == file_bytes(tmp_path / "whole")


def test_only_one_command_at_a_time_exports_into_a_folder(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "set").mkdir()
    with (
        FileLock(tmp_path / "set/.lock"),
        pytest.raises(noctule.InputError, match="another process is exporting"),
    ):
        export(SEVERITIES, Stripes(20), tmp_path / "set", processes=1)
    export(SEVERITIES, Stripes(20), tmp_path / "set", processes=1)
    assert ".lock" not in file_bytes(tmp_path / "set")


# Shards are read in place


def test_a_shard_with_a_path_out_of_it_writes_nothing(tmp_path: Path) -> None:
    export(SEVERITIES, Stripes(20), tmp_path / "a/set", format="webdataset", processes=1)
    path = tmp_path / "a/set/shear/3/000000.tar"
    with tarfile.open(path, "a") as shard:
        member = tarfile.TarInfo("../../../../evil.png")
        member.size = 4
        shard.addfile(member, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("00000007.png")  # the last of a name counts
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        shard.addfile(link)
    assert verify(tmp_path / "a/set").changed == ("shear/3/000000.tar",)
    sums = tmp_path / "a/set/SHA256SUMS"  # whoever forges a shard forges its hash
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(path.name)]
    for shard_path in sorted((tmp_path / "a/set").rglob("*.tar")):
        digest = hashlib.sha256(shard_path.read_bytes()).hexdigest()
        lines.append(f"{digest}  {shard_path.relative_to(tmp_path / 'a/set')}")
    sums.write_text("\n".join([*lines, ""]))
    with pytest.raises(noctule.UnreadableImageError, match=r"shear@3/s/0007"):
        evaluate_stored(
            ChannelMeans(), tmp_path / "a/set", out=tmp_path / "run", settings=ONE_PROCESS
        )
    assert not list(tmp_path.rglob("evil*"))
