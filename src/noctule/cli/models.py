"""`noctule evaluate --models`: many models on the same images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from noctule.cli.echo import EXIT_NO, echo, echo_failure, echo_message, echo_text, interruptible
from noctule.cli.options import DRY_RUN, Format
from noctule.errors import InputError, listed

if TYPE_CHECKING:
    from noctule.evaluation.sharing import Rank, Shard
    from noctule.evaluation.sources import ImageSource
    from noctule.metrics import Scores
    from noctule.report.table import Table, Value
    from noctule.store import RunStore

_OF_ONE_MODEL = (
    *("--name", "--outputs", "--resize", "--crop"),
    *("--interpolation", "--image-mode", "--mean", "--std"),
)


class Many(NamedTuple):
    """The evaluation of the models of a file.

    Attributes:
        file: The TOML file.
        at_once: Largest number of models on the device at the same time.
        devices: The devices of this process.
        shard: The part of each run to compute.
        rank: The number of this process among those of a launcher.
        out: Folder of the run folders.
        reference: Run that CE is relative to.
        format: Format of the table.
    """

    file: Path
    at_once: int | None
    devices: Sequence[str]
    shard: Shard
    rank: Rank
    out: Path | None
    reference: Path | None
    format: Format

    def evaluate(
        self,
        images: tuple[Any, ...],
        corrupted: tuple[Any, ...],
        of_one: tuple[Any, ...],
        settings: dict[str, Any],
        *,
        dry_run: bool,
    ) -> None:
        """Evaluate them, and print a table and what has failed.

        Args:
            images, corrupted, settings: The options of the command for all models.
            of_one: Its options for one model, which must not be given.
            dry_run: Whether to print what would be computed.
        """
        from noctule.cli.evaluate import open_images, shown_to
        from noctule.evaluation.zoo import load_zoo, run_models
        from noctule.report.formatting import counted
        from noctule.report.progress import progress_bar

        images = self._refuse_options(images, of_one)
        loaders = load_zoo(self.file)
        opened = open_images(images, corrupted, settings)
        openers: dict[str, Callable[[], ImageSource]] = {
            name: lambda load=load: shown_to(load(), opened, self.devices[0], settings)  # type: ignore[misc]
            for name, load in loaders.items()
        }
        if dry_run:
            self._print_plan(openers)
            return
        resume = "Finished work is kept; rerun the same command to resume."
        title, shows = (
            f"{counted(len(loaders), 'model')} on {opened[0].name}",
            self.rank.number == 0,
        )
        with interruptible(resume), progress_bar(title, shows) as advance:
            runs, errors = run_models(
                openers,
                out=self.out,
                shard=self.shard,
                models_at_once=self.at_once,
                reference=self.reference,
                progress=advance,
            )
        if shows:
            self._print(runs, errors, opened[0].name)
        if errors:
            raise typer.Exit(EXIT_NO)

    def _refuse_options(
        self, images: tuple[Any, ...], of_one: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        """The images, of which DATA is the command's first argument here."""
        model, loading, *rest = of_one
        data, *others = images
        options = ["--" + key.replace("_", "-") for key in loading]
        named = zip(_OF_ONE_MODEL, rest, strict=True)
        options += [option for option, value in named if value is not None]
        if options:
            raise InputError(
                f"{listed(options)}: of one model, not of all",
                where="--models",
                remedy=f"Set it in the model's table in {self.file}.",
            )
        if data is not None:
            raise InputError(
                f"'{model}' and '{data}': with --models, DATA is the only argument",
                where="--models",
                remedy=f"Add '{model}' to {self.file}, or omit --models.",
            )
        if len(self.devices) > 1:
            raise InputError(
                f"{len(self.devices)} devices with --models",
                where="--device",
                remedy="Use torchrun or srun, or start the command once per device.",
            )
        return (model, *others)

    def _print(
        self, runs: Mapping[str, RunStore], errors: Mapping[str, Exception], data: str
    ) -> None:
        from noctule.evaluation.zoo import as_noctule_error
        from noctule.report.table import render_table
        from noctule.scoring import score_run

        whole = {name: run for name, run in runs.items() if not run.missing_slices()}
        scores = {name: score_run(run, reference=self.reference) for name, run in whole.items()}
        failed = {name: str(as_noctule_error(error)) for name, error in errors.items()}
        content = {
            "runs": [{"name": name, "run": whole[name].folder, **one.to_dict()}
                     for name, one in scores.items()],
            "missing_slices": {name: len(run.missing_slices()) for name, run in runs.items()
                               if name not in whole},
            "failed": failed,
        }  # fmt: skip
        echo(data=content)
        if scores:
            table = _table(scores, data)
            if self.format == "table":
                folders = [f"{name}: {whole[name].folder}" for name in scores]
                echo(table, "Run folders:", *folders)
            else:
                echo_text(render_table(table, self.format))
        if content["missing_slices"]:
            echo_message(f"shard {self.shard} is finished; slices of other shards are missing.")
        if failed:
            echo_failure(f"{len(failed)} of {len(failed) + len(runs)} models failed:")
        for name, text in failed.items():
            echo_failure(f"{name}: {text}")

    def _print_plan(self, openers: Mapping[str, Callable[[], ImageSource]]) -> None:
        from noctule.evaluation.zoo import plan_models
        from noctule.report.table import text_table

        plans, errors = plan_models(openers, out=self.out, reference=self.reference)
        header = ("model", "preprocessing", "run folder", "finished", "stream")
        rows = [
            (
                *(one.name, one.preprocessing, str(one.folder)),
                *(f"{one.finished} of {one.slices} slices", str(one.stream)),
            )
            for one in plans
        ]
        echo(text_table(DRY_RUN, header, rows), data={"plan": [one._asdict() for one in plans]})
        for name, error in errors.items():
            echo_failure(f"{name}: {error}")
        if errors:
            raise typer.Exit(EXIT_NO)


def _table(scores: Mapping[str, Scores], data: str) -> Table:
    """The means of each model, in the order of the file."""
    from noctule.metrics import METRICS
    from noctule.report.formatting import counted, interval_name
    from noctule.report.table import Column, Row, Table

    every = list(scores.values())
    interval = interval_name(every[0].confidence)
    ratios = [
        metric
        for metric in METRICS.values()
        if metric.needs_reference and all(one.reference is not None for one in every)
    ]
    columns = [Column("model"), Column("mean error %", 1, 100, interval)]
    if all(one.has_clean for one in every):
        columns.append(Column("clean error %", 1, 100))
    columns += [Column(metric.mean_title, 1) for metric in ratios]

    def row(name: str, one: Scores) -> Row:
        values: list[Value] = [name, one.of("error")]
        if len(columns) - len(ratios) > 2:
            values.append(one.of("error", "clean"))
        return Row([*values, *(one.of(metric.name) for metric in ratios)])

    title = f"{counted(len(scores), 'model')} on {data}, {every[0].benchmark}"
    return Table(title, columns, [row(name, one) for name, one in scores.items()])
