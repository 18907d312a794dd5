"""Compiled loops: what corruptions do on a CPU, one image at a time.

Every loop gives the bytes of its corruption's torch kernel, which is what GPUs run. The files
mirror those of the kernels, and are imported when a corruption is first used on a CPU. A plugin
has its loops in the module of its kernels.
"""

from noctule.corruptions.loops.agreement import differences
from noctule.corruptions.loops.compiling import compiled, loop

__all__ = ["compiled", "differences", "loop"]
