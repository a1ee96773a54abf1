# shellcheck shell=bash
# tpu_pod.sh sends this text to every worker of a TPU pod, after a line that sets the arguments:
#
#   start ATTEMPT DIR SETUP ARGUMENTS...
#         run SETUP (a bash text), then DIR/launch/local.sh ARGUMENTS; show its log, exit with its
#         status
#   stop  send SIGTERM to the run
#
# The run is independent of the connection. gcloud restores a broken connection with the same text.
# So each attempt is started once, and a later connection follows it, or the run of an earlier
# attempt that has not ended. Checked with tpu_pod.sh; see there.
set -uo pipefail
state="$HOME/.primus-jax-launch"

attribute() {
  curl --silent --fail --header 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}
pod() { # NAME: of a variable in tpu-env; nothing where there is none
  attribute tpu-env | sed -n "s/^ *$1: *'\{0,1\}\([^']*\)'\{0,1\} *\$/\1/p"
}

place() { # of this worker among those of all slices, where there are several
  local worker endpoints workers slices slice head
  worker="$(attribute agent-worker-number)" endpoints="$(attribute worker-network-endpoints)"
  if [ -z "$worker" ] || [ -z "$endpoints" ]; then
    echo "tpu_worker.sh: the metadata server does not say which worker of the pod this is" >&2
    return 1
  fi
  workers="$(tr ',' '\n' <<<"$endpoints" | wc -l)"
  slices="$(pod MEGASCALE_NUM_SLICES)" slice="$(pod MEGASCALE_SLICE_ID)"
  # An endpoint is a name or address, or three words of which the last is the address.
  head="${endpoints%%,*}" head="${head##*:}"
  [ "${slices:-1}" -eq 1 ] || { head="$(pod MEGASCALE_COORDINATOR_ADDRESS)" head="${head%%:*}"; }
  export JAX_NUM_PROCESSES=$((workers * ${slices:-1}))
  export JAX_PROCESS_ID=$((workers * ${slice:-0} + worker))
  export JAX_COORDINATOR_ADDRESS="$head:8482"
}

start() {
  local attempt="$1"
  shift
  mkdir -p "$state"
  exec 9>"$state/lock"
  # All processes of a run hold the lock, so the kernel releases it when the run has ended.
  until flock --nonblock 9; do
    if [ -s "$state/watch" ]; then
      found
      return
    fi
    sleep 1
  done
  if [ "$attempt" = "$(cat "$state/attempt" 2>/dev/null)" ]; then
    found
    return
  fi
  rm -f "$state"/{attempt,watch,pid,status}
  bash -e -o pipefail -c "$2" || {
    echo "tpu_worker.sh: --setup failed with status $?" >&2
    return 1
  }
  if ! cd "$1" || ! place; then return 1; fi
  shift 2
  echo "$attempt" >"$state/attempt"
  # shellcheck disable=SC2016  # expanded by the shell that outlives the connection
  setsid bash -c 'launch/local.sh "$@" &
    echo $! >"$0/pid"
    echo $$ >"$0/watch"
    wait $!
    echo $? >"$0/status"' "$state" "$@" >"$state/log" 2>&1 </dev/null &
  until [ -s "$state/watch" ]; do sleep 0.1; done
  found
}

found() {
  exec 9>&-
  tail --lines +1 --follow --pid "$(cat "$state/watch")" "$state/log"
  return "$(cat "$state/status" || echo 1)"
}

stop() { kill -TERM "$(cat "$state/pid")"; }

case "${1:-}" in
  start) shift && start "$@" ;;
  stop) stop ;;
esac
