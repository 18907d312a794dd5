"""`python -m noctule` is the command `noctule`."""

from noctule.cli import main

main()
