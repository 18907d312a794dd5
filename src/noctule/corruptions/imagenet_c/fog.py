"""ImageNet-C: fog."""
