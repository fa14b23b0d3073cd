#!/bin/bash
# install_packages.sh [build] [test] [browser] [clang] [slurm] [monitoring]: installs the Debian/Ubuntu packages that are missing (default: build).
# Quick when all are there; asks for sudo only when something is missing. Safe to run twice.
set -euo pipefail

build="g++ cmake ninja-build pkg-config ccache mold libopenmpi-dev openmpi-bin libabsl-dev prometheus-cpp-dev
  nlohmann-json3-dev libcli11-dev libpcre2-dev libutf8proc-dev libssl-dev zlib1g-dev liblemon-dev coinor-libcbc-dev curl"
test="libgtest-dev libgmock-dev python3 python3-venv python3-pip python3-jinja2 iproute2 shellcheck zsh fish"
browser="chromium chromium-driver"
clang="clang-19 libclang-rt-19-dev"
# For tests, which start these themselves, and for quickstart.sh --with-monitoring.
slurm="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
monitoring="prometheus"

# Boost: Debian 12 has 1.74 by default and 1.81 beside it, Ubuntu 24.04 has 1.83.
distribution=$(. /etc/os-release && echo "${ID:-}${VERSION_ID:-}")
if [ "$distribution" = debian12 ]; then build="$build libboost1.81-dev"; else build="$build libboost-dev"; fi
# Ubuntu ships Chromium as a snap alone, which a script should not install: the browser test uses what is on the PATH, or skips.
case $distribution in ubuntu*) browser="" ;; esac

wanted=""
for group in "${@:-build}"; do
  case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    browser) wanted="$wanted $browser" ;;
    clang) wanted="$wanted $clang" ;;
    slurm) wanted="$wanted $slurm" ;;
    monitoring) wanted="$wanted $monitoring" ;;
    *) echo "install_packages.sh: unknown group '$group'; expected build, test, browser, clang, slurm or monitoring" >&2; exit 2 ;;
  esac
done

missing=""
for package in $wanted; do
  dpkg-query -W -f='${Status}\n' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -z "$missing" ]; then
  echo "packages: all present" >&2
  exit 0
fi
echo "packages: installing$missing" >&2
sudo=""
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null || { echo "install_packages.sh: not root and no sudo; install these yourself:$missing" >&2; exit 1; }
  sudo="sudo"
fi
log=$(mktemp)
# Daemons come for our own use, on loopback: the packages must not start theirs, which listen everywhere.
policy=/usr/sbin/policy-rc.d
made_policy=false
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod +x $policy && made_policy=true
fi
trap 'rm -f "$log"; if $made_policy; then $sudo rm -f $policy; fi' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # the list is meant to be split
if ! { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1; then
  tail -20 "$log" >&2
  echo "install_packages.sh: apt-get failed (above); missing:$missing" >&2
  exit 1
fi
echo "packages: done" >&2
