"""Templates as HTML texts that open offline.

Nothing that a user names can run: the templates escape all text, data reach scripts as escaped
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
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from noctule._version import __version__
from noctule.errors import shown
from noctule.report.vega import vega

if TYPE_CHECKING:
    from noctule.report.charts import Figure  # needs more than a page without figures does

_ASSETS = files("noctule.report") / "assets"


def render_template(
    template: str,
    *,
    title: str,
    figures: Sequence[Figure] = (),
    scripts: Sequence[str] = (),
    connects: bool = False,
    **context: Any,
) -> str:
    """A template of templates/ as one HTML text.

    Args:
        template: Name of the file, which extends base.html.
        title: Title of the page, plain text.
        figures: The page's figures; the library that draws them (900 kB) is in the page only
            if there are any.
        scripts: Names of further files in assets/.
        connects: Whether the page may talk to the server it came from.
        context: What the template shows.

    Raises:
        jinja2.UndefinedError: The template needs something that is not in the context.
    """
    names = ["page.js", *(["charts.js"] if figures else []), *scripts]
    texts = [*([_vega()] if figures else []), *map(_asset, names)]
    return (
        _environment()
        .get_template(template)
        .render(
            title=title,
            figures=figures,
            style=Markup(_asset("page.css")),
            scripts=[Markup(text) for text in texts],
            policy=_policy(texts, connects),
            version=__version__,
            **context,
        )
    )


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
        loader=PackageLoader("noctule.report"),
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
