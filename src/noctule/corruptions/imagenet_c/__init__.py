"""ImageNet-C: its 15 benchmark corruptions and its 4 validation corruptions.

Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and
perturbations", ICLR 2019. The tables in the code are those for 224 px; the tables for other
datasets are in the TOML files of their benchmarks.
"""
