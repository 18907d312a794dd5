"""ImageNet-C: frost."""
