"""Arrays: every layout and type that is clear is read, every other refused."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
import torch

from noctule import input_files
from noctule.data import open_dataset
from noctule.errors import InputError
from photos import write

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
LABELS = np.array([0, 2, 1, 2, 0])


def pixels_of(dataset):
    return np.stack([np.asarray(dataset.read(index)) for index in range(len(dataset))])


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 3, 1, 2), PIXELS),
        (PIXELS[..., 0], PIXELS[..., 0]),
        (PIXELS[..., :1], PIXELS[..., 0]),
        (PIXELS[:, None, :, :, 0], PIXELS[..., 0]),
        (PIXELS.astype(np.int64), PIXELS),
        ((PIXELS / 255).astype(np.float32), PIXELS),
        (PIXELS / 255.0, PIXELS),
        (torch.from_numpy(PIXELS).permute(0, 3, 1, 2), PIXELS),
        (torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float().requires_grad_() / 255, PIXELS),
        (PIXELS.tolist(), PIXELS),
    ],
)
def test_layouts_and_types(images, expected):
    dataset = open_dataset((images, LABELS))
    np.testing.assert_array_equal(pixels_of(dataset), expected)
    assert dataset.read(0).mode == ("RGB" if expected.ndim == 4 else "L")
    assert dataset.labels.tolist() == [0, 2, 1, 2, 0]
    assert dataset.ids == ("000000", "000001", "000002", "000003", "000004")
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.domain is None


def test_half_precision_of_every_gray_level():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    dataset = open_dataset(((levels / 255).astype(np.float16), [0]))
    np.testing.assert_array_equal(pixels_of(dataset), levels)


def test_bfloat16_of_every_gray_level():
    severities = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    dataset = open_dataset(((severities / 255).bfloat16(), [0]))
    np.testing.assert_array_equal(pixels_of(dataset), severities)


def test_a_rounding_beyond_white_or_black_is_no_other_scale():
    images = PIXELS / 255
    rounded = images.copy()
    rounded[0, 0, 0] = (1 + 1e-7, -1e-7, 0.5)
    images[0, 0, 0] = (1, 0, 0.5)
    found, expected = (pixels_of(open_dataset((one, LABELS))) for one in (rounded, images))
    np.testing.assert_array_equal(found, expected)


def test_a_tensor_that_is_no_array_is_refused():
    images = torch.zeros(5, 8, 6, 3).to(torch.float8_e5m2)
    with pytest.raises(InputError, match="these values do not form an array"):
        open_dataset((images, LABELS))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (PIXELS / 127.5 - 1, LABELS, r"from -1 to 1: already normalised\?"),
        (PIXELS.astype(np.float32), LABELS, r"floats from 0 to 255, not in \[0, 1\]"),
        (np.full((5, 8, 6, 3), np.nan), LABELS, "not finite"),
        (np.full((5, 8, 6, 3), np.inf), LABELS, "not finite"),
        (PIXELS.astype(np.uint16) * 257, LABELS, "integers from 0 to 65535"),
        (PIXELS.astype(np.int16) - 1, LABELS, "integers from -1 to"),
        (PIXELS > 127, LABELS, "images have dtype bool"),
        (PIXELS[:, :3], LABELS, r"\(5, 3, 6, 3\) could be"),
        (PIXELS.repeat(2, axis=3), LABELS, r"\(5, 8, 6, 6\) is not a batch of images"),
        (PIXELS[0, 0], LABELS, r"\(6, 3\) is not a batch of images"),
        (PIXELS[:0], LABELS[:0], "empty"),
        (PIXELS, LABELS[:4], "5 images but 4 labels"),
        (PIXELS[:4], LABELS, "4 images but 5 labels"),
        (PIXELS, LABELS - 1, "-1 is not a class index"),
        (PIXELS, LABELS * 10**9, "2000000000 is not a class index"),
        (PIXELS, LABELS / 2, "labels are float64"),
        (PIXELS, np.eye(5, dtype=int), r"labels are int64 of shape \(5, 5\)"),
        ([PIXELS[0], PIXELS[0, :4]], [0, 1], "do not form an array.*use a folder"),
        (np.array([None] * 5), LABELS, "not a batch of images"),
    ],
)
def test_refused(images, labels, message):
    with pytest.raises(InputError, match=message):
        open_dataset((images, labels))


def test_the_callers_array_is_not_written_to():
    images = PIXELS.copy()
    open_dataset((images, LABELS)).read(0).paste((0, 0, 0), (0, 0, 6, 8))
    np.testing.assert_array_equal(images, PIXELS)


PAIRS = [
    {"images": PIXELS, "labels": LABELS},
    {"x_test": PIXELS, "y_test": LABELS[:, None], "x_train": PIXELS[:1], "y_train": LABELS[:1]},
    {"X": PIXELS, "Y": LABELS},
    {"data": PIXELS, "targets": LABELS},
    {"arr_0": PIXELS, "arr_1": LABELS},
    {"train_images": PIXELS[:1], "test_images": PIXELS, "test_labels": LABELS.astype(np.uint8)},
]


@pytest.mark.parametrize("held", PAIRS, ids=lambda held: "-".join(held))
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, held, save):
    save(tmp_path / "set.npz", **held)
    dataset = open_dataset(str(tmp_path / "set.npz"))
    np.testing.assert_array_equal(pixels_of(dataset), PIXELS)
    assert dataset.labels.tolist() == LABELS.tolist()
    assert dataset.name == "set.npz"


def test_npz_class_names_and_labels_file(tmp_path):
    names = np.array(["ant", "bee", "cat", "dog"])
    np.savez(tmp_path / "a.npz", images=PIXELS, labels=LABELS, class_names=names)
    assert open_dataset(tmp_path / "a.npz").class_names == ("ant", "bee", "cat", "dog")
    labels = write(tmp_path / "other.txt", b"1\n1\n0\n0\n0\n")
    assert open_dataset(tmp_path / "a.npz", labels_file=labels).labels.tolist() == [
        1,
        1,
        0,
        0,
        0,
    ]
    np.savez(tmp_path / "b.npz", images=PIXELS)
    assert open_dataset(tmp_path / "b.npz", labels_file=labels).labels.tolist() == [
        1,
        1,
        0,
        0,
        0,
    ]


def test_npy_with_labels_beside_it(tmp_path):
    np.save(tmp_path / "fog.npy", PIXELS)
    np.save(tmp_path / "labels.npy", LABELS)
    dataset = open_dataset(tmp_path / "fog.npy")
    np.testing.assert_array_equal(pixels_of(dataset), PIXELS)
    assert dataset.labels.tolist() == LABELS.tolist()
    np.save(tmp_path / "y.npy", np.roll(LABELS, 1))
    dataset = open_dataset(tmp_path / "fog.npy", labels_file=tmp_path / "y.npy")
    assert dataset.labels.tolist() == np.roll(LABELS, 1).tolist()


def test_pickle_of_a_file_holds_its_path_only(tmp_path, monkeypatch):
    np.save(tmp_path / "fog.npy", np.zeros((500, 32, 32, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.zeros(500, int))
    monkeypatch.chdir(tmp_path)
    stored = pickle.dumps(open_dataset("fog.npy"))
    assert len(stored) < 1000
    monkeypatch.chdir("/")
    assert len(pickle.loads(stored)) == 500
    pair = open_dataset((PIXELS, LABELS))
    copy = pickle.loads(pickle.dumps(pair))
    assert copy.fingerprint() == pair.fingerprint()
    np.testing.assert_array_equal(pixels_of(copy), PIXELS)


def test_fingerprint_is_of_pixels_labels_and_shape():
    first = open_dataset((PIXELS, LABELS)).fingerprint()
    assert first == open_dataset((PIXELS / 255, LABELS.tolist())).fingerprint()
    changed = PIXELS.copy()
    changed[4, 7, 5, 2] ^= 1
    others = [
        (changed, LABELS),
        (PIXELS, np.roll(LABELS, 1)),
        (PIXELS.reshape(5, 6, 8, 3), LABELS),
    ]
    prints = {open_dataset(pair).fingerprint() for pair in others}
    assert len(prints | {first}) == 4


class Planted:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("kind", ["npy", "npz", "npz labels", "raw pickle", "raw in npz"])
def test_pickled_code_is_never_run(tmp_path, kind):
    witness = tmp_path / "executed"
    trap = np.array([Planted(str(witness))], dtype=object)
    file = tmp_path / ("set.npy" if kind in ("npy", "raw pickle") else "set.npz")
    if kind == "npy":
        np.save(file, trap)
    elif kind == "npz":
        np.savez(file, images=trap, labels=LABELS)
    elif kind == "npz labels":
        np.savez(file, images=PIXELS, labels=trap)
    else:
        stream = io.BytesIO()
        pickle.dump(Planted(str(witness)), stream)
        write(file, stream.getvalue())
    with pytest.raises(InputError, match=r"pickled object, which could run any code"):
        open_dataset(file)
    assert not witness.exists()


def test_keys_that_say_nothing(tmp_path):
    np.savez(tmp_path / "set.npz", photos=PIXELS, labels=LABELS)
    with pytest.raises(InputError, match=r"among: photos, labels. Use one .*x_test and y_t"):
        open_dataset(tmp_path / "set.npz")


@pytest.mark.parametrize("name", ["set.npy", "set.npz"])
@pytest.mark.parametrize("content", ["nothing", "text", "cut"])
def test_damaged(tmp_path, name, content):
    np.save(tmp_path / "whole.npy", PIXELS)
    np.savez(tmp_path / "whole.npz", images=PIXELS, labels=LABELS)
    np.save(tmp_path / "labels.npy", LABELS)
    whole = (tmp_path / name.replace("set", "whole")).read_bytes()
    data = {"nothing": b"", "text": b"hello", "cut": whole[: len(whole) // 2]}[content]
    with pytest.raises(
        InputError, match=r"set\.np[yz]: (cannot load|this is, or contains|its header)"
    ):
        open_dataset(write(tmp_path / name, data))


def test_one_kind_under_the_others_name(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"content is that of a \.npy file"):
        open_dataset(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=PIXELS, labels=LABELS)
    (tmp_path / "b.npz").rename(tmp_path / "b.npy")
    with pytest.raises(InputError, match=r"content is that of a \.npz file"):
        open_dataset(tmp_path / "b.npy")


def test_damage_inside_an_archive(tmp_path):
    np.savez(tmp_path / "set.npz", images=PIXELS, labels=LABELS)
    data = bytearray((tmp_path / "set.npz").read_bytes())
    place = bytes(data).find(PIXELS.tobytes()) + 100
    data[place] ^= 0xFF
    with pytest.raises(InputError, match=r"set\.npz, 'images': cannot load.*CRC"):
        open_dataset(write(tmp_path / "set.npz", bytes(data)))


def test_missing_labels(tmp_path):
    np.save(tmp_path / "fog.npy", PIXELS)
    np.save(tmp_path / "label.npy", LABELS)
    with pytest.raises(InputError, match=r"labels.npy: there is no such .*'label\.npy'"):
        open_dataset(tmp_path / "fog.npy")
    np.save(tmp_path / "labels.npy", LABELS[:-1])
    with pytest.raises(InputError, match="5 images but 4 labels"):
        open_dataset(tmp_path / "fog.npy")
    labels = write(tmp_path / "labels.txt", b"1\n1\ncat\n0\n0\n")
    with pytest.raises(InputError, match=r"labels.txt, line 3: 'cat' is not a class index"):
        open_dataset(tmp_path / "fog.npy", labels_file=labels)
    with pytest.raises(InputError, match="cannot read the labels"):
        open_dataset(tmp_path / "fog.npy", labels_file=write(tmp_path / "b.txt", b"\xff\xfe"))


def npy_header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    stream = io.BytesIO()
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(10**12, 32, 32, 3), (2**62, 2**62), (10**9,)])
@pytest.mark.parametrize("name", ["x.npy", "x.npz", "labels.npy"])
def test_a_header_that_promises_more_than_there_is(tmp_path, name, shape):
    images, labels = np.zeros((2, 4, 4, 3), np.uint8), np.array([0, 1])
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "labels.npy", labels)
    if name == "x.npz":
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("images.npy", npy_header(shape) + bytes(96))
            archive.write(tmp_path / "labels.npy", "labels.npy")
    else:
        (tmp_path / name).write_bytes(npy_header(shape) + bytes(96))
    with pytest.raises(
        InputError, match=r"its header declares uint8 of shape .*, but it has \d\d\d"
    ):
        open_dataset(tmp_path / ("x.npz" if name == "x.npz" else "x.npy"))


def test_an_archive_that_unpacks_to_gigabytes(tmp_path, monkeypatch):
    """2 GB of zeros in 2 MB, made without ever holding them."""
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out:
        with out.open("images.npy", "w", force_zip64=True) as entry:
            entry.write(npy_header((2000, 1000, 1000, 1)))
            for _ in range(20):
                entry.write(bytes(10**6))
        out.writestr("labels.npy", npy_header((2,), "<i8") + bytes(16))
    # 20 MB will do as gigabytes: the ratio is that of the real thing.
    monkeypatch.setattr(input_files, "MAX_UNPACKED_BYTES", 10**7)
    assert (tmp_path / "x.npz").stat().st_size < 2 * 10**5
    with pytest.raises(InputError, match=r"x\.npz: unpacks to 20,.* decompression bomb"):
        open_dataset(tmp_path / "x.npz")


def test_what_does_not_fit_into_memory(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", images=np.ones((9, 8, 8, 3), np.uint8), labels=np.arange(9))
    monkeypatch.setattr(input_files, "memory_bytes", lambda: 1000)
    with pytest.raises(InputError, match=r"'images': needs 1,728 bytes of memory"):
        open_dataset(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.ones((9, 8, 8, 3), np.uint8))
    np.save(tmp_path / "labels.npy", np.arange(9))
    assert len(open_dataset(tmp_path / "x.npy")) == 9  # mapped, not read
