"""noctule.sampling is the only source of random numbers: every other module is searched."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import noctule

FORBIDDEN_ROOTS = ("random", "numpy.random", "np.random", "secrets", "torch.random")
FORBIDDEN_CALLS = (
    "rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like",
    "normal", "bernoulli", "multinomial", "poisson", "Generator", "seed", "initial_seed",
    "set_rng_state",
)  # fmt: skip
FORBIDDEN_METHODS = (
    "random_", "normal_", "uniform_", "bernoulli_", "exponential_", "geometric_", "cauchy_",
    "log_normal_", "rvs",
)  # fmt: skip
SOURCE_FOLDER = Path(noctule.__file__).parent


def dotted(node: ast.AST) -> str:
    """The source of a plain chain of names, such as torch.random.fork_rng."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "…"


def forked_lines(tree: ast.AST) -> set[int]:
    """Lines of `with torch.random.fork_rng(...)` and of what it encloses."""
    blocks = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        and any("torch.random.fork_rng" in ast.unparse(item) for item in node.items)
    )
    return {line for node in blocks for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def random_uses(source: str, *, seeding_allowed: bool = False) -> list[str]:
    """Everything in a module that draws random numbers by other means than noctule.sampling."""
    tree = ast.parse(source)
    forked = forked_lines(tree) if seeding_allowed else set()
    found = []
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [dotted(node)]
        for name in names:
            last = name.rpartition(".")[2]
            seeds = name in (
                "torch.default_generator.manual_seed", "torch.random.fork_rng", "torch.random",
            )  # fmt: skip
            initial = name.startswith("nn.init.")
            if (seeds or initial) and getattr(node, "lineno", 0) in forked:
                continue
            if (
                any(name == root or name.startswith(root + ".") for root in FORBIDDEN_ROOTS)
                or (name.startswith("torch.") and last in (*FORBIDDEN_CALLS, "manual_seed"))
                or last in FORBIDDEN_METHODS
            ):
                found.append(f"line {getattr(node, 'lineno', 0)}: {name}")
    return found


def test_only_sampling_draws() -> None:
    paths = sorted(SOURCE_FOLDER.rglob("*.py"))
    assert len(paths) > 20
    found = {
        str(path.relative_to(SOURCE_FOLDER)): uses
        for path in paths
        if path.name != "sampling.py"
        and (
            uses := random_uses(
                path.read_text(encoding="utf-8"), seeding_allowed=path.parent.name == "training"
            )
        )
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import random",
        "from random import choice",
        "import numpy.random",
        "from numpy.random import default_rng",
        "from numpy import random",
        "x = np.random.rand(3)",
        "x = numpy.random.default_rng(0)",
        "x = torch.rand(3)",
        "x = torch.randn_like(y)",
        "from torch import randperm",
        "x = torch.empty(3).uniform_()",
        "torch.manual_seed(0)",
        "with torch.random.fork_rng():\n    torch.manual_seed(0)",
        "with torch.random.fork_rng():\n    x = torch.randn(3)",
        "g = torch.Generator()",
        "nn.init.normal_(weight)",
        "x = stats.norm.rvs(3)",
    ],
)
def test_the_search_finds(line: str) -> None:
    assert random_uses(line, seeding_allowed=True)


def test_the_search_lets_pass() -> None:
    fine = (
        "with torch.random.fork_rng(devices=[]):\n    torch.default_generator.manual_seed(0)\n"
    )
    assert random_uses(fine, seeding_allowed=True) == []
    assert random_uses(fine)
    fine += "    nn.init.normal_(weight)\n"
    assert random_uses(fine, seeding_allowed=True) == []
    assert random_uses("import torch\nx = torch.zeros(3)  # not torch.rand\n") == []
