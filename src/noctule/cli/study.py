"""`noctule study`: run, resume, status, overlap."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from noctule.cli.app import app
from noctule.cli.echo import echo, echo_message, interruptible
from noctule.cli.help import Command, CommandGroup
from noctule.cli.new import NewFileArgument, write_template
from noctule.cli.options import (
    DRY_RUN,
    ConfidenceOption,
    DryRunOption,
    ModelArgsOption,
    ResamplesOption,
    TrustOption,
    arg,
    names_in,
    opt,
    parse_model_args,
    parse_numbers,
)
from noctule.errors import InputError
from noctule.extras import require

if TYPE_CHECKING:
    from noctule.studies.folder import StudyFolder
    from noctule.studies.matrix import OverlapMatrix
    from noctule.studies.run import ExecutionConfig, PreparedStudy
    from noctule.studies.spec import Study

study_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Train one network per corruption, evaluate each on every corruption, and measure "
    "how far robustness to one corruption carries over to another.",
)
app.add_typer(study_app, name="study")

QUICK = "photo-patches-quick"

FolderArgument = Annotated[Path, arg("FOLDER", help="Study folder.")]
DeviceOption = Annotated[
    list[str] | None,
    opt(
        "DEVICE",
        "--device",
        help="Device such as cpu, cuda or cuda:1. Repeat the option for several GPUs.",
    ),
]
ProcessesOption = Annotated[
    int | None,
    opt("N", help="Training processes.", default="one per CPU core, or one per GPU"),
]
ModelsAtOnceOption = Annotated[
    int | None,
    opt("N", help="Largest number of networks trained together per process."),
]
WorkersOption = Annotated[
    int | None,
    opt("N", help="Image-decoding workers per training process."),
]
OnlyOption = Annotated[
    list[str] | None,
    opt(
        "NETWORK",
        help="Train only this network, such as shear-seed0. Repeat the option for several.",
    ),
]
FormOption = Annotated[
    Literal["robustness", "accuracy"],
    opt(
        "",
        help="Compute overlap from robustness (accuracy relative to clean accuracy) or "
        "from plain accuracy.",
    ),
]


@study_app.command(cls=Command)
def run(
    study: Annotated[str | None, arg("STUDY", complete=names_in("studies"))] = None,
    quick: Annotated[bool, opt("", "--quick")] = False,
    out: Annotated[Path | None, opt("PATH", "--out", "-o", default="under runs/")] = None,
    train: Annotated[str | None, opt("DATA")] = None,
    test: Annotated[str | None, opt("DATA")] = None,
    candidates: Annotated[str | None, opt("NAMES")] = None,
    seeds: Annotated[str | None, opt("NUMBERS")] = None,
    architecture: Annotated[str | None, opt("NAME")] = None,
    model_args: ModelArgsOption = None,
    epochs: Annotated[int | None, opt("N")] = None,
    side_px: Annotated[int | None, opt("N")] = None,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    models_at_once: ModelsAtOnceOption = None,
    workers: WorkersOption = None,
    only: OnlyOption = None,
    trust: TrustOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Train and evaluate all networks of a study, then score their overlap.

    Options override the study's own values. If a study is interrupted, rerun the same command
    or use `noctule study resume` to resume it.

    Args:
        study: Name from `noctule list studies`, or path of a TOML file.
        quick: Run the study photo-patches-quick, about 10 minutes on two CPU cores.
        out: Study folder.
        train: Images to train on.
        test: Images to evaluate on.
        candidates: Corruptions to study, such as shear,rain,hue, or the name of a benchmark.
        seeds: Training seeds, such as 0,1,2.
        architecture: Such as torchvision:resnet18 or timm:NAME.
        epochs: Training epochs per network.
        side_px: Image side in pixels.
    """
    require("study")
    from noctule.studies.spec import load_study

    if quick and study is not None:
        raise InputError(
            f"'{study}' and --quick name two studies", where="study run", remedy="Omit one."
        )
    if study is None and not quick:
        raise InputError(
            "no study is named",
            where="study run",
            remedy="Pass a TOML file, a name from `noctule list studies`, or --quick.",
        )
    spec = load_study(study or QUICK)
    changes = {
        "train": train,
        "test": test,
        "candidates": None if candidates is None else _candidates(candidates),
        "seeds": None if seeds is None else parse_numbers("--seeds", seeds, int),
        "architecture": architecture,
        "model_args": None if model_args is None else parse_model_args(model_args),
        "recipe.epochs": epochs,
        "images.side_px": side_px,
    }
    # An architecture named on the command line is trusted.
    trust = trust or architecture is not None
    execution = _execution(device, processes, models_at_once, workers, only)
    _run(_changed(spec, changes), out, execution, trust, dry_run=dry_run)


@study_app.command(cls=Command)
def new(path: NewFileArgument) -> None:
    """Write a commented TOML file to start a study of your own from.

    Args:
        path: File to write, a .toml that does not exist yet.
    """
    write_template("study", path, "Run it with: noctule study run {} --dry-run")


@study_app.command(cls=Command)
def resume(
    folder: FolderArgument,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    models_at_once: ModelsAtOnceOption = None,
    workers: WorkersOption = None,
    only: OnlyOption = None,
    trust: TrustOption = False,
) -> None:
    """Resume an interrupted study."""
    require("study")
    from noctule.studies.folder import StudyFolder

    existing = StudyFolder.open(folder)
    if not device and existing.identity["device_type"] == "cpu":
        device = ["cpu"]  # a study begun on a CPU stays there, even if there is a GPU
    execution = _execution(device, processes, models_at_once, workers, only)
    _run(existing.study, folder, execution, trust)


