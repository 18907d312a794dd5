"""Class maps: the two that noctule has, their files, and files that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from torchvision.models import ResNet50_Weights

from noctule.data import imagenet
from noctule.data.class_map import ClassMap, load_class_map
from noctule.errors import InputError


def test_the_wordnet_ids_are_imagenets() -> None:
    """Their hash is that of the 1000 ids, sorted, in any list of ILSVRC 2012's classes."""
    digest = hashlib.sha256("\n".join(imagenet.wnids()).encode()).hexdigest()
    assert digest == "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"


@pytest.mark.parametrize(
    ("name", "classes", "members"), [("laion-c", 16, 285), ("objectnet", 113, 125)]
)
def test_named_maps_are_of_imagenets_classes(name: str, classes: int, members: int) -> None:
    found = load_class_map(name)
    wnids = [wnid for one in found.members.values() for wnid in one]
    assert (found.name, len(found.members), len(wnids)) == (name, classes, members)
    assert set(wnids) <= set(imagenet.wnids())
    assert found.leaves_out_others == (name == "objectnet")


@pytest.mark.parametrize(
    ("name", "own", "members"),
    [
        ("objectnet", "chair", {"barber chair", "folding chair", "rocking chair"}),
        ("objectnet", "bicycle", {"mountain bike", "bicycle-built-for-two"}),
        ("objectnet", "t-shirt", {"jersey"}),
        (
            "laion-c",
            "ball",
            {
                "baseball",
                "basketball",
                "rugby ball",
                "soccer ball",
                "tennis ball",
                "volleyball",
            },
        ),
        (
            "laion-c",
            "cat",
            {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat", "cougar"}
            - {"cougar"},
        ),
    ],
)
def test_members_of_named_maps(name: str, own: str, members: set[str]) -> None:
    """By the names that torchvision gives the classes."""
    names = dict(
        zip(imagenet.wnids(), ResNet50_Weights.DEFAULT.meta["categories"], strict=True)
    )
    found = {names[wnid] for wnid in load_class_map(name).members[own]}
    assert members <= found


def test_the_forms_of_a_file_give_the_same_map(tmp_path: Path) -> None:
    texts = {
        "map.json": '{"pet": ["tabby", "n02123159"], "tool": [587], "plant": []}',
        "map.csv": "superclass,class\npet,tabby\npet, n02123159\ntool,587\n",
        "map.tsv": "class\tnote\tsuperclass\n587\t-\ttool\nn02123159\t-\tpet\ntabby\t-\tpet\n",
    }
    maps: dict[str, ClassMap] = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        maps[name] = load_class_map(tmp_path / name)
    assert maps["map.json"].members == {
        "pet": ("tabby", "n02123159"),
        "tool": ("587",),
        "plant": (),
    }
    assert maps["map.csv"].sha256 == maps["map.tsv"].sha256 != maps["map.json"].sha256
    (tmp_path / "others.json").write_text(
        '{"pet": ["tabby", "n02123159"], "tool": [587], "*": []}'
    )
    others = load_class_map(tmp_path / "others.json")
    assert others.leaves_out_others
    assert others.members == maps["map.csv"].members
    assert others.sha256 != maps["map.csv"].sha256


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("objectnett", None,
         r"no class map 'objectnett'. Did you mean objectnet\? Known: laion-c, objectnet"),
        ("gone.json", None, r"gone\.json: (does not exist|cannot be read)"),
        ("a.json", b"{", r"a\.json: is not a class map: Expecting"),
        ("a.json", b"[" * 100_000, r"a\.json: is not a class map"),
        ("a.json", b"\xff", r"a\.json: .*UTF-8"),
        ("a.json", b"[]", r"a\.json: is not an object in JSON. Write"),
        ("a.json", b"{}", r"a\.json: names no classes"),
        ("a.json", b'{"cat": []}', r"a\.json: names no classes"),
        ("a.json", b'{"cat": ["a"], "*": ["b"]}', r"a\.json: '\*' must be empty"),
        ("a.json", b'{"cat": "tabby"}', r"'cat' is not a list of WordNet ids"),
        ("a.json", b'{"cat": [true]}', r"'cat' is not a list of WordNet ids"),
        ("a.json", b'{"cat": [1.5]}', r"'cat' is not a list of WordNet ids"),
        ("a.json", b'{"cat": ["a"], "cat": ["b"]}', r"'cat' occurs twice"),
        ("a.json", b'{"cat": ["a"], "dog": ["a"]}', r"'a' occurs twice, in 'cat' and 'dog'"),
        ("a.json", b'{"cat": ["a", "a"]}', r"'a' occurs twice, in 'cat'\."),
        ("a.csv", b"class,label\ntabby,cat\n", r"a\.csv: has no column 'superclass'"),
        ("a.csv", b"class,superclass\ntabby,\n", r"a\.csv, line 2: has no superclass"),
        ("a.csv", b"class,superclass\n", r"a\.csv: names no classes"),
        ("a.csv", b"", r"a\.csv: is empty"),
    ],
)  # fmt: skip
def test_files_that_are_no_map(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    content: bytes | None,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(file).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_class_map(file)
