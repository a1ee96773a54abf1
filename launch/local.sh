#!/usr/bin/env bash
# One machine. One process that drives all of its devices:
#
#   launch/local.sh pretrain --config configs/primus_small.py --workdir runs/primus_small
#
# or N processes that train together, each with its share of the GPUs, or on the CPU:
#
#   launch/local.sh --processes 4 pretrain --config configs/primus_small.py --workdir runs/x
#
# SIGTERM and SIGINT are forwarded to every process. Once a process has failed, the others are ended,
# after PRIMUS_GRACE seconds (60) by SIGKILL. If this script itself is killed, the processes get
# SIGTERM from the kernel (where util-linux has setpriv). The status is 2 if any process ended with
# 2, else that of the first process that failed, else 75 (interrupted and saved: run it again), else
# 0.
#
# The MALLOC variables keep glibc from returning and re-faulting the step's large buffers. They cost
# resident memory that does not shrink, and do not affect a GPU. Values in the environment win.
#
# Checked by tests/launch/test_launch.py on a machine without accelerators; the sharing of GPUs only
# with a stand-in for nvidia-smi.
set -uo pipefail

export MALLOC_MMAP_MAX_="${MALLOC_MMAP_MAX_:-0}"
export MALLOC_TRIM_THRESHOLD_="${MALLOC_TRIM_THRESHOLD_:-17179869184}"
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}"

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$root/.venv/bin/python"
[ -x "$python" ] || python="$(command -v python3)"

fail() {
  echo "launch/local.sh: $*" >&2
  exit 2
}

count=1
if [ "${1:-}" = --processes ]; then
  count="${2:-}"
  [[ "$count" =~ ^[1-9][0-9]*$ ]] || fail "--processes '$count'; expected a number of 1 or more."
  shift 2
fi
[ "$count" -gt 1 ] || exec "$python" -m primus_jax "$@"

# The GPUs that may be used, one name per line; none on a machine without.
if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
  names="${CUDA_VISIBLE_DEVICES//,/$'\n'}"
else
  names="$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null)" || names=""
fi
gpus=()
[ -z "$names" ] || while read -r name; do gpus+=("$name"); done <<<"$names"
share=$((${#gpus[@]} / count))
[ $((share * count)) -eq ${#gpus[@]} ] ||
  fail "${#gpus[@]} GPUs cannot be shared evenly by $count processes." \
    "Choose another number, or name the GPUs in CUDA_VISIBLE_DEVICES."

port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')" || exit 1
export JAX_COORDINATOR_ADDRESS="127.0.0.1:$port" JAX_NUM_PROCESSES="$count"
# Nobody else on this machine can join.
export PRIMUS_JOB_TOKEN="${PRIMUS_JOB_TOKEN:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}"

# If the launcher died before this line, the process gets no signal, hence the comparison.
# shellcheck disable=SC2016  # expanded by the shell of the process
start='[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'
tie=()
if command -v setpriv >/dev/null && setpriv --pdeathsig TERM true 2>/dev/null; then
  tie=(setpriv --pdeathsig TERM)
fi

asked=""
# shellcheck disable=SC2046  # numbers of processes
ask() { # every process to end, by signal $1
  asked="$1"
  kill "-$1" $(jobs -pr) 2>/dev/null
}
trap 'ask TERM' TERM
trap 'ask INT' INT

# Job control gives each process a group of its own: Ctrl-C reaches it once, through `ask`.
set -m
pids=()
for ((i = 0; i < count; i++)); do
  [ -z "$asked" ] || break
  (
    export JAX_PROCESS_ID="$i"
    if [ "$share" -gt 0 ]; then
      own="${gpus[*]:i * share:share}"
      export CUDA_VISIBLE_DEVICES="${own// /,}"
    fi
    exec "${tie[@]}" bash -c "$start" start $$ "$python" -m primus_jax "$@"
  ) &
  pids+=("$!")
done

ended=()
first=0
deadline=""
while [ "${#ended[@]}" -lt "${#pids[@]}" ]; do
  running=" $(jobs -pr | tr '\n' ' ') "
  for i in "${!pids[@]}"; do
    if [ -n "${ended[$i]+known}" ] || [[ "$running" == *" ${pids[i]} "* ]]; then continue; fi
    wait "${pids[i]}"
    ended[i]=$?
    case "${ended[i]}" in
      0 | 75) continue ;;
    esac
    echo "launch/local.sh: process $i of $count ended with status ${ended[i]}" >&2
    [ "$first" -ne 0 ] || first="${ended[i]}"
    [ -n "$deadline" ] || deadline=$((SECONDS + ${PRIMUS_GRACE:-60}))
    [ -n "$asked" ] || ask TERM
  done
  if [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; then ask KILL; fi
  # Not in the foreground, where it would hold a signal back.
  sleep 0.2 &
  wait $!
done

status="$first"
for code in "${ended[@]}"; do
  case "$code" in
    2) status=2 ;;
    75) [ "$status" -ne 0 ] || status=75 ;;
  esac
done
exit "$status"
