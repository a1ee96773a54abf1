#!/usr/bin/env bash
# A real SLURM on this machine alone, without systemd: munge, slurmctld, and a slurmd for each of
# two nodes of one CPU, everything in one folder.
#
#   tests/launch/slurm/setup.sh install         packages of Debian or Ubuntu; root; nothing where installed
#   tests/launch/slurm/setup.sh start FOLDER    needs root; nothing where it runs already
#   export SLURM_CONF=FOLDER/slurm.conf  and then sinfo, sbatch, squeue ... as usual
#   tests/launch/slurm/setup.sh stop FOLDER     ends every job and daemon of FOLDER
#
# Partitions: `low` (default) is preempted by `high`, with GraceTime in `polite` and
# none in `low`. Used by tests/launch/slurm/test_slurm.py.
set -euo pipefail

start() {
  local folder host port
  mkdir -p "$1" && folder="$(cd "$1" && pwd)"
  host="$(hostname -s)"
  export SLURM_CONF="$folder/slurm.conf"
  if [ -s "$SLURM_CONF" ] && sinfo --noheader >/dev/null 2>&1; then
    return
  fi
  mkdir -p "$folder"/{munge,state,log,spool/127.0.0.2,spool/127.0.0.3}
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("", 0))
print(s.getsockname()[1])')"
  [ -s "$folder/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge/key")
  # Forced: others than root may not reach the socket in a private folder, nor need they.
  munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" \
    --seed-file="$folder/munge/seed" 2>>"$folder/log/munged"
  # The nodes are named by addresses of this machine, so that every process can resolve them.
  # cred_expire is how long a requeued job waits (120 s by default).
  cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket,cred_expire=5
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdLogFile=$folder/log/slurmd.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=300
NodeName=127.0.0.[2-3] NodeHostname=$host Port=[$((port + 1))-$((port + 2))] CPUs=1 State=UNKNOWN
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=polite Nodes=ALL PriorityTier=1 PreemptMode=REQUEUE GraceTime=300
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF
CONF
  slurmctld
  slurmd -N 127.0.0.2
  slurmd -N 127.0.0.3
  for _ in $(seq 60); do
    [ "$(sinfo --noheader --partition low --format %D%t 2>/dev/null)" != 2idle ] || return 0
    sleep 1
  done
  echo "setup.sh: SLURM did not come up within 60 s; see $folder/log" >&2
  exit 1
}

stop() {
  local folder file pid
  folder="$(cd "$1" && pwd)"
  export SLURM_CONF="$folder/slurm.conf"
  # First the tasks, which would otherwise have KillWait to save; then what is left of the jobs.
  scancel --signal=KILL --state=RUNNING 2>/dev/null || true
  scancel --user=root 2>/dev/null || true
  for _ in $(seq 100); do
    [ -n "$(squeue --noheader 2>/dev/null)" ] || break
    sleep 1
  done
  for file in "$folder"/slurmd.*.pid "$folder/slurmctld.pid" "$folder/munge/pid"; do
    pid="$(cat "$file" 2>/dev/null)" || continue
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 50); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -9 "$pid" 2>/dev/null || true
  done
}

[ "$(id -u)" = 0 ] || {
  echo "setup.sh: needs root, for munged and slurmd." >&2
  exit 2
}
case "${1:-} ${2:+folder}" in
  "install ")
    command -v slurmctld slurmd munged sbatch >/dev/null || {
      apt-get update --quiet=2
      DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
        slurm-wlm munge
    }
    ;;
  "start folder") start "$2" ;;
  "stop folder") stop "$2" ;;
  *)
    echo "usage: $0 install | start FOLDER | stop FOLDER" >&2
    exit 2
    ;;
esac
