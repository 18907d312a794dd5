"""ImageNet-NOC: its corruptions and the other candidates of its paper, one file per family.

Laugros, Caplier & Ospici, "Increasing the coverage and balance of robustness benchmarks by
using non-overlapping corruptions", 2020, and the code that its authors released. The families
share `stamps`, `hsv` and `resampling`.
"""
