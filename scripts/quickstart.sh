#!/bin/bash
# quickstart.sh                  installs what is missing, builds, starts a coordinator and two MPI ranks on the demo
#                                model, asks it a question and serves its API until Ctrl-C
# quickstart.sh --once "PROMPT"  the same, prints the answer alone on stdout and ends
# quickstart.sh --with-monitoring   also starts Prometheus with the shipped rules and prints its URL
# Ports: CONCLAVE_PORT (default 8000), CONCLAVE_ADMIN_PORT (default 8001), CONCLAVE_PROMETHEUS_PORT (default 9090).
set -euo pipefail
cd "$(dirname "$0")/.."

prompt="What does tar do?"
once=false
monitoring=false
case ${1:-} in
  "") ;;
  --with-monitoring) monitoring=true ;;
  --once)
    once=true
    prompt=${2:-}
    if [ -z "$prompt" ]; then echo "quickstart.sh: --once wants a prompt" >&2; exit 2; fi ;;
  -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "quickstart.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
esac

echo "quickstart: 1/3 packages" >&2
scripts/install_packages.sh build
if $monitoring; then scripts/install_packages.sh monitoring; fi
echo "quickstart: 2/3 build" >&2
programs=(conclave conclave-worker)
if ! $once; then programs+=(conclavectl); fi
scripts/build.sh release "${programs[@]}"
echo "quickstart: 3/3 starting a coordinator and two ranks" >&2

work=$(mktemp -d)
server=""
prometheus=""
stop() {
  if [ -n "$prometheus" ]; then
    kill "$prometheus" 2>/dev/null || true
    wait "$prometheus" 2>/dev/null || true
  fi
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    # Open streams get three seconds to finish; the second signal ends them with an error event.
    kill -TERM "$server" 2>/dev/null || true
    for _ in $(seq 30); do
      kill -0 "$server" 2>/dev/null || break
      sleep 0.1
    done
    kill -INT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

port=${CONCLAVE_PORT:-8000}
admin_port=${CONCLAVE_ADMIN_PORT:-8001}
if $once; then port=0 admin_port=0; fi  # --once must not collide with a running cluster
log_target=/dev/stderr
if $once; then log_target=$work/log; fi
build/release/bin/conclave serve --model assets/demo-moe --ranks 2 --transport mpi --port "$port" --admin-port "$admin_port" \
  --endpoint-file "$work/endpoint" --admin-endpoint-file "$work/admin" --log-level warning 2>"$log_target" &
server=$!

started=$SECONDS
until [ -s "$work/endpoint" ] && url=$(cat "$work/endpoint") && curl -sf -o /dev/null "$url/ready"; do
  if ! kill -0 "$server" 2>/dev/null; then
    if $once; then cat "$work/log" >&2; fi
    echo "quickstart: the cluster did not start (see above)" >&2
    exit 4
  fi
  if [ $((SECONDS - started)) -gt 60 ]; then echo "quickstart: not ready after 60 s" >&2; exit 4; fi
  sleep 0.05
done

ask() {
  build/release/bin/conclave ask --endpoint "$url" --temperature 0 "$1"
}

# The shipped configuration with this cluster as its only target.
start_prometheus() {
  local address=127.0.0.1:${CONCLAVE_PROMETHEUS_PORT:-9090}
  cp -r deploy/prometheus "$work/prometheus"
  mkdir -p "$work/prometheus/targets"
  printf '[{"targets": ["%s"], "labels": {"service": "quickstart"}}]\n' "$(sed 's|^http://||' "$work/admin")" \
    >"$work/prometheus/targets/quickstart.json"
  prometheus --config.file="$work/prometheus/prometheus.yml" --storage.tsdb.path="$work/prometheus/data" \
    --web.listen-address="$address" --log.level=warn 2>"$work/prometheus/log" &
  prometheus=$!
  for _ in $(seq 100); do
    if ! kill -0 "$prometheus" 2>/dev/null; then break; fi
    if curl -sf -o /dev/null "http://$address/-/ready"; then
      prometheus_url=http://$address
      return
    fi
    sleep 0.1
  done
  tail -3 "$work/prometheus/log" >&2
  echo "quickstart: Prometheus did not start on $address (see above); choose another port with CONCLAVE_PROMETHEUS_PORT" >&2
  exit 1
}

if $once; then
  ask "$prompt"
  exit 0
fi
echo "quickstart: ready; asking: $prompt" >&2
ask "$prompt"
cat >&2 <<TXT

The API is at $url/v1 (OpenAI-compatible), for example:
  curl $url/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"model":"demo-moe","messages":[{"role":"user","content":"What does tar do?"}],"temperature":0}'
Look at it: build/release/bin/conclavectl --endpoint $(cat "$work/admin") status, or $(cat "$work/admin")/ui in a browser.
TXT
if $monitoring; then
  start_prometheus
  cat >&2 <<TXT

Prometheus is at $prometheus_url (try $prometheus_url/classic/targets, or /classic/alerts).
TXT
  if command -v grafana-server >/dev/null || command -v grafana >/dev/null; then
    echo "Grafana: copy deploy/grafana/provisioning to its provisioning folder and the dashboards to /var/lib/grafana/dashboards/conclave." >&2
  else
    echo "Grafana is not installed here. In any Grafana: add $prometheus_url as a Prometheus data source, then Dashboards > New > Import" >&2
    echo "each file of deploy/grafana/dashboards." >&2
  fi
fi
echo "Stop with Ctrl-C." >&2
wait "$server"
