#!/bin/bash
# quickstart.sh                  installs what is missing, builds, starts a coordinator and two MPI ranks on the demo
#                                model, asks it a question and serves its API until Ctrl-C
# quickstart.sh --once "PROMPT"  the same, prints the answer alone on stdout and ends
# Ports: CONCLAVE_PORT (default 8000) and CONCLAVE_ADMIN_PORT (default 8001).
set -euo pipefail
cd "$(dirname "$0")/.."

prompt="What does tar do?"
once=false
case ${1:-} in
  "") ;;
  --once)
    once=true
    prompt=${2:-}
    if [ -z "$prompt" ]; then echo "quickstart.sh: --once wants a prompt" >&2; exit 2; fi ;;
  -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  *) echo "quickstart.sh: unknown argument '$1'; try --help" >&2; exit 2 ;;
esac

echo "quickstart: 1/3 packages" >&2
scripts/install_packages.sh build
echo "quickstart: 2/3 build" >&2
scripts/build.sh release conclave conclave-worker
echo "quickstart: 3/3 starting a coordinator and two ranks" >&2

work=$(mktemp -d)
server=""
stop() {
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server" 2>/dev/null || true
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
  --endpoint-file "$work/endpoint" --log-level warning 2>"$log_target" &
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
Stop with Ctrl-C.
TXT
wait "$server"
