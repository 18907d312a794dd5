"""ImageNet-C: glass."""
