"""Model sources, one module each; `noctule.models.registry` imports them all."""
