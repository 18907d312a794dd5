"""A template with its style, scripts and charts, as one HTML text.

Nothing that a user names can run: templates escape all text, data reach scripts as escaped
JSON, and a content security policy admits only the page's own scripts, by their hashes. Vega
evaluates expressions with its interpreter, so that the policy need not allow `eval`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from noctule._version import __version__
from noctule.report.web.figures import Figure
from noctule.report.web.text import shown
from noctule.report.web.vega import vega
from noctule.store.disk import output_errors, write_atomically

_ASSETS = files("noctule.report.web") / "assets"


def render_page(
    template: str,
    *,
    title: str,
    figures: Iterable[Figure] = (),
    scripts: Sequence[str] = (),
    connects: bool = False,
    **context: Any,
) -> str:
    """A page as one HTML text.

    Args:
        template: name of a file in templates/, which extends base.html.
        title: of the page, plain text.
        figures: all figures the template shows, with `macros.figure`; the library that draws
            them (900 kB) is in the page only if there are any.
        scripts: names of further files in assets/.
        connects: whether the page may talk to the server it came from.
        context: what the template shows.

    Raises:
        jinja2.UndefinedError: the template needs something that is not in the context.
    """
    figures = list(figures)
    names = ["page.js", *(["charts.js"] if figures else []), *scripts]
    texts = [*([_vega()] if figures else []), *map(_asset, names)]
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            figures={figure.name: figure for figure in figures},
            style=Markup(_asset("page.css")),
            scripts=[Markup(text) for text in texts],
            policy=_policy(texts, connects),
            version=__version__,
            **context,
        )
    )


def write_page(path: Path, html: str) -> None:
    """Write a page, whole or not at all; its folder is made if need be.

    Raises:
        OutputError: it cannot be written.
    """
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, html.encode("utf-8", "backslashreplace"))


def _policy(scripts: Iterable[str], connects: bool) -> str:
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in scripts)
    itself = " connect-src 'self';" if connects else ""
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        f"img-src data: blob:;{itself} base-uri 'none'; form-action 'none'"
    )


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@functools.cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def _vega() -> str:
    """Vega, Vega-Lite and vega-embed as one script, from the package that also exports them."""
    # Inside a page, an end tag would end the script; in JavaScript both spellings are one.
    bundle = str(vega("javascript_bundle", None))  # None: all of it
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("noctule.report.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.finalize = lambda value: value if isinstance(value, Markup) else shown(value)
    environment.filters["json"] = lambda value: htmlsafe_json_dumps(value, dumps=_dumps)
    return environment


def _dumps(value: object, **options: Any) -> str:
    # NaN is no JSON: fail here and not in the reader's browser.
    return json.dumps(value, allow_nan=False, **options)
