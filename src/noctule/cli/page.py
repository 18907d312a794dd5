"""`noctule show --serve`: set up the local page and serve it until Ctrl-C."""

from __future__ import annotations

import threading
import webbrowser
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from noctule.cli.echo import echo
from noctule.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

    from noctule.benchmarks import Benchmark
    from noctule.explore import Start, ViewerConfig
    from noctule.models import Preprocessing

FIRST_SEVERITY = 3


def square(size_px: int | None) -> Preprocessing:
    """The preprocessing without a model: a centre square, by default of 224 px."""
    from noctule.arguments import whole_number
    from noctule.corruptions.checks import MIN_SIDE_PX
    from noctule.corruptions.pixels import REFERENCE_SIDE_PX
    from noctule.models import Preprocessing
    from noctule.report.sheet import LARGEST_SIDE_PX

    side_px = REFERENCE_SIDE_PX
    if size_px is not None:
        side_px = whole_number(size_px, "--size-px", low=MIN_SIDE_PX, high=LARGEST_SIDE_PX)
    return Preprocessing(resize_px=side_px, crop_px=(side_px, side_px))


def viewer_config(
    benchmark: Benchmark,
    benchmark_name: str | None,
    photo: tuple[str, str, Image] | None,
    *,
    model: str | None,
    size_px: int | None,
    device: str | None,
    loading: Mapping[str, Any] = {},
) -> ViewerConfig:
    """The corruptions, photographs and model that the page offers.

    Args:
        benchmark: The benchmark, in the mode to start with.
        benchmark_name: Its name on the command line; None if `benchmark` stands for all
            corruptions.
        photo: (path, image id, image) of a file to offer besides the embedded photographs.
        model: Name of the model; None for images without predictions.
        size_px: Side of the images without a model.
        device: Device of the model; None takes a GPU if there is one.
        loading: Further arguments of `load_classifier`.

    Raises:
        InputError: The model or device is unknown, or the image does not suit the model.
    """
    require("serve")
    from noctule.evaluation.settings import Settings
    from noctule.explore import Photographs, Predictor, ViewerConfig
    from noctule.models import load_classifier

    predictor = None
    preprocessing = square(size_px)
    if model is not None:
        resolved = Settings(device=device).resolved_device()
        predictor = Predictor(load_classifier(model, **loading), resolved)
        preprocessing = predictor.classifier.preprocessing
    photographs = Photographs(preprocessing, photo)
    return ViewerConfig(
        benchmark, benchmark_name, preprocessing, photographs, predictor, model, loading
    )


def start_values(
    viewer: ViewerConfig, photo: str, corruption: str | None, severity: int | None, seed: int
) -> Start:
    """The first selection of the page. It is answered once here, so that errors appear early.

    Raises:
        InputError: The severity or the seed is invalid, or the model fails.
    """
    from noctule.explore import FILE_KEY, Start, answer, parse_request

    is_full = viewer.benchmark_name is not None and viewer.benchmark.severities is None
    default = "full" if is_full else str(FIRST_SEVERITY)
    start = Start(
        photo=photo if viewer.photographs.file_photo is None else FILE_KEY,
        corruption=corruption or viewer.benchmark.corruptions[0],
        severity=default if severity is None else str(severity),
        seed=str(seed),
        mode=viewer.benchmark.mode,
    )
    answer(viewer, parse_request(start._asdict(), viewer))
    return start


def serve_page(
    viewer: ViewerConfig, start: Start, port: int | None, open_browser: bool
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        InputError: The port cannot be used.
    """
    require("serve")
    from noctule.explore import listen, run_server, server_of

    listening = listen(port)
    address = "http://{}:{}/".format(*listening.getsockname())
    server = server_of(viewer, start, listening)
    echo(f"{address}  Press Ctrl-C to stop.", data={"address": address})
    if open_browser:  # the socket already listens, so the browser waits for the first answer
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    run_server(server, listening)
    echo("stopped")
