#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that are missing, and nothing else.
#
#   tools/install.sh              what building and running needs
#   tools/install.sh test         the same, and what the tests need
#   tools/install.sh test slow    the same, and clang for the fuzz targets
set -euo pipefail

packages=(g++ cmake ninja-build ccache python3 libvulkan-dev libvulkan-volk-dev glslc libfmt-dev
          nlohmann-json3-dev libcli11-dev libedit-dev libvulkan1 mesa-vulkan-drivers
          libpng-dev libjpeg-dev libwebp-dev libstb-dev libsndfile1-dev libsamplerate0-dev)
for group in "$@"; do
  case "$group" in
    test)  # chromium brings SwiftShader, a second CPU driver
      packages+=(libgtest-dev libgmock-dev googletest spirv-tools vulkan-validationlayers chromium
                 g++-mingw-w64-x86-64-posix wine wine64 ffmpeg) ;;
    slow) packages+=(clang) ;;
    *) echo "install.sh: unknown group '$group' (test, slow)" >&2; exit 2 ;;
  esac
done

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "install.sh: no apt here; Kimberlite needs the equivalents of: ${packages[*]}" >&2
  exit 0
fi

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
            sed -n 's/^installed //p' | sort -u || true)
missing=()
for package in "${packages[@]}"; do
  grep -qxF "$package" <<<"$installed" || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "install.sh: not root and no sudo; missing: ${missing[*]}" >&2
                                  exit 1; }
  as_root=(sudo)
fi
echo "Installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y
     -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Acquire::Retries=3)
"${apt[@]}" update </dev/null
"${apt[@]}" install --no-install-recommends "${missing[@]}" </dev/null >/dev/null
