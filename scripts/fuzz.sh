#!/bin/bash
# fuzz.sh [--seconds N] [TARGET...]: builds the libFuzzer targets with clang (ASan+UBSan) and runs each for N seconds (default 60).
# Starts from tests/fuzz/corpus; keeps what it finds in build/fuzz/found/TARGET, so that a second run goes on from there.
# Exits 1 if a target crashed; the input that did it is build/fuzz/crashes/TARGET-*.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=60
targets=()
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) seconds=${2:?fuzz.sh: --seconds wants a number}; shift 2 ;;
    -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "fuzz.sh: unknown option $1" >&2; exit 2 ;;
    *) targets+=("$1"); shift ;;
  esac
done
if [ ${#targets[@]} = 0 ]; then
  targets=(request_json_fuzz tokenizer_json_fuzz safetensors_header_fuzz chat_template_fuzz wire_frames_fuzz)
fi
scripts/install_packages.sh build test clang
export CC=clang-19 CXX=clang++-19
CONCLAVE_BUILD_TESTS=ON scripts/build.sh fuzz "${targets[@]}"
mkdir -p build/fuzz/crashes
failed=0
for target in "${targets[@]}"; do
  found=build/fuzz/found/$target
  mkdir -p "$found"
  echo "fuzz: $target for $seconds s" >&2
  log=build/fuzz/$target.log
  if ! "build/fuzz/fuzz/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/crashes/$target-" "$found" "tests/fuzz/corpus/${target%_fuzz}" >"$log" 2>&1; then
    failed=1
    tail -40 "$log" >&2
    echo "fuzz: $target FAILED (log: $log)" >&2
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  echo "$target: ${runs:-?} runs, ${coverage:-?} edges"
done
exit $failed
