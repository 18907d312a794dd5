"""Compiled loops; see `noctule.corruptions.loops.compiling`."""
