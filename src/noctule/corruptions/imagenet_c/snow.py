"""ImageNet-C: snow."""
