"""ImageNet-C: motion."""
