#include "vk/vendors.hpp"

#include <volk.h>

#include <array>

namespace kimberlite::vk {
namespace {

constexpr uint32_t kAmd = 0x1002;
constexpr uint32_t kNvidia = 0x10de;
constexpr uint32_t kIntel = 0x8086;

struct VendorId {
  uint32_t id;
  std::string_view name;
};
constexpr VendorId kVendors[] = {
    {kAmd, "AMD"},      {kNvidia, "NVIDIA"},  {kIntel, "Intel"},       {0x106b, "Apple"},
    {0x13b5, "Arm"},    {0x5143, "Qualcomm"}, {0x1010, "Imagination"}, {VK_VENDOR_ID_MESA, "Mesa"},
    {0x1ae0, "Google"},
};

// RDNA runs 32 lanes natively; GCN and CDNA have 64 only and fall through to it.
constexpr std::array<uint32_t, 2> kAmdSizes = {32, 64};
// 8, 16 or 32: 16 fills the registers of one thread without spills, and is the least of Xe2.
constexpr std::array<uint32_t, 3> kIntelSizes = {16, 32, 8};
constexpr std::array<uint32_t, 1> kNvidiaSizes = {32};

}  // namespace

std::string_view vendor_name(const DeviceSnapshot& snapshot) {
  for (const VendorId& vendor : kVendors)
    if (vendor.id == snapshot.vendor_id) return vendor.name;
  return "unknown vendor";
}

std::span<const uint32_t> preferred_subgroup_sizes(const DeviceSnapshot& snapshot) {
  switch (snapshot.vendor_id) {
    case kAmd:
      return kAmdSizes;
    case kIntel:
      return kIntelSizes;
    case kNvidia:
      return kNvidiaSizes;
    default:
      return {};
  }
}

bool prefers_texel_loads(const DeviceSnapshot& snapshot) {
  // lavapipe, 512 MB sum: texel 24 GB/s, storage 8 (Mesa 22.3) to 13 (Mesa 26.2).
  return snapshot.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE;
}

uint32_t register_words(const DeviceSnapshot& snapshot, uint32_t subgroup_size) {
  // AMD and NVIDIA count by lane, 255 or 256 whatever the subgroup.
  if (snapshot.vendor_id != kIntel) return 256;
  // A thread has 128 registers of 32 bytes, since Xe2, whose subgroups begin at 16, of 64.
  const uint32_t n_words = snapshot.subgroup.min_size >= 16 ? 128 * 16 : 128 * 8;
  return n_words / subgroup_size;
}

uint32_t max_loop_rounds(const DeviceSnapshot& snapshot) {
  // gallivm counts down from LP_MAX_TGSI_LOOP_ITERATIONS at the end of every round of every loop.
  return snapshot.driver_id == VK_DRIVER_ID_MESA_LLVMPIPE ? 65535 : UINT32_MAX;
}

uint32_t estimated_compute_units(const DeviceSnapshot& snapshot) {
  switch (snapshot.type) {
    case DeviceType::discrete:
      return 32;  // Xe cores of an A770, SMs of a small RTX 40
    case DeviceType::integrated:
      return 8;  // 780M: 12 CUs, Iris Xe: 6 dual subslices
    default:
      return 4;
  }
}

}  // namespace kimberlite::vk
