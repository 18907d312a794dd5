"""How the classifiers that noctule ships were trained."""