@study_app.command(cls=Command)
def status(folder: FolderArgument) -> None:
    """Show the progress of every network of a study."""
    from noctule.report.table import text_table
    from noctule.studies.folder import StudyFolder

    study_folder = StudyFolder.open(folder)
    epochs = study_folder.study.recipe.epochs
    rows = [
        (str(network.member), network.state, f"{network.epochs} of {epochs}")
        for network in study_folder.status()
    ]
    missing = len(study_folder.missing())
    done = f"{len(rows) - missing} of {len(rows)} networks are trained and evaluated."
    echo(
        text_table(study_folder.study.title, ("network", "state", "epochs"), rows),
        f"{done} Resume with: noctule study resume {folder}" if missing else done,
        data={
            "study": folder,
            "epochs": epochs,
            "networks": [
                {"network": str(one.member), "state": one.state, "epochs": one.epochs}
                for one in study_folder.status()
            ],
        },
    )


@study_app.command(name="overlap", cls=Command)
def overlap_(
    folder: FolderArgument,
    form: FormOption = "robustness",
    candidates: Annotated[str | None, opt("NAMES")] = None,
    seeds: Annotated[str | None, opt("NUMBERS")] = None,
    resamples: ResamplesOption = 1000,
    confidence: ConfidenceOption = 0.95,
    seed: Annotated[int, opt("N")] = 0,
    out: Annotated[
        Path | None,
        opt("PATH", "--out", "-o", default="in the study folder"),
    ] = None,
) -> None:
    """Recompute the overlap from stored rows, with other options. No network is run.

    Args:
        candidates: Use only these corruptions, such as shear,rain,hue, or those of a benchmark.
        seeds: Use only these training seeds, such as 0,1.
        seed: Random seed of the bootstrap and of the families.
        out: Folder for the results.
    """
    require("study")
    from noctule.studies.folder import StudyFolder

    _score(
        StudyFolder.open(folder),
        out,
        form=form,
        candidates=None if candidates is None else _candidates(candidates),
        seeds=None if seeds is None else parse_numbers("--seeds", seeds, int),
        resamples=resamples,
        confidence=confidence,
        seed=seed,
    )


def _execution(
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


def _run(
    spec: Study,
    out: Path | None,
    execution: ExecutionConfig,
    trust: bool,
    *,
    dry_run: bool = False,
) -> None:
    from noctule.report.progress import progress_bar, study_progress
    from noctule.studies.run import prepare_study, run_prepared, work_left

    with progress_bar("reading images") as advance_reading:
        prepared = prepare_study(
            spec,
            out=out,
            execution=execution,
            progress=advance_reading,
            trust=trust,
            dry_run=dry_run,
        )
    folder = prepared.folder
    if dry_run:
        _print_plan(prepared, execution)
        return
    echo_message(f"study folder {folder.folder}")
    resume = (
        f"Finished epochs are kept in {folder.folder}. "
        f"Resume with: noctule study resume {folder.folder}"
    )
    progress = study_progress(work_left(folder, execution.only))
    with interruptible(resume), progress as advance:
        run_prepared(prepared, execution=execution, on_advance=advance)
    if missing := folder.missing():
        echo(
            f"{len(missing)} networks are not finished yet, the first is {missing[0]}.",
            data={"study": folder.folder, "missing": [str(one) for one in missing]},
        )
        return
    if defined := len(_score(folder, None).names):
        size = min(8, -(-defined // 2))
        command = f"noctule design {folder.folder} --size {size} --out mine.toml"
        echo(f"Design a benchmark with: {command}")


def _print_plan(prepared: PreparedStudy, execution: ExecutionConfig) -> None:
    """What a study would compute, after all checks."""
    from noctule.report.formatting import counted
    from noctule.report.table import text_table
    from noctule.studies.run import work_left

    folder, study = prepared.folder, prepared.folder.study
    work = work_left(folder, execution.only)
    facts = {
        "study": study.title,
        "networks": f"{len(study.members)}: the standard one and one for each of "
        f"{len(study.candidates)} candidates, with {counted(len(study.seeds), 'seed')}",
        "architecture": study.architecture,
        "epochs": str(study.recipe.epochs),
        "training images": f"{len(prepared.train_set):,} of {prepared.train_set.name}",
        "test images": f"{len(prepared.test_set):,} of {prepared.test_set.name}",
        "device": folder.identity["device_type"],
        "precision": folder.identity["precision"],
        "study folder": str(folder.folder),
        **{kind: f"{done:,} of {total:,} are done" for kind, (done, total) in work.items()},
    }
    data = {key.replace(" ", "_"): value for key, value in facts.items()}
    data |= {kind: {"done": done, "total": total} for kind, (done, total) in work.items()}
    echo(text_table(DRY_RUN, ("", ""), facts.items()), data={"plan": data})


def _score(folder: StudyFolder, out: Path | None, **choices: Any) -> OverlapMatrix:
    from noctule.report.pairs import pairs_of
    from noctule.report.study import write_results

    target = out or folder.results_in(choices.get("form", "robustness"))
    results = write_results(folder, target, **choices)
    matrix, page = results.matrix, results.files[-1]
    echo(
        *results.summary,
        f"Matrix, tables and figures: {target}",
        f"Report: open {page} in a browser.",
        data={
            "study": folder.folder,
            "results": target,
            "report": page,
            "form": matrix.form,
            "overlap": [pair._asdict() for pair in pairs_of(matrix)],
            "undefined": dict(matrix.undefined),
        },
    )
    return matrix


def _changed(spec: Study, changes: dict[str, Any]) -> Study:
    """The study with some values replaced, validated like a file."""
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
