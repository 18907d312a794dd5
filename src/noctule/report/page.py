"""Pages as lists of blocks, each one HTML file that opens offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from noctule.report.charts import Figure
from noctule.report.table import Table
from noctule.report.template import render_template
from noctule.store.disk import output_errors, write_atomically

# Pages with more headings than this have a list of contents.
_MOST_HEADINGS_WITHOUT_CONTENTS = 4
# The most images side by side on a wide window, a narrow one, and a phone.
_IMAGES_BESIDE = (9, 5, 3)
_SMALL_IMAGE_PX = 128


class Block(Protocol):
    """A part of a page; `Table` and `Figure` are blocks, too."""

    @property
    def kind(self) -> str:
        """Name of the template's macro that shows it."""
        ...


@dataclass(frozen=True, eq=False)
class Heading:
    """A heading.

    Attributes:
        text: The heading.
        level: 2 to 4.
        anchor: Its id in the page; by default its position among the headings.
        listed: Whether the list of contents has it.
    """

    text: str
    level: int = 2
    anchor: str = ""
    listed: bool = True
    kind = "heading"


@dataclass(frozen=True)
class Text:
    """A paragraph: an ordinary one, a note in small print, or one whose line breaks count."""

    text: str
    note: bool = False
    preformatted: bool = False
    kind = "text"


@dataclass(frozen=True)
class Link:
    """A link to an address, relative to the page or elsewhere, after some words."""

    text: str
    address: str
    before: str = ""
    kind = "link"


@dataclass(frozen=True)
class Bullets:
    """A list of short texts, each with a term in front that stands out or none."""

    items: Sequence[tuple[str, str]]
    note: bool = False
    kind = "bullets"


class Tile(NamedTuple):
    """One number of the headline."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """The headline: the most important numbers, large."""

    tiles: Sequence[Tile]
    kind = "tiles"


@dataclass(frozen=True)
class Facts:
    """Terms and what they are."""

    facts: Sequence[tuple[str, str]]
    kind = "facts"


@dataclass(frozen=True)
class CommandText:
    """Commands for a terminal."""

    text: str
    kind = "command"


class ImageTile(NamedTuple):
    """An image with its captions.

    Attributes:
        address: A data: URI.
        alt: What it shows, for those who cannot see it.
        side_px: Its longer side; small images are enlarged without smoothing.
        lines: Captions.
        verdict: A last caption that stands out.
        is_good: Whether the verdict is a good one.
    """

    address: str
    alt: str
    side_px: int
    lines: Sequence[str]
    verdict: str
    is_good: bool

    @property
    def is_small(self) -> bool:
        """Whether it is enlarged."""
        return self.side_px < _SMALL_IMAGE_PX


@dataclass(frozen=True)
class ImageStrip:
    """A strip of images, in rows of which the last is at least half full, if possible."""

    images: Sequence[ImageTile]
    kind = "images"

    @property
    def beside(self) -> list[int]:
        """How many are side by side in a wide window, a narrow one, and on a phone.

        As many as there is room for, or fewer if the last row were less than half full.

        >>> ImageStrip([ImageTile("", "", 0, [], "", True)] * 10).beside
        [6, 5, 2]
        """
        count = len(self.images)

        def columns(most: int) -> int:
            choices = range(min(most, count), most // 2, -1)
            return next(
                (n for n in choices if 2 * ((count - 1) % n + 1) >= n), min(most, count)
            )

        return [columns(most) for most in _IMAGES_BESIDE]


@dataclass(frozen=True)
class Grid:
    """Blocks side by side where the window is wide enough.

    Attributes:
        blocks: The blocks.
        least_rem: Least width of each; 0 for a chart beside a table, which keeps its width.
    """

    blocks: Sequence[Block]
    least_rem: int = 0
    kind = "grid"


@dataclass(frozen=True)
class Details:
    """Blocks that readers open with a click."""

    summary: str
    blocks: Sequence[Block]
    kind = "details"


@dataclass(frozen=True)
class Section:
    """Blocks under a heading of their own, which a script may show and hide.

    Attributes:
        blocks: A `Heading` with an anchor, and the others.
        choice: What `leaderboard.js` chooses it by.
    """

    blocks: Sequence[Block]
    choice: str = ""
    kind = "section"

    @property
    def anchor(self) -> str:
        """Id of its heading."""
        first = self.blocks[0]
        assert isinstance(first, Heading)
        return first.anchor


@dataclass(frozen=True)
class Chooser:
    """A field to choose which sections are shown."""

    label: str
    choices: Sequence[str]
    kind = "chooser"


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: Its title.
        blocks: What it shows, in order.
        back: A link above the title.
        scripts: Names of further files in assets/.
        contents: Whether there is a list of contents; None if that depends on the length.
    """

    title: str
    blocks: Sequence[Block]
    back: Link | None = None
    scripts: Sequence[str] = ()
    contents: bool | None = None

    def all_blocks(self) -> Iterator[Block]:
        """Every block, those within others included."""
        yield from _flat(self.blocks)

    def figures(self) -> list[Figure]:
        """Its figures, in order."""
        return [block for block in self.all_blocks() if isinstance(block, Figure)]

    def tables(self) -> list[Table]:
        """Its tables, in order."""
        return [block for block in self.all_blocks() if isinstance(block, Table)]


class ContentsEntry(NamedTuple):
    """An entry of the list of contents."""

    text: str
    anchor: str
    entries: list[ContentsEntry]


def _flat(blocks: Iterable[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        yield from _flat(getattr(block, "blocks", ()))


def render(page: Page) -> str:
    """A page as one HTML text, the same every time."""
    headings = [block for block in page.all_blocks() if isinstance(block, Heading)]
    anchors = {one: one.anchor or f"part-{i}" for i, one in enumerate(headings, 1)}
    with_contents = page.contents
    if with_contents is None:
        tops = [one for one in headings if one.level == 2]
        with_contents = len(headings) > _MOST_HEADINGS_WITHOUT_CONTENTS and len(tops) > 1
    return render_template(
        "page.html",
        title=page.title,
        figures=page.figures(),
        scripts=page.scripts,
        page=page,
        anchors=anchors,
        contents=_contents(headings, anchors) if with_contents else [],
    )


def _contents(headings: Iterable[Heading], anchors: dict[Heading, str]) -> list[ContentsEntry]:
    contents: list[ContentsEntry] = []
    for heading in headings:
        entry = ContentsEntry(heading.text, anchors[heading], [])
        if not heading.listed:
            continue
        if heading.level == 2:
            contents.append(entry)
        elif heading.level == 3 and contents:
            contents[-1].entries.append(entry)
    return contents


def write_page(path: Path, html: str) -> None:
    """Write a page, whole or not at all; its folder is made if need be.

    Raises:
        OutputError: The file cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, html.encode("utf-8", "backslashreplace"))
