"""Data sources, one module each; `noctule.data.registry` imports them all."""
