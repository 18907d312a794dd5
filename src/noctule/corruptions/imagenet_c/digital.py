"""ImageNet-C: digital."""
