"""CLIP and SigLIP of transformers, saved here: the scores are those of its own pipeline."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch.nn import functional as F

import noctule
from noctule.models import Preprocessing, load_classifier
from noctule.models.zero_shot import DEFAULT_PROMPT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
T: Any = transformers
NAMES = ["ant", "bee", "great white shark", "dog"]
PROMPTS = ["a photo of a {}.", "the {} of {}.", "art"]
WORDS = [
    "<pad>", "a", "photo", "of", "the", "this", "is", ".", "ant", "bee", "great", "white",
    "shark", "dog", "art", "<unk>", "<bos>", "<eos>",
]  # fmt: skip
IMAGES = np.random.default_rng(1).integers(0, 256, (12, 40, 40, 3), dtype=np.uint8)
PICTURES = [Image.fromarray(image) for image in IMAGES]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def tokenizer() -> Any:
    """Words, lower case, between two marks."""
    ids = {word: index for index, word in enumerate(WORDS)}
    words = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>",
        special_tokens=[("<bos>", ids["<bos>"]), ("<eos>", ids["<eos>"])],
    )
    return T.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>",
        unk_token="<unk>", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32,
}  # fmt: skip
TEXT = {**SIZES, "vocab_size": len(WORDS), "max_position_embeddings": 64, "pad_token_id": 0,
        "bos_token_id": len(WORDS) - 2, "eos_token_id": len(WORDS) - 1}  # fmt: skip
VISION = {**SIZES, "image_size": 32, "patch_size": 8}


def network(kind: str) -> Any:
    torch.manual_seed(0)
    config = getattr(T, f"{kind}Config")
    further = {} if kind == "Siglip" else {"projection_dim": 8}
    made = getattr(T, f"{kind}Model")(config(text_config=TEXT, vision_config=VISION, **further))
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3)
    return made.eval()


def processor(kind: str) -> Any:
    if kind == "Siglip":
        return T.SiglipImageProcessor(size={"height": 32, "width": 32})
    size = {"shortest_edge": 36}
    return T.CLIPImageProcessor(size=size, crop_size={"height": 32, "width": 32})


def saved(folder: Path, kind: str, *, words: Any = None, **changes: Any) -> Path:
    made = network(kind)
    for key, value in changes.items():
        setattr(made.config, key, value)
    made.save_pretrained(folder)
    processor(kind).save_pretrained(folder)
    (words or tokenizer()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("zero-shot")
    return {kind: saved(folder / kind, kind) for kind in ("CLIP", "Siglip", "MetaClip2")}


def logits_of(classifier: noctule.Classifier) -> torch.Tensor:
    own = classifier.preprocessing
    with torch.no_grad():
        found: torch.Tensor = classifier.module(
            torch.stack([own.normalise(own.prepare(picture)) for picture in PICTURES])
        )
    return found


@pytest.mark.parametrize("kind", ["CLIP", "Siglip", "MetaClip2"])
@pytest.mark.parametrize("prompt", [DEFAULT_PROMPT, "This is {}"])
def test_the_scores_are_those_of_the_pipeline(
    folders: dict[str, Path], kind: str, prompt: str
) -> None:
    given = {} if prompt == DEFAULT_PROMPT else {"prompts": prompt}
    classifier = load_classifier(f"hf:{folders[kind]}", classes=NAMES, **given)
    assert classifier.class_names == tuple(NAMES)
    assert (classifier.num_classes, classifier.architecture) == (4, f"{kind}Model")
    logits = logits_of(classifier)
    scores = logits.sigmoid() if kind == "Siglip" else logits.softmax(dim=1)
    pipeline = T.pipeline(
        "zero-shot-image-classification", model=network(kind), tokenizer=tokenizer(),
        image_processor=processor(kind), device="cpu",
    )  # fmt: skip
    answers = pipeline(PICTURES, candidate_labels=NAMES, hypothesis_template=prompt)
    expected = [{one["label"]: one["score"] for one in answer} for answer in answers]
    assert scores.tolist() == [
        pytest.approx([answer[name] for name in NAMES], abs=2e-3) for answer in expected
    ]
    assert scores.max(dim=1).values.std() > 0.01


@pytest.mark.parametrize("kind", ["CLIP", "Siglip"])
def test_features_of_several_prompts_are_averaged(folders: dict[str, Path], kind: str) -> None:
    """By hand: each text alone, of length 1, then the mean, of length 1."""
    prompts = ["a photo of a {}.", "the {} of art", "{}"]
    classifier = load_classifier(f"hf:{folders[kind]}", classes=NAMES, prompts=prompts)
    model, words, own = network(kind), tokenizer(), classifier.preprocessing
    pads = {"padding": "max_length", "max_length": 64} if kind == "Siglip" else {}
    with torch.no_grad():
        pixels = torch.stack([own.normalise(own.prepare(picture)) for picture in PICTURES])
        images = F.normalize(model.get_image_features(pixels).pooler_output, dim=-1)
        columns = []
        for name in NAMES:
            mean = torch.zeros(1, 8 if kind == "CLIP" else 16)
            for prompt in prompts:
                tokens = words([prompt.format(name)], return_tensors="pt", **pads)
                mean += F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1) / 3
            columns.append(images @ F.normalize(mean, dim=-1).T)
        expected = torch.cat(columns, dim=1) * model.logit_scale.exp()
        if kind == "Siglip":
            expected += model.logit_bias
    assert torch.allclose(logits_of(classifier), expected, atol=1e-4)


def test_a_run_on_the_command_line(
    folders: dict[str, Path], tmp_path: Path, noctule_cli: Any
) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(NAMES) + "\n\n", encoding="utf-8")
    (tmp_path / "prompts.txt").write_text("a photo of a {}.\nthe {}\n", encoding="utf-8")
    np.savez(tmp_path / "data.npz", images=IMAGES, labels=[0, 1, 2, 3] * 3)
    command = (
        "evaluate", f"hf:{folders['CLIP']}", tmp_path / "data.npz", "--classes",
        tmp_path / "classes.txt", "--no-self-check", "--device", "cpu", "--batch-size", "5",
    )  # fmt: skip
    shear = ("--benchmark", tmp_path / "b.toml")
    (tmp_path / "b.toml").write_text(
        'name = "b"\ntitle = "b"\nsource = "b"\ncorruptions = ["shear"]\nseverities = [1]\n'
    )
    for out, prompts in (("one", ()), ("two", ("--prompts", tmp_path / "prompts.txt"))):
        status, _, err = noctule_cli(*command, *shear, *prompts, "--out", tmp_path / out)
        assert status == 0, err
        shown = "2 prompts such as 'a" if prompts else "the prompt 'a photo of a {}.'"
        assert shown in " ".join(err.split())
    assert noctule_cli(*command, *shear, "--out", tmp_path / "one")[0] == 0  # found again
    status, _, err = noctule_cli(*command, *shear, "--out", tmp_path / "two")
    assert (status, "of another run" in err or "weights" in err) == (2, True), err
    classifier = load_classifier(f"hf:{folders['CLIP']}", classes=tmp_path / "classes.txt")
    rows = noctule.RunStore.open(tmp_path / "one").rows().to_pylist()
    clean = [row for row in rows if row["condition"] == "clean"]
    logits = logits_of(classifier)
    assert [row["prediction"] for row in clean] == logits.argmax(1).tolist()
    assert [row["confidence"] for row in clean] == pytest.approx(
        logits.softmax(1).amax(1).tolist(), abs=1e-4
    )


def test_names_and_prompts_identify_the_model(folders: dict[str, Path], tmp_path: Path) -> None:
    def identity(**options: Any) -> str:
        options = {"classes": NAMES, **options}
        return load_classifier(f"hf:{folders['CLIP']}", **options).weights_sha256

    first = identity()
    assert identity(prompts=[DEFAULT_PROMPT]) == first
    assert identity(classes=tuple(NAMES)) == first
    others = [
        identity(prompts="the {}"),
        identity(prompts=[DEFAULT_PROMPT, "the {}"]),
        identity(classes=NAMES[::-1]),
        identity(classes=[*NAMES[:3], "cow"]),  # not in the vocabulary
        identity(classes=[*NAMES[:3], "emu"]),  # nor this: the same features, another name
        load_classifier(
            f"hf:{saved(tmp_path / 'other', 'CLIP', words=shifted())}", classes=NAMES
        ).weights_sha256,
    ]
    assert len({first, *others}) == 7


def shifted() -> Any:
    """The tokenizer with two words exchanged."""
    made = tokenizer()
    text = made.backend_tokenizer.to_str().replace('"ant":', '"x":').replace('"bee":', '"ant":')
    made._tokenizer = Tokenizer.from_str(text.replace('"x":', '"bee":'))
    return made


def test_lists_in_packages(folders: dict[str, Path]) -> None:
    """Also prompts that are functions, as those of open_clip."""
    import open_clip

    classifier = load_classifier(
        f"hf:{folders['CLIP']}",
        classes="test_models_zero_shot:NAMES",
        prompts="open_clip:SIMPLE_IMAGENET_TEMPLATES",
    )
    assert classifier.class_names == tuple(NAMES)
    prompts = [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    same = load_classifier(f"hf:{folders['CLIP']}", classes=NAMES, prompts=prompts)
    assert same.weights_sha256 == classifier.weights_sha256
    assert same.weights.endswith("4 classes, 7 prompts such as 'itap of a {}.'")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": None}, r"none are given. Pass --classes FILE"),
        ({"classes": "no.txt"}, r"--classes: there is no file 'no.txt'. Use a text file"),
        ({"classes": "one.txt"}, "has 1 names"),
        ({"classes": "gap.txt"}, r"--classes: entry 2 of .*gap.txt is empty"),
        ({"classes": "empty.txt"}, "empty.txt is not a list of texts"),
        ({"classes": "latin.txt"}, "latin.txt: is not UTF-8 text"),
        ({"classes": "folder"}, "folder: is a folder, not a regular file"),
        ({"classes": ["ant", 3]}, "entry 2 of --classes is empty or no text"),
        ({"classes": 3}, "--classes is not a list of texts"),
        ({"classes": "open_clip:IMAGENET"}, "'open_clip' has no 'IMAGENET'"),
        ({"classes": "no_such_package:NAMES"}, "cannot import 'no_such_package'"),
        ({"classes": "test_models_zero_shot:T"}, "T is not a list of texts"),
        ({"prompts": PROMPTS}, r"the prompt 'art' has no {}. Put {}"),
        ({"prompts": "a photo"}, "--prompts: there is no file 'a photo'"),
        ({"prompts": "{} " + "a " * 62}, "'great white shark( a)+' has more than 64 tokens"),
        ({"num_classes": 5}, "has 4 classes, not 5"),
    ],
)
def test_unsuitable_texts(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: Any, options: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    files = {"one": b"ant\n", "gap": b"ant\n\nbee\n", "empty": b"\n", "latin": b"caf\xe9\nant"}
    for name, content in files.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
    with pytest.raises(noctule.InputError, match=message):
        load_classifier(f"hf:{folders['CLIP']}", **{"classes": NAMES, **options})


def test_other_models_have_classes_of_their_own(tmp_path: Path) -> None:
    vit = T.ViTForImageClassification(T.ViTConfig(**VISION))
    vit.save_pretrained(tmp_path)
    T.ViTImageProcessor().save_pretrained(tmp_path)
    for spec in (f"hf:{tmp_path}", "photo-patches", torch.nn.Identity()):
        for options in ({"classes": NAMES}, {"prompts": "a {}"}):
            with pytest.raises(noctule.InputError, match=r"has classes of its own\. Omit --"):
                load_classifier(spec, **options)


def test_damaged_checkpoints(folders: dict[str, Path], tmp_path: Path) -> None:
    spec = f"hf:{saved(tmp_path / 'words', 'CLIP')}"
    for file in (tmp_path / "words").glob("tokenizer*"):
        file.unlink()
    with pytest.raises(noctule.InputError, match="the tokenizer reads 'ant' and 'bee' alike"):
        load_classifier(spec, classes=NAMES)
    (tmp_path / "words/tokenizer.json").write_text("{")
    with pytest.raises(noctule.InputError, match="its tokenizer cannot be used"):
        load_classifier(spec, classes=NAMES)
    folder = saved(tmp_path / "weights", "CLIP")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:1000])
    with pytest.raises(noctule.InputError, match="can be loaded"):
        load_classifier(f"hf:{folder}", classes=NAMES)
    # One tower alone would be completed at random.
    tower = saved(tmp_path / "tower", "CLIP")
    T.CLIPVisionModel(T.CLIPVisionConfig(**VISION)).save_pretrained(tmp_path / "vision")
    (tmp_path / "vision/model.safetensors").replace(tower / "model.safetensors")
    with pytest.raises(noctule.InputError, match=r"lacks \d+ weights of CLIPModel"):
        load_classifier(f"hf:{tower}", classes=NAMES)


def test_the_preprocessing_can_be_chosen(folders: dict[str, Path]) -> None:
    chosen = Preprocessing(resize_px=(32, 32))
    classifier = load_classifier(f"hf:{folders['CLIP']}", classes=NAMES, preprocessing=chosen)
    assert (classifier.preprocessing, classifier.preprocessing_note) == (chosen, "")
    own = load_classifier(f"hf:{folders['CLIP']}", classes=NAMES).preprocessing
    assert (own.resize_px, own.crop_px, own.interpolation) == (36, (32, 32), "bicubic")
