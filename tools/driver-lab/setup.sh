#!/usr/bin/env bash
# Sets up the driver lab: two small Debian systems with Mesa's compilers for AMD, Intel and NVIDIA,
# and the shims that pretend there are such GPUs. Done already: nothing happens.
#
#   tools/driver-lab/setup.sh [FOLDER]     default build/driver-lab; 3 GB, minutes, root, network
set -Eeuo pipefail
cd "$(dirname "$0")/../.."
lab=$(realpath -m "${1:-build/driver-lab}")
log=$lab/setup.log

die() { echo "driver lab: $*" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || die "needs root: it makes chroots (debootstrap, mount, unshare)"
[ "$(uname -m)" = x86_64 ] || die "needs x86_64, this machine is $(uname -m)"
mkdir -p "$lab"

# Runs a command in one of the systems. /proc is mounted for it alone and gone with it.
inside() {
  local root=$lab/$1
  shift
  unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" \
    env DEBIAN_FRONTEND=noninteractive "$@"
}

bootstrap() {  # folder, Debian release
  [ -e "$lab/$1/etc/apt/apt.conf.d/10lab" ] && return
  rm -rf --one-file-system "${lab:?}/$1"
  debootstrap --variant=minbase "$2" "$lab/$1"
  printf '%s\n' 'Acquire::Check-Valid-Until "false";' 'APT::Install-Recommends "false";' \
    'Acquire::Retries "3";' >"$lab/$1/etc/apt/apt.conf.d/10lab"
}

# Debian's shims have none for Intel: that one target is built from Mesa's source.
build_intel_shim() {
  local shim=libintel_noop_drm_shim.so
  [ -e "$lab/new/usr/lib/x86_64-linux-gnu/$shim" ] && return
  inside old sh -c 'apt-get update && apt-get install -y g++ meson ninja-build pkg-config dpkg-dev \
    python3-mako python3-yaml python3-packaging bison flex libdrm-dev libexpat1-dev zlib1g-dev \
    libzstd-dev libelf-dev'
  sed -n 's/^deb /deb-src /p' "$lab/old/etc/apt/sources.list" \
    >"$lab/old/etc/apt/sources.list.d/source.list"
  inside old sh -c 'cd /opt && rm -rf mesa-* && apt-get update && apt-get source mesa &&
    cd mesa-[0-9]* && meson setup b -Dvulkan-drivers= -Dgallium-drivers= -Dplatforms= \
    -Dglx=disabled -Degl=disabled -Dgbm=disabled -Dopengl=false -Dgles1=disabled \
    -Dgles2=disabled -Dllvm=disabled -Dtools=drm-shim,intel -Dvideo-codecs= \
    -Dshader-cache=disabled --buildtype=release &&
    ninja -C b src/intel/tools/libintel_noop_drm_shim.so'
  cp "$lab"/old/opt/mesa-*/b/src/intel/tools/$shim "$lab/new/usr/lib/x86_64-linux-gnu"
  rm -rf --one-file-system "$lab"/old/opt/mesa-*
}

install_drivers() {
  [ -e "$lab/new/usr/bin/glslc" ] && return
  inside new sh -c 'apt-get update && apt-get install -y mesa-vulkan-drivers mesa-drm-shim \
    libvulkan1 vulkan-validationlayers glslc spirv-tools'
}

setup() {
  command -v debootstrap >/dev/null || { apt-get -qq update && apt-get -qq -y install debootstrap; }
  bootstrap new sid & local new=$!
  bootstrap old trixie
  wait $new
  install_drivers
  build_intel_shim
  versions=$(inside new dpkg-query -W -f "Mesa \${Version}\n" mesa-vulkan-drivers)
  echo "$versions" >"$lab/versions.txt"
}

if [ ! -e "$lab/versions.txt" ]; then
  echo "driver lab: setting up in $lab; see $log" >&2
  exec 3>&2
  trap 'tail -n 20 "$log" >&3; echo "driver lab: failed; the whole log is $log" >&3' ERR
  setup </dev/null >"$log" 2>&1
fi
cat "$lab/versions.txt"
