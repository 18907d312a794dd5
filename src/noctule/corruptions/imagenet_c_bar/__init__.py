"""ImageNet-C-bar: the ten corruptions most unlike those of ImageNet-C.

Mintun, Kirillov & Xie, "On interaction between augmentations and corruptions in natural
corruption robustness", NeurIPS 2021.
"""
