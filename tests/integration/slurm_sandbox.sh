#!/bin/bash
# slurm_sandbox.sh up|down|run COMMAND...: a real Slurm on this host for tests: munged, slurmctld and N slurmd, in a network
# namespace of their own where nothing but loopback exists. Needs root and the packages of the group "slurm" of
# install_packages.sh. Every file lies under CONCLAVE_SLURM_DIR, which `down` removes after ending its processes.
#   CONCLAVE_SLURM_DIR     folder (its last part also names the namespace)
#   CONCLAVE_SLURM_NODES   simulated nodes (default 2), called n1, n2, …
#   CONCLAVE_SLURM_APART   further nodes (default 0) in a partition of their own, called "apart": for a job that must not meet others
set -eu
folder=${CONCLAVE_SLURM_DIR:?names the folder of the sandbox}
nodes=${CONCLAVE_SLURM_NODES:-2}
all=$((nodes + ${CONCLAVE_SLURM_APART:-0}))
cpus=4
gpus=2
namespace=$(basename "$folder")
host=$(hostname -s)
export SLURM_CONF=$folder/slurm.conf

# nsenter and not `ip netns exec`: that one hides /sys/fs/cgroup, which slurmd wants to see.
inside() { nsenter --net="/run/netns/$namespace" "$@"; }

write_configuration() {
  mkdir -p "$folder"/{munge,state,log}
  chmod 755 "$folder" "$folder/munge"
  [ -e "$folder/munge/key" ] || mungekey --create --keyfile="$folder/munge/key"
  for i in $(seq "$all"); do mkdir -p "$folder/spool/n$i" "$folder/tmp/n$i"; done
  chmod 1777 "$folder/tmp" "$folder"/tmp/*
  # Slurm insists that a GPU is a device file: copies of /dev/null.
  for g in $(seq 0 $((gpus - 1))); do [ -e "$folder/gpu$g" ] || mknod "$folder/gpu$g" c 1 3; done
  cat >"$folder/slurm.conf" <<CONF
ClusterName=conclave
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SrunPortRange=17000-17999
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/log/slurmctld
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmdLogFile=$folder/log/slurmd.%n
SlurmdSpoolDir=$folder/spool/%n
# Of its own for each node: the PMIx plugins of two nodes on one host would share names under /tmp.
TmpFS=$folder/tmp/%n
TaskProlog=$folder/task_prolog
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,sched_min_interval=0,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=15
Waittime=0
MailProg=/bin/true
PropagateResourceLimits=NONE
NodeName=n[1-$all] NodeHostname=$host NodeAddr=127.0.0.1 Port=[16821-$((16820 + all))] CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=4000 Gres=gpu:$gpus State=UNKNOWN
PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP
CONF
  if [ "$all" -gt "$nodes" ]; then echo "PartitionName=apart Nodes=n[$((nodes + 1))-$all] MaxTime=INFINITE State=UP" >>"$folder/slurm.conf"; fi
  echo "NodeName=n[1-$all] Name=gpu File=$folder/gpu[0-$((gpus - 1))]" >"$folder/gres.conf"
  echo "CgroupAutomount=no" >"$folder/cgroup.conf"
  # Open MPI names its shared memory after the host: "nodes" of one host would take each other's files.
  # A file task_environment.NODE lets a test give one node something that the others lack.
  cat >"$folder/task_prolog" <<'PROLOG'
#!/bin/sh
folder=$(dirname "$SLURM_CONF")
memory=/dev/shm/$(basename "$folder").$SLURMD_NODENAME
mkdir -p "$memory"
echo "export OMPI_MCA_btl_vader_backing_directory=$memory"
if [ -e "$folder/task_environment.$SLURMD_NODENAME" ]; then cat "$folder/task_environment.$SLURMD_NODENAME"; fi
PROLOG
  chmod +x "$folder/task_prolog"
}

up() {
  write_configuration
  ip netns add "$namespace"
  ip -n "$namespace" link set lo up
  # The resolver ignores loopback when it decides which address families exist: one address that leads nowhere.
  ip -n "$namespace" link add br0 type bridge
  ip -n "$namespace" addr add 10.231.6.1/32 dev br0
  ip -n "$namespace" link set br0 up
  inside munged --force --num-threads=2 --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
    --pid-file="$folder/munge/pid" --log-file="$folder/log/munged" --seed-file="$folder/munge/seed"
  inside slurmctld -c -f "$SLURM_CONF"
  for i in $(seq "$all"); do inside slurmd -N "n$i" -f "$SLURM_CONF"; done
  for _ in $(seq 600); do
    if [ "$(inside sinfo -h -o '%D %T' 2>/dev/null | awk '$2 == "idle" { sum += $1 } END { print sum + 0 }')" = "$all" ]; then return 0; fi
    sleep 0.1
  done
  echo "slurm_sandbox.sh: the nodes did not come up; see $folder/log" >&2
  return 1
}

# Process ids of this sandbox: daemons by their pid files, step daemons and tasks by the SLURM_CONF they were given.
processes() {
  cat "$folder"/slurmctld.pid "$folder"/slurmd.*.pid "$folder"/munge/pid 2>/dev/null || true
  # One grep over all, as there may be hundreds.
  { grep -lszxF "SLURM_CONF=$SLURM_CONF" /proc/[0-9]*/environ || true; } | while read -r file; do
    pid=$(basename "$(dirname "$file")")
    if [ "$pid" != $$ ] && [ "$pid" != $PPID ] && grep -qsE 'slurmstepd|SLURM_JOB_ID=' "/proc/$pid/environ" "/proc/$pid/cmdline"; then echo "$pid"; fi
  done
}

down() {
  set +e
  if [ -e "$SLURM_CONF" ]; then
    for pid in $(processes); do kill "$pid" 2>/dev/null; done
    for _ in $(seq 30); do
      alive=false
      for pid in $(processes); do kill -0 "$pid" 2>/dev/null && alive=true; done
      $alive || break
      sleep 0.1
    done
    for pid in $(processes); do kill -9 "$pid" 2>/dev/null; done
  fi
  ip netns del "$namespace" 2>/dev/null
  rm -rf "$folder" /dev/shm/"$namespace".n*
}

case ${1:-} in
  up) up ;;
  down) down ;;
  run) shift; exec nsenter --net="/run/netns/$namespace" "$@" ;;  # ending the script then ends the command
  *) echo "usage: slurm_sandbox.sh up|down|run COMMAND..." >&2; exit 2 ;;
esac
