"""`noctule study`: run, resume, status, overlap."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import EXIT_INTERRUPTED, Group, app
from noctule.cli.echo import echo, echo_message
from noctule.errors import InputError

if TYPE_CHECKING:
    from noctule.studies.folder import StudyFolder
    from noctule.studies.run import ExecutionConfig
    from noctule.studies.spec import Study

study_app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    help="Train one network per corruption, measure every one on every corruption, and score "
    "how much robustness to one corruption buys robustness to another.",
)
app.add_typer(study_app, name="study")

QUICK = "photo-patches-quick"

FolderArgument = Annotated[Path, typer.Argument(help="A study folder.")]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option("--device", help="cpu, cuda, cuda:1; give it again for several GPUs."),
]
ProcessesOption = Annotated[
    int | None, typer.Option(help="By default one for each CPU core, or for each GPU.")
]
ModelsAtOnceOption = Annotated[
    int | None, typer.Option(help="Most networks that train together in a process.")
]
WorkersOption = Annotated[
    int | None, typer.Option(help="Processes that decode images, for each process.")
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(help="Only this network, such as shear-seed0; give it again for several."),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="Import and run the function that the study names as its architecture."
    ),
]
FormOption = Annotated[
    Literal["robustness", "accuracy"],
    typer.Option(help="Overlap from ratios to the clean accuracy, or from plain accuracies."),
]


@study_app.command()
def run(
    study: Annotated[
        str | None, typer.Argument(help="A TOML file, or a name from: noctule list studies")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="The embedded photographs, within minutes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Study folder; by default under runs/.")
    ] = None,
    train: Annotated[str | None, typer.Option(help="Images to train on.")] = None,
    test: Annotated[str | None, typer.Option(help="Images to measure on.")] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Corruptions, as shear,rain,hue; or a benchmark's name.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="As 0,1,2.")] = None,
    architecture: Annotated[
        str | None, typer.Option(help="As torchvision:resnet18, or timm:NAME.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the images.")] = None,
    side_px: Annotated[int | None, typer.Option(help="Side of the images.")] = None,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    models_at_once: ModelsAtOnceOption = None,
    workers: WorkersOption = None,
    only: OnlyOption = None,
    trust: TrustOption = False,
) -> None:
    """Train, measure and score. A study that was stopped goes on where it was."""
    from noctule.studies.spec import load_study

    if quick and study is not None:
        raise InputError(f"'{study}' and --quick are two studies", where="study run")
    if study is None and not quick:
        raise InputError(
            "no study is given",
            where="study run",
            remedy="Give a TOML file, a name from `noctule list studies`, or --quick.",
        )
    spec = load_study(study or QUICK)
    changes = {
        "train": train,
        "test": test,
        "candidates": None if candidates is None else _candidates(candidates),
        "seeds": None if seeds is None else _whole_numbers("--seeds", seeds),
        "architecture": architecture,
        "recipe.epochs": epochs,
        "images.side_px": side_px,
    }
    # Whoever types the architecture's name means it to be run.
    trust = trust or architecture is not None
    where = _where(device, processes, models_at_once, workers, only)
    _run(_changed(spec, changes), out, where, trust)


@study_app.command()
def resume(
    folder: FolderArgument,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    models_at_once: ModelsAtOnceOption = None,
    workers: WorkersOption = None,
    only: OnlyOption = None,
    trust: TrustOption = False,
) -> None:
    """Go on with a study that was stopped."""
    from noctule.studies.folder import StudyFolder

    found = StudyFolder.open(folder)
    if not device and found.identity["device_type"] == "cpu":
        device = ["cpu"]  # where it was, though there may be a GPU
    where = _where(device, processes, models_at_once, workers, only)
    _run(found.study, folder, where, trust)


@study_app.command()
def status(folder: FolderArgument) -> None:
    """Say how far every network of a study is."""
    from noctule.report.text_tables import text_table
    from noctule.studies.folder import StudyFolder

    found = StudyFolder.open(folder)
    rows = [
        (str(one.member), one.state, f"{one.epochs} of {found.study.recipe.epochs}")
        for one in found.status()
    ]
    missing = len(found.missing())
    done = f"{len(rows) - missing} of {len(rows)} networks are trained and measured"
    echo(
        text_table(found.study.title, ("network", "state", "epochs"), rows),
        f"{done}; go on with: noctule study resume {folder}" if missing else f"{done}.",
    )


@study_app.command(name="overlap")
def overlap_(
    folder: FolderArgument,
    form: FormOption = "robustness",
    candidates: Annotated[
        str | None, typer.Option(help="Only these, as shear,rain,hue; or a benchmark's name.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Only these, as 0,1.")] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.")] = 1000,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and of the families.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="By default the folder's results/.")
    ] = None,
) -> None:
    """Score the overlap again from the stored rows, with other choices; no network is run."""
    from noctule.studies.folder import StudyFolder

    _score(
        StudyFolder.open(folder),
        out,
        form=form,
        candidates=None if candidates is None else _candidates(candidates),
        seeds=None if seeds is None else _whole_numbers("--seeds", seeds),
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )


def _where(
    device: list[str] | None,
    processes: int | None,
    models_at_once: int | None,
    workers: int | None,
    only: list[str] | None,
) -> ExecutionConfig:
    from noctule.studies.run import ExecutionConfig

    return ExecutionConfig(
        tuple(device or ()), processes, models_at_once, workers, tuple(only or ())
    )


def _run(spec: Study, out: Path | None, where: ExecutionConfig, trust: bool) -> None:
    from noctule.report.progress import progress_bar, study_progress
    from noctule.studies.run import prepare_study, run_prepared, work_left

    with progress_bar("reading every image once") as advance_reading:
        prepared = prepare_study(
            spec, out=out, where=where, progress=advance_reading, trust=trust
        )
    folder = prepared.folder
    echo_message(f"study folder {folder.folder}")
    try:
        with study_progress(work_left(folder, where.only)) as advance:
            run_prepared(prepared, where=where, on_advance=advance)
    except KeyboardInterrupt as error:
        echo_message(
            f"stopped. Finished epochs are kept in {folder.folder}; "
            f"go on with: noctule study resume {folder.folder}"
        )
        raise typer.Exit(EXIT_INTERRUPTED) from error
    if missing := folder.missing():
        echo(f"{len(missing)} networks are left to other processes, first {missing[0]}.")
        return
    _score(folder, None)


def _score(folder: StudyFolder, out: Path | None, **choices: Any) -> None:
    from noctule.report.study import write_results

    results = write_results(folder, out or folder.results, **choices)
    echo(
        *results.summary,
        f"Matrix, tables and figures: {out or folder.results}",
        f"A page of it all: {results.files[-1]}",
    )


def _changed(spec: Study, changes: dict[str, Any]) -> Study:
    """The study with what the command line says of it; checked like a file."""
    from noctule.config import build_spec
    from noctule.studies.spec import Study

    data = spec.to_dict()
    for key, value in changes.items():
        if value is not None:
            *tables, last = key.split(".")
            table = data
            for name in tables:
                table = table[name]
            table[last] = value
    return build_spec(data, Study, where=spec.name)


def _candidates(text: str) -> list[str]:
    from noctule.benchmarks import benchmark_names, load_benchmark

    if text in benchmark_names() or text.endswith(".toml"):
        return list(load_benchmark(text).corruptions)
    return [part.strip() for part in text.split(",") if part.strip()]


def _whole_numbers(option: str, text: str) -> Sequence[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"'{text}' is not whole numbers", where=option, remedy="Use such as 0,1,2."
        ) from error
