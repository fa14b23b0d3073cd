#!/bin/bash
# bundle.sh BUILD_DIR OUT.tar.gz [--demo-model]
# One tarball with the programs and the shared libraries that a bare Ubuntu 24.04 host with Open MPI, CUDA and
# NCCL does not have. Unpack it anywhere and run bin/conclave: libraries are found beside the programs.
#   --demo-model   put share/conclave/demo-moe in as well (about 30 MB more)
set -euo pipefail

demo=false
arguments=()
for argument in "$@"; do
  case $argument in
    --demo-model) demo=true ;;
    -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) arguments+=("$argument") ;;
  esac
done
if [ ${#arguments[@]} -ne 2 ]; then
  echo "bundle.sh: give a build directory and the name of the tarball; see --help" >&2
  exit 2
fi
build=${arguments[0]} out=${arguments[1]}
most_megabytes=40

# What the target host has: libc and compiler run time, Open MPI with what it needs, CUDA and NCCL.
host_has='^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|librt|libpthread|libresolv|libutil|libstdc\+\+|libgcc_s|libz'
host_has+='|libmpi|libopen-rte|libopen-pal|libhwloc|libevent_core-2\.1|libevent_pthreads-2\.1|libudev|libcap|libnuma'
host_has+='|libpmix|libcuda|libcudart|libnccl|libnvidia-ml)\.so'

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/conclave
cmake --install "$build" --prefix "$root" --strip >/dev/null
if ! $demo; then rm -rf "$root/share/conclave/demo-moe"; fi

mkdir -p "$root/lib/conclave"
mapfile -t binaries < <(find "$root/bin" "$root/libexec" "$root/lib/conclave" -type f \( -perm -u+x -o -name '*.so' \))
for binary in "${binaries[@]}"; do
  # Scripts have no libraries; ldd says so and fails.
  ldd "$binary" 2>/dev/null | awk '/=> \//{print $1, $3} /not found/{print $1, "missing"}' || true
done | sort -u | while read -r name path; do
  if echo "$name" | grep -qE "$host_has"; then continue; fi
  if [ "$path" = missing ]; then
    echo "bundle.sh: $name is not on this machine; build and bundle where Conclave's packages are installed" >&2
    exit 1
  fi
  cp -L "$path" "$root/lib/conclave/$name"
  strip --strip-unneeded "$root/lib/conclave/$name"
done

# Every library that is bundled must be found beside the programs, not on this machine.
"$root/bin/conclave" --version >/dev/null
if strays=$(LD_TRACE_LOADED_OBJECTS=1 "$root/bin/conclave" | awk '{print $1, $3}' | grep -vE "$host_has" |
  grep ' /' | grep -vF " $root/"); then
  echo "bundle.sh: loaded from this machine instead of the bundle: $strays" >&2
  exit 1
fi

mkdir -p "$(dirname "$out")"
tar -C "$stage" --owner=0 --group=0 -czf "$out" conclave
megabytes=$((($(stat -c %s "$out") + 1048575) / 1048576))
echo "bundle.sh: $out, $megabytes MB, $(find "$root/lib/conclave" -name '*.so*' | wc -l) libraries" >&2
if ! $demo && [ "$megabytes" -gt "$most_megabytes" ]; then
  echo "bundle.sh: more than $most_megabytes MB" >&2
  exit 1
fi
