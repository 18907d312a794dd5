"""An example of a package that adds one entry of each kind to noctule."""
