#!/bin/bash
# test.sh [--sanitizer asan|tsan] [--soak] [CTEST ARGUMENT...]
# Installs what is missing, builds, runs every test; ends with ctest's own summary. Safe to run twice.
#   --sanitizer asan|tsan   the same tests in a build with AddressSanitizer+UBSan or ThreadSanitizer
#   --soak                  only the long soak test (label soak), which the ordinary run leaves out
set -euo pipefail
cd "$(dirname "$0")/.."

preset=release
soak=false
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --sanitizer)
      preset=${2:-}
      case $preset in asan | tsan) ;; *) echo "test.sh: --sanitizer wants asan or tsan" >&2; exit 2 ;; esac
      shift 2 ;;
    --soak) soak=true; shift ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) arguments+=("$1"); shift ;;
  esac
done

groups="build test browser slurm monitoring"
if [ "$preset" != release ]; then
  groups="$groups clang"
  export CC=clang-19 CXX=clang++-19
fi
echo "test: 1/3 packages ($groups)" >&2
# shellcheck disable=SC2086
scripts/install_packages.sh $groups
echo "test: 2/3 build ($preset)" >&2
CONCLAVE_BUILD_TESTS=ON scripts/build.sh "$preset"

# The official client and Grafana Labs' model of dashboards, unmodified; without a package index those tests are skipped visibly.
venv=build/$preset/openai-venv
if [ ! -x "$venv/bin/python" ]; then python3 -m venv "$venv"; fi
if ! "$venv/bin/python" -c 'import openai' 2>/dev/null; then
  "$venv/bin/pip" install --quiet --disable-pip-version-check "openai==$(cat tests/integration/openai_version)" >&2 ||
    echo "test: the openai package cannot be installed; its tests will be skipped" >&2
fi

if ! "$venv/bin/python" -c 'import grafana_foundation_sdk' 2>/dev/null; then
  "$venv/bin/pip" install --quiet --disable-pip-version-check "grafana-foundation-sdk==$(cat tests/deploy/grafana_sdk_version)" >&2 ||
    echo "test: the grafana-foundation-sdk package cannot be installed; its test will be skipped" >&2
fi

selection=(--label-exclude soak)
if $soak; then selection=(--label-regex soak); fi
if [ "$preset" != release ]; then
  selection=(--label-exclude "soak|openai")
  root=$PWD/tests/support/sanitizers
  export ASAN_OPTIONS="detect_leaks=1:fast_unwind_on_malloc=1:detect_stack_use_after_return=0"
  export LSAN_OPTIONS="suppressions=$root/lsan.supp:print_suppressions=0"
  export UBSAN_OPTIONS="print_stacktrace=1"
  export TSAN_OPTIONS="ignore_noninstrumented_modules=1:detect_deadlocks=0"
fi
echo "test: 3/3 tests" >&2
ctest --test-dir "build/$preset" --output-on-failure --timeout 600 "${selection[@]}" "${arguments[@]}"
