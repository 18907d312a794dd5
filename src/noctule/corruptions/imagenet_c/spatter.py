"""ImageNet-C: spatter."""
