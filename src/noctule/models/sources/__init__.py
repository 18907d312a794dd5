"""The sources of classifiers, one file each. `noctule.models.registry` imports all of them."""
