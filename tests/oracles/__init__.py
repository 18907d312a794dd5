"""Slow and obvious forms of what the package does fast: one image, one number at a time."""
