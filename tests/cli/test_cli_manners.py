"""What all commands share: JSON, quiet, logs, dry runs, exit statuses, files to start from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer
from pydantic import BaseModel

import noctule
from command_line import result_of
from noctule.benchmarks import Benchmark, load_benchmark
from noctule.cli.app import app
from noctule.cli.common import common_options
from noctule.studies.spec import Study, load_study
from report_runs import LABELS, PREDICTIONS, write_run
from repository import DOCS
from synthetic_studies import write_study

Cli = Callable[..., tuple[Any, str, str]]
PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
# A matrix that `noctule design` reads.
MATRIX = "overlap,shear,rain,hue\nshear,1,.6,0\nrain,.6,1,0\nhue,0,0,1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, a study, a matrix and a few images."""
    folder = tmp_path_factory.mktemp("made")
    for name in ("a", "b"):
        write_run(folder / name, predictions=PREDICTIONS, labels=LABELS)
    networks, conditions = ("standard", "shear", "rain"), ("clean", "shear", "rain")
    accuracies = {(one, name): 0.5 + 0.3 * (one == name) for one in networks
                  for name in conditions}  # fmt: skip
    write_study(folder / "study", accuracies)
    (folder / "matrix.csv").write_text(MATRIX)
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", images=images, labels=np.arange(8))
    noctule.export("imagenet-noc", noctule.open_dataset(folder / "data.npz"), folder / "stored")
    return folder


