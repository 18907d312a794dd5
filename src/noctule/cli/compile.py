"""`noctule compile`: compile the corruptions before they are needed."""

from __future__ import annotations

from noctule.cli.app import app
from noctule.cli.echo import echo
from noctule.cli.help import Command


@app.command(name="compile", cls=Command)
def compile_() -> None:
    """Compile all corruptions for this machine's processor, ahead of their first use.

    Without this command, a corruption is compiled when it is first used on a CPU, which takes
    about a second. The code is kept in the user's cache directory, or in the one that the
    environment variable NOCTULE_CACHE_DIR names.

    Exits with status 2 if this directory cannot be written to.
    """
    from noctule.corruptions.loops.ahead import compile_all
    from noctule.corruptions.loops.compiling import check_directory, code_directory

    check_directory()
    count, folder = compile_all(), code_directory()
    echo(f"{count} loops are compiled, in {folder}", data={"loops": count, "folder": folder})
