"""`noctule show --serve`: a local page to try corruptions on your own photographs."""

from __future__ import annotations

from noctule.explore.answers import answer
from noctule.explore.photographs import FILE_KEY, Photographs
from noctule.explore.predictions import Predictor
from noctule.explore.server import application, listen, run_server, server_of
from noctule.explore.viewer import Request, Start, ViewerConfig, parse_request

__all__ = [
    "FILE_KEY",
    "Photographs",
    "Predictor",
    "Request",
    "Start",
    "ViewerConfig",
    "answer",
    "application",
    "listen",
    "parse_request",
    "run_server",
    "server_of",
]
