"""Training of networks, for studies and for the classifiers that noctule includes."""
