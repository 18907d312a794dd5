"""What a study is: a TOML file that says which networks are trained how, on what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.benchmarks.conditions import proper_names
from noctule.config import Spec, SpecValueError, read_named, registry_of_files
from noctule.corruptions.checks import MAX_SIDE_PX, MIN_SIDE_PX
from noctule.errors import InputError
from noctule.models import Preprocessing
from noctule.studies.training.recipe import Positive, Recipe
from noctule.studies.training.stream import Views

STANDARD = "standard"
MAX_THREADS = 1024
STUDIES = registry_of_files("study", Path(__file__).parent)
"""The TOML files of studies by name."""

Text = Annotated[str, Field(min_length=1)]
Channels = tuple[float, float, float]


class Member(NamedTuple):
    """One network of a study.

    Attributes:
        candidate: The corruption it is trained with, or None for the standard model.
        seed: Of its training.
    """

    candidate: str | None
    seed: int

    def __str__(self) -> str:
        return f"{self.candidate or STANDARD}-seed{self.seed}"

    @property
    def views(self) -> Views:
        """Each image is shown twice an epoch: clean, and corrupted (or clean once more)."""
        return (None, self.candidate)


class Images(Spec):
    """How an image becomes the image that a corruption sees, and a network's input.

    Attributes:
        side_px: Images are squashed to squares of this side.
        interpolation: Of the resizing, as in Pillow.
        mean: Subtracted from each channel, in units where white is 1.
        std: What each channel is then divided by.
    """

    side_px: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    mean: Channels = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)

    def preprocessing(self) -> Preprocessing:
        """The same as `noctule.evaluate` uses it."""
        return Preprocessing(
            resize_px=(self.side_px, self.side_px),
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


class Study(Spec):
    """A standard network and one for each candidate corruption, trained alike.

    Attributes:
        name: Short name, as used on the command line.
        title: What figures are headed with.
        source: Who proposed it, and where; what is known of it.
        architecture: What `build_untrained` takes.
        candidates: Names of corruptions, or the name of a benchmark whose corruptions they are.
        seeds: Every network is trained once with each.
        train: The images to train on; a name, or a path relative to the working directory.
        test: The images every network is measured on.
        images: How images become images.
        recipe: How each network is trained.
        precision: Of the forward and backward passes; "auto" is float32 on a CPU and bfloat16
            on a GPU, where float32 lets convolutions use TF32, as PyTorch does.
        compiled: Whether to use `torch.compile`.
        threads: Of each process, on a CPU; the last bits of a weight depend on it.
    """

    name: Text
    title: Text
    source: Text
    architecture: Text
    candidates: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    train: Text
    test: Text
    images: Images
    recipe: Recipe
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compiled: bool = False
    threads: Annotated[int, Field(ge=1, le=MAX_THREADS)] = 1

    @field_validator("candidates", mode="before")
    @classmethod
    def _of_a_benchmark(cls, candidates: object) -> object:
        if not isinstance(candidates, str):
            return candidates
        try:
            return load_benchmark(candidates).corruptions
        except InputError as error:
            raise SpecValueError.because(error) from error

    @field_validator("candidates")
    @classmethod
    def _known_and_several(cls, candidates: tuple[str, ...]) -> tuple[str, ...]:
        if len(candidates) < 2:
            raise SpecValueError(f"there are {len(candidates)}", "Overlap needs two or more.")
        return proper_names(candidates)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds):
            raise SpecValueError(
                f"{list(seeds)} are not distinct seeds", "Use such as [0, 1, 2]."
            )
        return seeds

    @property
    def members(self) -> tuple[Member, ...]:
        """Every network, the standard one of each seed first."""
        names = (None, *self.candidates)
        return tuple(Member(name, seed) for seed in self.seeds for name in names)

    @property
    def benchmark(self) -> Benchmark:
        """What every network is measured on: clean, and each candidate over its full range."""
        return Benchmark(
            name=self.name, title=self.title, source=self.source, corruptions=self.candidates
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data with the keys of the TOML file."""
        return self.model_dump(mode="json")


def study_names() -> tuple[str, ...]:
    """Names of the registered studies, sorted.

    >>> "imagenet-100" in study_names()
    True
    """
    return tuple(sorted(STUDIES))


def load_study(name_or_path: str | Path) -> Study:
    """A registered study by name, or one from a TOML file.

    Raises:
        InputError: No such name or file, or something in the file is wrong.
    """
    return read_named(name_or_path, STUDIES, Study)
