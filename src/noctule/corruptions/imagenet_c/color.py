"""ImageNet-C: color."""
