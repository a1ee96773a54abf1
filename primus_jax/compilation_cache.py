"""Compiled programs of one command are there for the next: JAX's persistent cache, set up."""

import hashlib
import os
import platform
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.parallel.cluster import find_process

# "off", or the folder to use.
VARIABLE = "PRIMUS_JAX_CACHE"
MOST_BYTES = 2 * 2**30
# A program that compiles faster is not worth a file.
LEAST_SECONDS = 0.2


def use_cache(
    arguments: Sequence[str] = (), environ: MutableMapping[str, str] = os.environ
) -> Path | None:
    """Let JAX, not imported yet, keep compiled programs in a folder; return it.

    The folder is `PRIMUS_JAX_CACHE`, or `primus-jax/` in the user's cache folder, with one folder
    for each kind of processor: a program of another may hold instructions that this one lacks. JAX
    deletes what was not used for longest beyond 2 GiB, and locks the folder between processes.

    Nothing is set, and None returned, with `PRIMUS_JAX_CACHE=off`, where the user has set JAX's own
    variable, and where JAX has been imported. The same holds for jobs of several processes, whose
    locks would meet on a shared disk, and where one process plays several CPU devices: programs
    that were read back can wait for each other there for ever.

    Args:
        arguments: of the command line.
        environ: the variables of this process.
    """
    wish = environ.get(VARIABLE, "")
    if wish == "off" or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in environ:
        return None
    if _several_devices(environ) or _several_processes(arguments, environ):
        return None
    base = Path(wish) if wish else _user_cache(environ) / "primus-jax"
    folder = base / _processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        # A home that cannot be written to costs the time of a compilation, nothing else.
        return None
    if not os.access(folder, os.W_OK):
        return None
    environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
    environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(LEAST_SECONDS))
    return folder


def _several_devices(environ: MutableMapping[str, str]) -> bool:
    """Whether one process plays several CPU devices."""
    if "xla_force_host_platform_device_count" in environ.get("XLA_FLAGS", ""):
        return True
    return environ.get("JAX_NUM_CPU_DEVICES", "1") not in ("", "-1", "1")


def _several_processes(arguments: Sequence[str], environ: MutableMapping[str, str]) -> bool:
    """Whether this process is one of a job; what is wrong with a job is told when it is joined."""
    if any(word.startswith(("--coordinator", "--processes")) for word in arguments):
        return True
    try:
        return find_process(environ) is not None
    except PrimusError:
        return True


def _user_cache(environ: MutableMapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or Path.home())
    if sys.platform == "darwin":
        return home / "Library" / "Caches"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache")


def _processor() -> str:
    """Machine, and a digest of what its processor can do."""
    cpuinfo = Path("/proc/cpuinfo")
    known = platform.processor()
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        known = next((x for x in lines if x.startswith(("flags", "Features"))), known)
    digest = hashlib.blake2b(known.encode(), digest_size=4).hexdigest()
    return f"{platform.machine()}-{digest}"
