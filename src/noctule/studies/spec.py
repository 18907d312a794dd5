"""The specification of a study: a TOML file with its networks, data and training recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, field_validator
from torch import nn

from noctule.benchmarks import Benchmark, load_benchmark
from noctule.benchmarks.conditions import proper_names
from noctule.config import Spec, SpecValueError, read_named, registry_of_files
from noctule.corruptions.checks import MAX_SIDE_PX, MIN_SIDE_PX
from noctule.errors import InputError
from noctule.models import Preprocessing, build_untrained
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
        candidate: Corruption with which it is trained, or None for the standard model.
        seed: Seed of its training.
    """

    candidate: str | None
    seed: int

    def __str__(self) -> str:
        return f"{self.candidate or STANDARD}-seed{self.seed}"

    @property
    def views(self) -> Views:
        """Each image is shown twice per epoch: clean, and corrupted (or clean again)."""
        return (None, self.candidate)


class ImageConfig(Spec):
    """How images are resized before corruption, and normalised after it.

    Attributes:
        side_px: Side of the squares to which images are resized, whatever their aspect ratio.
        interpolation: Pillow's name of the interpolation.
        mean: Mean that is subtracted from each channel, in [0, 1] units.
        std: Standard deviation by which each channel is then divided, in [0, 1] units.
    """

    side_px: Annotated[int, Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX)]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box"] = "bilinear"
    mean: Channels = (0.0, 0.0, 0.0)
    std: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)

    def preprocessing(self) -> Preprocessing:
        """The preprocessing for `noctule.evaluate`."""
        return Preprocessing(
            resize_px=(self.side_px, self.side_px),
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )


class Study(Spec):
    """A standard network and one network for each candidate, trained by the same recipe.

    Attributes:
        name: Short name, as used on the command line.
        title: Title of figures.
        source: Author and publication, and other information on the study.
        architecture: Architecture, as for `build_untrained`.
        model_args: Arguments of an architecture that is a function, by name.
        candidates: Names of corruptions, or the name of a benchmark that consists of them.
        seeds: Seeds; every network is trained once with each.
        train: Training images: a name, or a path relative to the working directory.
        test: Images on which every network is measured.
        images: Resizing and normalisation of the images.
        recipe: Training recipe of each network.
        precision: Precision of the forward and backward passes; "auto" is float32 on a CPU and
            bfloat16 on a GPU. On a GPU, float32 allows TF32 in convolutions, as PyTorch does.
        compiled: Whether to use `torch.compile`.
        threads: Number of threads of each process on a CPU, on which the last bits of weights
            depend.
    """

    name: Text
    title: Text
    source: Text
    architecture: Text
    candidates: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    train: Text
    test: Text
    images: ImageConfig
    recipe: Recipe
    model_args: dict[str, Any] = Field(default_factory=dict)
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
            raise SpecValueError(f"there are {len(candidates)}", "Use at least two candidates.")
        return proper_names(candidates)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) != len(seeds):
            raise SpecValueError(
                f"{list(seeds)} are not distinct seeds", "Use seeds such as [0, 1, 2]."
            )
        return seeds

    @property
    def members(self) -> tuple[Member, ...]:
        """All networks, for each seed the standard one first."""
        names = (None, *self.candidates)
        return tuple(Member(name, seed) for seed in self.seeds for name in names)

    @property
    def benchmark(self) -> Benchmark:
        """The benchmark of every network: clean, and each candidate over its full range."""
        return Benchmark(
            name=self.name, title=self.title, source=self.source, corruptions=self.candidates
        )

    def untrained(self, num_classes: int) -> nn.Module:
        """A network with initial weights from PyTorch's generator; see `build_untrained`."""
        side_px = self.images.side_px
        return build_untrained(self.architecture, num_classes, side_px, self.model_args)

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
    """Load a registered study by name, or a study from a TOML file.

    Raises:
        InputError: The name or file does not exist, or the file has a mistake.
    """
    return read_named(name_or_path, STUDIES, Study)
