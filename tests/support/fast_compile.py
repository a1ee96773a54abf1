"""How XLA compiles in the tests: the same programs from less processor time.

Compiling is most of what the suite does, and a program of a test runs a few times on small arrays.
Both flags concern the code that LLVM makes of XLA's optimised program. That program stays, and so
do its memory plan, its FLOPs and the bytes it sends, which tests assert.
"""

from jaxlib.version import __version_info__

# Halves the time.
FLAGS = "--xla_backend_optimization_level=0"
# Halves the time once more; a jaxlib that does not know a flag ends the process.
if __version_info__ < (0, 11):
    FLAGS += " --xla_cpu_use_fusion_emitters=false"

# For a program of which a test asserts float32 rounding: compiled as users' programs are.
USUAL: dict[str, int | bool] = {"xla_backend_optimization_level": 3}
if __version_info__ < (0, 11):
    USUAL["xla_cpu_use_fusion_emitters"] = True
