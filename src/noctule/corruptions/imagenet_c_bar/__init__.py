"""ImageNet-C-bar: the ten corruptions that are most dissimilar to ImageNet-C.

Mintun, Kirillov & Xie, "On interaction between augmentations and corruptions in natural
corruption robustness", NeurIPS 2021. The paper gives a "severity" value on a scale of its own
for each of the five severities, which scales some parameter of the corruption. The tables here
hold that parameter in its own unit, for 224 px, and the docstrings give the conversion.
"""
