"""ImageNet-C: elastic."""
