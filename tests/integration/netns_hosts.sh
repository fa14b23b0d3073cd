#!/bin/bash
# netns_hosts.sh up|down|agent: two "hosts" as network namespaces joined by a bridge, with an rsh agent for mpirun.
# Nothing is reachable from outside: no end of a cable lies in the root namespace. Needs root and iproute2.
set -eu
prefix=${CONCLAVE_NETNS_PREFIX:-cncl}
folder=${CONCLAVE_NETNS_DIR:-/tmp/conclave-netns-$prefix}
network=10.231.9

up() {
  mkdir -p "$folder"
  echo "127.0.0.1 localhost" >"$folder/hosts"
  ip netns add "${prefix}0"
  ip -n "${prefix}0" link set lo up
  ip -n "${prefix}0" link add br0 type bridge
  ip -n "${prefix}0" addr add "$network.100/24" dev br0
  ip -n "${prefix}0" link set br0 up
  echo "$network.100 ${prefix}0" >>"$folder/hosts"
  for i in 1 2; do
    ip netns add "$prefix$i"
    ip -n "$prefix$i" link set lo up
    ip -n "${prefix}0" link add "v$i" type veth peer name eth0 netns "$prefix$i"
    ip -n "${prefix}0" link set "v$i" master br0 up
    ip -n "$prefix$i" addr add "$network.$i/24" dev eth0
    ip -n "$prefix$i" link set eth0 up
    echo "$network.$i $prefix$i" >>"$folder/hosts"
  done
  for i in 0 1 2; do
    mkdir -p "/etc/netns/$prefix$i"
    cp "$folder/hosts" "/etc/netns/$prefix$i/hosts"
    echo "hosts: files" >"/etc/netns/$prefix$i/nsswitch.conf"
  done
  # mpirun's launch agent: $1 is the host, the rest a command line.
  cat >"$folder/agent" <<A
#!/bin/bash
host=\$1
shift
exec ip netns exec "\$host" unshare -u -m bash -c "hostname \$host; mkdir -p $folder/tmp.\$host; export TMPDIR=$folder/tmp.\$host; \$*"
A
  chmod +x "$folder/agent"
}

down() {
  for i in 0 1 2; do
    ip netns pids "$prefix$i" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$prefix$i" 2>/dev/null || true
    rm -rf "/etc/netns/$prefix$i"
  done
  rm -rf "$folder"
}

"$1"
