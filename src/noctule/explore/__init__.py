"""`noctule show --serve`: a local page to try corruptions on photographs of one's own."""

from __future__ import annotations

from noctule.explore.answers import answer
from noctule.explore.page import Start
from noctule.explore.photographs import GIVEN, LARGEST_SIDE_PX, Photographs
from noctule.explore.predictions import Predictor
from noctule.explore.scene import Scene, Wish, parse_wish
from noctule.explore.server import application, listen, run_server, server_of

__all__ = [
    "GIVEN",
    "LARGEST_SIDE_PX",
    "Photographs",
    "Predictor",
    "Scene",
    "Start",
    "Wish",
    "answer",
    "application",
    "listen",
    "parse_wish",
    "run_server",
    "server_of",
]
