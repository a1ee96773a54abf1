"""What JAX raises where it has no device of the kind that JAX_PLATFORMS names, as one sentence."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from primus_jax.errors import PrimusError


@contextlib.contextmanager
def missing_backend() -> Iterator[None]:
    """Turn an error of a block that comes from a missing backend into a PrimusError.

    JAX looks for devices when the first one is needed, which a command may never do.

    Raises:
        PrimusError: names the kind of device that is missing, and what to do.
    """
    try:
        yield
    except (AssertionError, RuntimeError) as error:
        # Without a GPU that it can see, JAX has nothing but a bare assertion for "cuda".
        bare = isinstance(error, AssertionError) and not str(error)
        if not bare and "backend" not in str(error):
            raise
        reason = _why_no_device()
        if reason is None:
            raise
        raise PrimusError(reason) from error


def _why_no_device() -> str | None:
    """Return why JAX has no device at all; None where it has one."""
    import jax

    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:
        settings: Any = jax.config
        asked = settings.jax_platforms or os.environ.get("JAX_PLATFORMS")
        said = str(error).strip().split("\n")[0].split(" (set JAX_PLATFORMS")[0]
        why = f" ({said[:200]})" if said else ""
        if not asked:
            return f"JAX finds no device here{why}. Set JAX_PLATFORMS=cpu to use the processor."
        return (
            f"JAX_PLATFORMS is {asked}, but JAX finds no such device here{why}. Unset it to use "
            f"what is there. A GPU needs pip install 'primus-jax[cuda]', a TPU 'primus-jax[tpu]'."
        )
    return None
