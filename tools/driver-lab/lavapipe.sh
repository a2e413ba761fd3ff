#!/usr/bin/env bash
# Runs the gpu and model tests on the lab's lavapipe, the newest, and says which that is.
#
#   tools/driver-lab/lavapipe.sh [ctest options]     -R kernels: those of the kernels alone
set -euo pipefail
cd "$(dirname "$0")/../.."
tools/driver-lab/setup.sh
status=0
tools/test.sh -C lab -L lavapipe-new "$@" || status=$?
tools/driver-lab/inside.sh build/driver-lab VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json \
  build/release/apps/kimberlite devices
exit $status
