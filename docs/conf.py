"""Configuration of the documentation's site; `make docs` builds it.

Sphinx, because it reads docstrings, checks links to pages and headings, executes notebooks
(MyST-NB) and has a search that works from files; MkDocs needs a plugin for each of these.
"""

import os
import sys
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import noctule

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))

project = "noctule"
author = "The noctule developers"
copyright = author
version = release = noctule.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["jupyter_execute", "templates"]
templates_path = ["templates"]
highlight_language = "bash"
default_role = "code"
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # elisions such as `…` in Python

# Every notebook is a text file, and is executed in every build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"noctule {release}"
html_static_path = ["static", "generated/static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_sidebars = {
    "**": [
        "sidebar/brand.html",
        "sidebar/search.html",
        "sidebar/scroll-start.html",
        "sidebar/navigation.html",
        "sidebar/versions.html",
        "sidebar/scroll-end.html",
    ]
}
html_context = {"versions_url": os.environ.get("DOCS_VERSIONS_URL", "")}
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # would fetch pages, which a browser refuses of files
html_theme_options = {
    "source_repository": "https://github.com/noctule/noctule/",
    "source_branch": "main",
    "source_directory": "docs/",
    "top_of_page_buttons": [],
}


def _generate(app: Sphinx, config: Config) -> None:
    from docs_pages import write_pages

    write_pages(HERE / "generated")


def setup(app: Sphinx) -> None:
    """Draw the gallery and the figures before the pages are read."""
    app.connect("config-inited", _generate, priority=1)
