"""ImageNet-C: noise."""
