"""Pages that are one file each: they open offline, ask the network for nothing, and print.

page.py      a template with its style, scripts and charts, as one HTML text
figures.py   a chart with its caption and its description: in a page, and as SVG, PNG, PDF
outputs.py   where a page goes: looked at before the long work, written after it
text.py      text as a page may show it, whoever wrote it
templates/   Jinja templates; `base.html` is the frame, `macros.html` tables and figures
assets/      one style sheet, and one script that draws charts, sorts and filters tables
"""

from noctule.report.web.figures import Figure, save_figure
from noctule.report.web.page import render_page, write_page

__all__ = ["Figure", "render_page", "save_figure", "write_page"]
