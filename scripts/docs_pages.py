"""The parts of the documentation that are made while its site builds: gallery and figures."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import skimage.data
import torch
from PIL import Image

import noctule
from noctule.cli.listing import DETAILS
from noctule.corruptions import CORRUPTIONS, SEVERITIES
from noctule.metrics.intervals import difference_bounds, share_bounds
from noctule.report.charts import COLORS
from noctule.report.table import Table, escape_markdown, markdown
from noctule.studies.design import choose_exact

SIDE_PX = 224
_DOCS = Path(__file__).parents[1] / "docs"
_COUNTS = [int(n) for n in np.geomspace(100, 50_000, 40)]
_INTRODUCTION = """# Gallery

Every corruption at every severity, drawn while this site was built, in mode `paper`, with seed
0, from scikit-image's photograph of an astronaut (NASA, public domain) at 224 × 224 px.
`noctule show PHOTO --corruption NAME` draws the same of your own photograph.

<p class="gallery-filter"><label>Search the gallery
<input type="search" placeholder="name, family or word"></label> <output></output></p>
"""


def write_pages(folder: Path) -> None:
    """Write everything, replacing what was written before."""
    shutil.rmtree(folder, ignore_errors=True)
    images = folder / "static" / "gallery"
    images.mkdir(parents=True)
    photograph = Image.fromarray(skimage.data.astronaut()).resize((SIDE_PX, SIDE_PX))
    batch = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None].contiguous()
    page = _INTRODUCTION
    for family in dict.fromkeys(one.family for one in CORRUPTIONS.values()):
        page += f"\n## {family.capitalize()}\n"
        for name, corruption in CORRUPTIONS.items():
            if corruption.family == family:
                for severity in SEVERITIES:
                    draw(batch, name, severity, 0, images / f"{name}-{severity}.webp")
                page += "".join(_section(name))
    (folder / "gallery.md").write_text(page, encoding="utf-8")
    _keys_figure(batch, folder / "keys.webp")
    for name, chart in _charts().items():
        chart.save(folder / f"{name}.png", scale_factor=2)


def draw(batch: torch.Tensor, name: str, severity: int, number: int, path: Path) -> None:
    """Write one corrupted image, that of the id `astronaut-NUMBER`."""
    _corrupted(batch, name, severity, number).save(path, quality=80)


def _corrupted(batch: torch.Tensor, name: str, severity: int, number: int) -> Image.Image:
    ids = [f"astronaut-{number}"]
    (image,) = noctule.corrupt(batch, name, ids=ids, seed=0, severity=severity)
    return Image.fromarray(image.permute(1, 2, 0).numpy())


def _section(name: str) -> Iterator[str]:
    """One corruption: images, description, facts and parameters."""
    yield f"\n### {name}\n\n"
    yield '<div class="severities">\n'
    for severity in SEVERITIES:
        source = f"../_static/gallery/{name}-{severity}.webp"
        yield (
            f'<a href="{source}"><img src="{source}" width="{SIDE_PX}" height="{SIDE_PX}" '
            f'loading="lazy" alt="{name}, severity {severity}"></a>\n'
        )
    yield "</div>\n\n"
    _, *parts = DETAILS["corruptions"](name)
    for part in parts:
        if isinstance(part, Table):
            facts = not any(part.header)
            text = _listed(part) if facts else markdown(part)
            yield text.removeprefix("****\n") + "\n"
        else:
            yield f"{_text(part)}\n"


def _listed(table: Table) -> str:
    pairs = ((str(row.values[0]), str(row.values[1])) for row in table.rows)
    return "".join(f"- {key}: {_text(value)}\n" for key, value in pairs)


def _text(text: str) -> str:
    """A paragraph of a docstring, where what is between backticks is code."""
    pieces = text.split("`")
    return "`".join(
        piece if index % 2 else escape_markdown(piece) for index, piece in enumerate(pieces)
    )


def _keys_figure(batch: torch.Tensor, path: Path) -> None:
    """Above, one image at five severities; below, five images at one severity."""
    sheet = Image.new("RGB", (5 * SIDE_PX, 2 * SIDE_PX))
    for index, severity in enumerate(SEVERITIES):
        sheet.paste(_corrupted(batch, "rain", severity, 0), (index * SIDE_PX, 0))
        sheet.paste(_corrupted(batch, "rain", 3, index), (index * SIDE_PX, SIDE_PX))
    sheet.save(path, quality=80)


def _charts() -> Mapping[str, Any]:
    matrix = noctule.read_matrix(_DOCS / "overlap.csv")
    with tempfile.TemporaryDirectory() as folder:
        scores = noctule.evaluate(
            "photo-patches", "photo-patches", "imagenet-noc", out=Path(folder, "run")
        ).scores
    counts = np.array(_COUNTS)
    errors = {
        f"{error} % error": [_half_width(share_bounds, error / 100, n) for n in counts]
        for error in (5, 25, 50)
    }
    disagreements = {
        f"{percent} % differ": [_half_difference(percent / 100, n) for n in counts]
        for percent in (2, 5, 10, 20)
    }
    return {
        "scores": scores.plot(),
        "images": _lines(errors, "half the width of the 95 % interval, points"),
        "differences": _lines(disagreements, "half the width of the 95 % interval, points"),
        "overlap": matrix.plot(),
        "coverage": choose_exact(matrix, 8, 0.3).plot(),
    }


def _half_width(bounds: Any, share: float, number: int) -> float:
    found = bounds(np.array([share]), np.array([share * number]), number, 0.95)
    return 50 * float(found.high[0] - found.low[0])


def _half_difference(share: float, number: int) -> float:
    found = difference_bounds(np.array([0.0]), np.array([share * number]), number, 0.95)
    return 50 * float(found.high[0] - found.low[0])


def _lines(lines: Mapping[str, list[float]], title: str) -> alt.Chart:
    records = [
        {"images": n, "points": y, "series": name}
        for name, line in lines.items()
        for n, y in zip(_COUNTS, line, strict=True)
    ]
    return (
        alt.Chart(alt.Data(values=records))
        .mark_line()
        .encode(
            alt.X("images:Q", title="images", scale=alt.Scale(type="log")),
            alt.Y("points:Q", title=title, scale=alt.Scale(type="log")),
            alt.Color("series:N", title=None, sort=None, scale=alt.Scale(range=list(COLORS))),
            alt.StrokeDash("series:N", title=None, sort=None),
        )
        .properties(width=480, height=260)
        .configure_axis(titleFontWeight="normal")
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write, which is replaced")
    write_pages(parser.parse_args().folder)
