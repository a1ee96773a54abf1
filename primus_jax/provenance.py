"""What is written beside every result, so that it can be made again."""

import datetime
import importlib.metadata
import platform
import sys
from typing import Any

PACKAGES = (
    "primus-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "tensorflow-datasets",
    "numpy",
    "scipy",
)


def provenance() -> dict[str, Any]:
    """Python, package versions, platform, command line and time (UTC) as JSON-ready values."""
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "command": ["primus-jax", *sys.argv[1:]],
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
