#!/usr/bin/env bash
# One machine, one process, all of its devices:
#
#   launch/local.sh pretrain --config configs/primus_small.py --workdir runs/primus_small
#
# The three variables keep glibc from returning and re-faulting the step's large buffers; they cost
# resident memory that does not shrink, and mean nothing to a GPU. The environment's own values win.
#
# Checked by tests/test_launch.py on a machine without accelerators.
set -euo pipefail

export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-17179869184}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="$(command -v python3)"
exec "$python" -m primus_jax "$@"
