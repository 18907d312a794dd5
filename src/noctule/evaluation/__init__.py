"""One loop: decode once, corrupt many, keep every outcome."""
