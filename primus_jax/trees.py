"""Types of the trees of arrays that functions hand to each other."""

from collections.abc import Mapping
from typing import Any

# Parameters of a model or an objective: names of modules, nested, down to arrays. A value is an
# array or another `Params`; Python's types cannot state that recursion for Flax's dictionaries.
Params = Mapping[str, Any]
# Any tree that `jax.tree.map` takes: arrays, their shardings, or one flag for each array.
Tree = Any
