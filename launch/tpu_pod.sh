#!/usr/bin/env bash
# Cloud TPU pods: requests a queued resource, waits for it, and runs the same command on every worker
# of every slice. Starts over (new machines after a preemption, the same ones otherwise) until the
# run is finished. Run it on any machine with gcloud, logged in. Ctrl-C lets the workers save and
# stops.
#
#   launch/tpu_pod.sh --name pod --zone us-west4-a --type v5litepod-256 --spot \
#     --version v2-alpha-tpuv5-lite --setup setup_worker.sh \
#     -- pretrain --config configs/primus_pod.py --workdir /mnt/runs/pod
#
#   --name NAME       of the queued resource            --zone, --project   as gcloud means them
#   --type TYPE       accelerator type of one slice     --version VERSION   of the TPU VM's software
#   --slices N        slices (1); set --config.mesh.replicas to the same number
#   --spot            machines that may be preempted    --reserved          of your reservation
#   --setup FILE      bash, run on each worker before each start (so it should be quick where
#                     nothing is left to do): mount the storage that all workers share (data and
#                     --workdir), get this project into DIR, pip install '.[tpu]' there
#   --dir DIR         the project's folder on the workers (primus-jax, in the home folder)
#   --restarts N      at most (20)
#   --delete          the machines at the end; otherwise they are kept, and cost money
#   --dry-run         print the commands of the first start and run nothing
#
# Status: of the run (0 finished, 2 a mistake to repair, 75 interrupted and saved), or 1.
#
# On a worker the run is independent of the connection (tpu_worker.sh). gcloud restores a lost
# connection, which then follows the same run.
#
# Checked by tests/launch/test_launch_tpu.py with a stand-in for gcloud and for the metadata server.
# The argument parser of gcloud 528 accepted the commands. Never run on a TPU.
set -euo pipefail

usage() {
  sed -n '/^#   launch/,/^# Status/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  [ $# -eq 0 ] || echo "launch/tpu_pod.sh: $*" >&2
  exit 2
}

name="" zone="" project="" type="" version="" setup="" dir=primus-jax
slices=1 restarts=20 delete="" dry="" tier=()
while [ $# -gt 0 ]; do
  case "$1" in
    --name | --zone | --project | --type | --version | --slices | --setup | --dir | --restarts)
      [ $# -gt 1 ] || usage "$1 needs a value"
      declare "${1#--}=$2"
      shift 2
      ;;
    --spot | --reserved) tier=("$1") && shift ;;
    --delete) delete=yes && shift ;;
    --dry-run) dry=yes && shift ;;
    --) shift && break ;;
    *) usage "unknown option $1" ;;
  esac
done
for needed in name zone type version; do
  [ -n "${!needed}" ] || usage "--$needed is missing"
done
[ $# -gt 0 ] || usage "no command after --"
[[ "$slices" =~ ^[1-9][0-9]*$ && "$restarts" =~ ^[0-9]+$ ]] ||
  usage "--slices $slices --restarts $restarts; expected numbers"
[ -z "$setup" ] || [ -r "$setup" ] || usage "--setup $setup: no such file"

say() { echo "tpu_pod.sh: $*, $(date)" >&2; }
resource() { # VERB [FLAGS...]
  local verb="$1"
  shift
  gcloud compute tpus queued-resources "$verb" "$name" --zone "$zone" \
    ${project:+--project "$project"} "$@"
}
# Without --batch-size gcloud starts 64 workers, waits for their end, and only then starts the rest.
# A vanished machine sends nothing, hence the keep-alive requests after 30 s of silence.
on_workers() {
  resource ssh --node all --worker all --batch-size all \
    --ssh-flag=-oServerAliveInterval=30 --ssh-flag=-oServerAliveCountMax=10 --command "$1"
}

# The text for the workers' shells. The same token at every start: a worker may still wait for others.
token="${PRIMUS_JOB_TOKEN:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}"
to_workers() { # ARGUMENTS of tpu_worker.sh
  printf 'export PRIMUS_JOB_TOKEN=%q\n' "$token"
  printf 'set --' && printf ' %q' "$@" && printf '\n'
  cat "$(dirname "${BASH_SOURCE[0]}")/tpu_worker.sh"
}
begin() { # COMMAND...: the text of one attempt, with a name of its own
  to_workers start "$(date +%s).$$.$restarts" "$dir" "$([ -z "$setup" ] || cat "$setup")" "$@"
}

if [ "$slices" -gt 1 ]; then nodes=(--node-count "$slices"); else nodes=(--node-id "$name"); fi
create() {
  resource create --accelerator-type "$type" --runtime-version "$version" "${nodes[@]}" \
    "${tier[@]}" --async --quiet
}
remove() { resource delete --force --quiet; }
errors="$(mktemp)"
trap 'rm -f "$errors"' EXIT
state() { # one word; MISSING where there is no such resource
  if resource describe --format 'value(state.state)' 2>"$errors"; then
    return
  elif grep --quiet NOT_FOUND "$errors"; then
    echo MISSING
  else
    cat "$errors" >&2
    return 1
  fi
}

if [ -n "$dry" ]; then
  gcloud() { printf 'gcloud' && printf ' %q' "$@" && printf '\n'; }
  create
  resource describe --format 'value(state.state)'
  on_workers "$(begin "$@")"
  [ -z "$delete" ] || remove
  exit 0
fi

asked=""
trap 'asked=yes; on_workers "$(to_workers stop)" </dev/null >&2 || true' INT TERM
pause() {
  sleep "${PRIMUS_POLL:-60}" &
  wait $! || true
}
finish() { # STATUS
  [ -z "$delete" ] || remove
  exit "$1"
}
again() { # STATUS: with which to end where there were restarts enough
  restarts=$((restarts - 1))
  [ "$restarts" -ge 0 ] || { say "no restarts left" && finish "$1"; }
}

seen=""
while [ -z "$asked" ]; do
  if ! now="$(state)"; then
    again 1
    pause
    continue
  fi
  [ "$now" = "$seen" ] || say "$name is $now"
  seen="$now"
  case "$now" in
    MISSING) create ;;
    ACTIVE)
      # In a group of its own, so that Ctrl-C does not cut the connection.
      set -m
      on_workers "$(begin "$@")" </dev/null &
      set +m
      run=$!
      while
        status=0
        wait "$run" || status=$?
        kill -0 "$run" 2>/dev/null
      do :; done
      say "the workers ended with status $status"
      case "$status" in
        0 | 2) finish "$status" ;;
      esac
      [ -z "$asked" ] || finish "$status"
      again "$status"
      # After a preemption the state changes only after a while.
      pause
      ;;
    SUSPENDED | FAILED)
      again 1
      remove
      ;;
    *) pause ;;
  esac
done
finish 75
