#!/bin/bash
# build.sh [PRESET] [TARGET...]: configures build/PRESET (default: release) and builds it, showing progress.
# CC and CXX choose the compiler; ccache and mold are used where they are installed.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
shift || true
flags=()
# Cache hits do not depend on where the tree lies.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
if command -v ccache >/dev/null; then flags+=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
if [ -n "${CONCLAVE_BUILD_TESTS:-}" ]; then flags+=("-DCONCLAVE_BUILD_TESTS=$CONCLAVE_BUILD_TESTS"); fi
if command -v mold >/dev/null; then flags+=(-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=mold); fi
started=$SECONDS
echo "build: configuring preset $preset" >&2
mkdir -p "build/$preset"
if ! cmake --preset "$preset" "${flags[@]}" >"build/$preset/configure.log" 2>&1; then
  cat "build/$preset/configure.log" >&2
  echo "build: configuration failed (above)" >&2
  exit 1
fi
# ninja: [done/total seconds] on each line; one redrawn line on a terminal.
export NINJA_STATUS="build: [%f/%t, %es] "
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build "build/$preset" -j "${JOBS:-$(nproc)}" "${targets[@]}" >&2
echo "build: done in $((SECONDS - started)) s" >&2
