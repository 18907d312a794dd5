"""ImageNet-C: blur."""