@pytest.fixture
def cli(noctule_cli: Cli, made: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`noctule ARGUMENTS` beside what was made."""
    monkeypatch.chdir(made)
    return noctule_cli


def all_commands(group: Any = None, path: str = "") -> Iterator[tuple[str, Any]]:
    group = group or typer.main.get_command(app)
    for name in group.commands:
        command = group.get_command(typer.Context(group), name)
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


COMMANDS = dict(all_commands())
# Every command in its quickest form.
QUICK = {
    "evaluate": "evaluate photo-patches data.npz --dry-run --no-self-check --device cpu",
    "metrics": "metrics a --resamples 10",
    "compare": "compare a b",
    "report": "report a --out {tmp}/a.html",
    "leaderboard prepare": "leaderboard prepare a {tmp}/s --track photo-patches-open "
    "--title a --architecture x --training-data y",
    "leaderboard check": "leaderboard check nowhere",
    "leaderboard build": "leaderboard build a --out {tmp}/site --resamples 10",
    "export": "export imagenet-noc data.npz {tmp}/set --dry-run",
    "verify": "verify stored",
    "study run": "study run photo-patches-demo --dry-run --out {tmp}/study --device cpu",
    "study resume": "study resume study --device cpu",
    "study status": "study status study",
    "study overlap": "study overlap study --out {tmp}/results --resamples 10",
    "study new": "study new {tmp}/new-study.toml",
    "benchmark new": "benchmark new {tmp}/new.toml",
    "design choose": "design matrix.csv --size 2 --out {tmp}/chosen.toml",
    "design score": "design score {tmp}/three.toml --matrix matrix.csv",
    "design n-by-k": "design n-by-k matrix.csv --families 1 --per-family 1 --count 2",
    "list": "list studies",
    "status": "status a",
    "show": "show astronaut --corruption shear --out {tmp}/shear.png --size-px 32",
}
LONG = {"report", "study overlap", "study run"}
# These fail here, and say so in JSON.
FAILING = {"leaderboard prepare", "leaderboard check", "study resume"}


def test_every_command_is_tested() -> None:
    assert {*QUICK, "compile"} == {*COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_common_options(name: str) -> None:
    command = COMMANDS[name]
    assert [one for one in command.params if one in common_options()] == [*common_options()]
    names = [option for one in command.params for option in one.opts]
    assert len(names) == len({*names})
    for option in ("--json", "--quiet", "--verbose", "--log-file", "--plugin"):
        assert f"`{option}" in PAGE


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in QUICK]
)
def test_json_is_all_that_stdout_holds(name: str, cli: Cli, made: Path, tmp_path: Path) -> None:
    (tmp_path / "three.toml").write_text(
        'name = "t"\ntitle = "t"\nsource = "t"\ncorruptions = ["shear", "hue"]\n'
    )
    before = {*made.rglob("*"), *tmp_path.rglob("*")}
    status, out, err = cli(*QUICK[name].format(tmp=tmp_path).split(), "--json", "-q")
    if "--dry-run" in QUICK[name]:
        assert {*made.rglob("*"), *tmp_path.rglob("*")} == before
    data = json.loads(out)
    assert [*data] == ["noctule", "command", "exit_status", "warnings", "error", "result"]
    assert (data["noctule"], data["command"]) == (noctule.__version__, name)
    assert data["exit_status"] == status
    assert status == (2 if name in FAILING else 0), err
    if name == "leaderboard check":
        assert data["result"]["submissions"][0]["holds"] is False
    elif status:
        assert data["error"]["message"] in err
    documented = {*re.findall(r"`(\w+)`", PAGE)} | {"studies"}
    assert {*data["result"]} <= documented
    assert "NaN" not in out


def test_what_a_plugin_prints_is_not_in_the_json(made: Path, tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(
        "import os\nprint('printed')\nos.system('echo from a program')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "noctule", "metrics", "a", "--json", "--plugin",
         tmp_path / "noisy.py"],
        cwd=made, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result_of(done.stdout)["num_images"] == 10
    assert "printed\n" in done.stderr
    assert "from a program\n" in done.stderr


def test_what_is_printed_in_the_same_process_is_not_in_the_json(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "loud.py").write_text("print('printed')\n")
    status, out, err = cli("metrics", "a", "--json", "--plugin", tmp_path / "loud.py")
    assert (status, result_of(out)["num_images"]) == (0, 10)
    assert err == "printed\n"


@pytest.mark.parametrize("json_option", ["", "--json"])
@pytest.mark.parametrize(("stdout", "status"), [(">&-", 0), (">/dev/full", 2)])
def test_a_stdout_that_takes_nothing_is_no_bug(
    json_option: str, stdout: str, status: int
) -> None:
    script = f"{sys.executable} -m noctule list benchmarks {json_option} {stdout}"
    done = subprocess.run(["sh", "-c", script], stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr


def test_json_of_what_fails(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    status, out, err = cli("metrics", "nowhere", "--json")
    remedy = "Pass the folder that `noctule evaluate MODEL DATA` printed."
    error = {"message": "is not a run folder: it has no run.json", "where": "nowhere",
             "remedy": remedy}  # fmt: skip
    assert (status, json.loads(out)["error"]) == (2, error)
    assert err == f"noctule: nowhere: is not a run folder: it has no run.json. {remedy}\n"
    status, out, err = cli("metrics", "a", "--severity", "3", "--json")
    assert status == 2
    assert "No such option" in json.loads(out)["error"]["message"]
    assert "Usage: noctule metrics" in err
    monkeypatch.setattr("noctule.scoring.score_run", lambda *a, **k: 1 / 0)
    status, out, err = cli("metrics", "a", "--json")
    assert (status, json.loads(out)["exit_status"]) == (3, 3)
    assert "ZeroDivisionError" in json.loads(out)["error"]["message"]
    assert "Traceback" in err


def test_of_several_ranks_one_prints(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    for options in ([], ["--json"]):
        status, out, _ = cli(*QUICK["evaluate"].split(), *options)
        assert (status, out) == (0, "")


def test_quiet_and_verbose(cli: Cli) -> None:
    arguments = ("evaluate", "photo-patches", "data.npz", "--dry-run", "--device", "cpu",
                 "--no-self-check")  # fmt: skip
    status, out, err = cli(*arguments)
    assert (status, "preprocessing" in out) == (0, True)
    assert err.startswith("noctule: photo-patches: images resized")
    assert cli(*arguments, "-q") == (0, out, "")
    _, again, err = cli(*arguments, "-v")
    assert again == out
    assert re.search(
        r"noctule 0\.\d+\.\d+, Python 3.*: finished after \d+\.\d s with exit", err
    )
    _, _, err = cli("metrics", "nowhere", "-q")
    assert err.count("\n") == 1  # errors are shown
    _, _, err = cli("metrics", "nowhere", "--verbose")
    assert "read_identity" in err  # where it comes from


def test_quiet_hides_progress(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_LEAST_S", "_MOST_S", "_STEP"):
        monkeypatch.setattr(f"noctule.report.progress.{name}", 0)
    arguments = QUICK["evaluate"].replace("--dry-run", "").split()
    assert "(100 %)" in cli(*arguments, "--out", tmp_path / "a")[2]
    assert cli(*arguments, "--out", tmp_path / "b", "-q")[2] == ""


def test_the_reasons_of_a_failing_check_are_not_quiet(cli: Cli, tmp_path: Path) -> None:
    labels = 6 * LABELS
    right = dict.fromkeys(PREDICTIONS, labels)
    wrong = {name: [(label + 1) % 3 for label in labels] for name in PREDICTIONS}
    good = write_run(tmp_path / "good", predictions=right, labels=labels)
    bad = write_run(tmp_path / "bad", predictions=wrong, labels=labels)
    status, _, err = cli("compare", good, bad, "--fail-if-worse", 0, "-q")
    assert status == 1
    assert "is worse than" in err


def test_a_log_file_is_appended_to(cli: Cli, tmp_path: Path) -> None:
    log = tmp_path / "new" / "noctule.log"
    assert cli("compare", "a", "b", "--log-file", log, "-q")[0] == 0
    assert cli("metrics", "nowhere", "--log-file", log)[0] == 2
    text = log.read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO .*compare a b", text)
    assert "a (B) against" not in text.split("INFO")[0]
    assert text.count("finished after") == 2
    assert " ERROR nowhere: is not a run folder" in text
    assert "Traceback" in text


@pytest.mark.parametrize("bad", ["folder", "pipe", "below"])
def test_a_log_file_that_cannot_be_written(cli: Cli, tmp_path: Path, bad: str) -> None:
    path = tmp_path / bad
    if bad == "folder":
        path.mkdir()
    elif bad == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("")
        path = path / "log"
    status, _, err = cli("list", "studies", "--log-file", path)
    assert status == 2
    assert str(path) in err
    assert "Traceback" not in err


def test_a_dry_run_counts_what_is_left(cli: Cli, tmp_path: Path) -> None:
    arguments = QUICK["evaluate"].split()
    plan = result_of(cli(*arguments, "--json")[1])["plan"]
    assert (plan["images"], plan["finished"], plan["forward_passes_left"]) == (8, 0, 72)
    real = [one for one in arguments if one != "--dry-run"]
    assert cli(*real, "--out", tmp_path / "run")[0] == 0
    plan = result_of(cli(*arguments, "--out", tmp_path / "run", "--json")[1])["plan"]
    assert (plan["finished"], plan["forward_passes_left"]) == (8, 0)


def test_a_dry_run_finds_what_a_run_would(cli: Cli, made: Path, tmp_path: Path) -> None:
    other = ("evaluate", "photo-patches", "data.npz", "--dry-run", "--out", "a")
    status, _, err = cli(*other, "--no-self-check")
    assert (status, "Traceback" in err) == (2, False)  # the folder holds another run
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "notes.txt").write_text("mine")
    export = ("export", "imagenet-noc", "data.npz", tmp_path / "more")
    study = ("study", "run", "photo-patches-demo", "--out", tmp_path / "more")
    for command in (export, study):
        status, _, err = cli(*command, "--dry-run")
        assert status == 2
        assert "notes.txt" in err


def test_the_next_command_is_named(cli: Cli, tmp_path: Path) -> None:
    real = QUICK["evaluate"].replace("--dry-run", "").split()
    _, out, _ = cli(*real, "--out", tmp_path / "run")
    assert f"Write a report with: noctule report {tmp_path / 'run'}" in out
    _, out, _ = cli("report", "a", "--out", tmp_path / "a.html")
    assert out == f"Open {tmp_path / 'a.html'} in a browser.\n"
    _, out, _ = cli("benchmark", "new", tmp_path / "n.toml")
    assert f"--benchmark {tmp_path / 'n.toml'} --dry-run" in out


def keys_of(spec: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The keys of a table, and of those within it."""
    for name, field in spec.model_fields.items():
        yield name
        for inner in [field.annotation, *get_args(field.annotation)]:
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys_of(inner)


@pytest.mark.parametrize(
    ("kind", "spec", "page", "unnamed"),
    [
        # Of a record of noctule's own, which nobody writes by hand, or of published errors.
        ("benchmark", Benchmark, "corruptions.md", {"plugins", "whole"}),
        ("study", Study, "studies.md", set()),
    ],
)
def test_a_new_file_has_every_key_and_works(
    cli: Cli, tmp_path: Path, kind: str, spec: type[BaseModel], page: str, unnamed: set[str]
) -> None:
    path = tmp_path / "Our own 1.toml"
    status, _, err = cli(kind, "new", path)
    assert (status, err) == (0, "")
    load: Any = load_benchmark if kind == "benchmark" else load_study
    loaded = load(path)
    assert loaded.name == "Our-own-1"
    text, manual = path.read_text(), (DOCS / page).read_text()
    for key in {*keys_of(spec)} - unnamed:
        assert re.search(rf"\b{key}\b", text), key
        assert re.search(rf"`([\w.]+\.)?{key}[`.]", manual), (key, page)
    # Each optional key works with the default that the comment gives.
    for line in re.findall(r"^# (\w+ = .+)$", text.partition("# [")[0], re.M):
        key = line.partition(" = ")[0]
        if key in type(loaded).model_fields and key not in ("stored_jpeg_quality",):
            head, *tables = re.split(r"(?m)^(?=\[)", text)
            again = tmp_path / "again.toml"
            again.write_text(f"{head}{line}\n{''.join(tables)}")
            assert load(again) == loaded, line
    # So do the tables at the end of a benchmark.
    first, found, last = text.partition("# [tables")
    again = tmp_path / "tables.toml"
    first = first.replace('"border"]', '"border", "gaussian_noise"]')
    last = last.replace("border = 0.3", "border = 0.3, gaussian_noise = 0.5")
    again.write_text(first + re.sub(r"(?m)^# (?=\[|\w+ = )", "", found + last))
    assert load(again).model_dump().keys() == loaded.model_dump().keys()


@pytest.mark.parametrize("kind", ["benchmark", "study"])
def test_a_new_file_replaces_nothing(cli: Cli, tmp_path: Path, kind: str) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    (tmp_path / "file").write_text("")
    for path, words in {
        tmp_path / "mine.toml": "exists already",
        tmp_path / "mine.txt": f"Use {tmp_path / 'mine.toml'}",
        tmp_path / "file" / "mine.toml": "cannot be written",
        Path("/"): f"Use /my-{kind}.toml",
        Path(): f"Use my-{kind}.toml",
    }.items():
        status, _, err = cli(kind, "new", path)
        assert (status, words in err) == (2, True), err
    assert (tmp_path / "mine.toml").read_text() == "mine"


def test_missing_keys_are_named_together(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('name = "x"\n[images]\n[recipe]\nepochs = 3\n')
    _, _, err = cli("study", "run", tmp_path / "s.toml")
    assert err == (
        f"noctule: {tmp_path / 's.toml'}: the keys title, source, architecture, candidates, "
        "train, test, images.side_px, recipe.batch_size, recipe.learning_rate, "
        "recipe.optimiser and recipe.schedule are missing\n"
    )


def test_both_forms_of_the_overlap_are_kept(cli: Cli, made: Path) -> None:
    for form, name in (("robustness", "results"), ("accuracy", "results-accuracy")):
        _, out, _ = cli("study", "overlap", "study", "--form", form, "--resamples", 5)
        assert f"open study/{name}/report.html in a browser" in out
    records = {
        name: json.loads((made / "study" / name / "overlap.json").read_text())["form"]
        for name in ("results", "results-accuracy")
    }
    assert records == {"results": "robustness", "results-accuracy": "accuracy"}
    assert cli("study", "status", "study")[0] == 0  # it is still a study


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("ev", ["evaluate"]),
        ("evaluate --form", ["--format"]),
        ("compare a b --by cor", ["corruption"]),
        ("evaluate -b imagenet-noc-", ["imagenet-noc-2020-06", "imagenet-noc-candidates"]),
        ("study run photo-patches-", ["photo-patches-demo", "photo-patches-quick"]),
    ],
)
def test_a_shell_completes(typed: str, expected: list[str]) -> None:
    words = f"noctule {typed}"
    done = subprocess.run(
        [sys.executable, "-c", "from noctule.cli import main; main()"],
        env={**os.environ, "_NOCTULE_COMPLETE": "complete_bash", "COMP_WORDS": words,
             "COMP_CWORD": str(len(words.split()) - 1)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == expected
