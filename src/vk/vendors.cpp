#include "vk/vendors.hpp"

#include <volk.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <compare>
#include <string>

#include "vk/plan.hpp"

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

/// Of a driver, as its users know it: Mesa 25.0, Intel's 101.8629.
struct Release {
  uint32_t major = 0;
  uint32_t minor = 0;
  auto operator<=>(const Release&) const = default;
};
constexpr Release kNever{UINT32_MAX, UINT32_MAX};

/// The first "N.N" of what the driver says of itself; 0.0 where there is none.
Release find_release(std::string_view info) {
  while (!info.empty()) {
    Release release;
    const char* const end = info.data() + info.size();
    const auto major = std::from_chars(info.data(), end, release.major);
    if (major.ec == std::errc() && major.ptr != end && *major.ptr == '.') {
      const auto minor = std::from_chars(major.ptr + 1, end, release.minor);
      if (minor.ec == std::errc()) return release;
    }
    info.remove_prefix(1);
  }
  return {};
}

constexpr VkDriverId kAnyDriver = VK_DRIVER_ID_MAX_ENUM;

/// A driver or device that others have met trouble with. All that is set must hold.
struct Trouble {
  DriverTrouble report;
  VkDriverId driver = kAnyDriver;
  std::array<std::string_view, 4> names = {};  // any of them in the device's name; none: every one
  Release first = {};
  Release fixed = kNever;
};

const Trouble kTroubles[] = {
    {.report = {"AMD's own driver decodes slowly",
                "rows of 4096 values and more took 5 to 7 times as long as with HIP on the same "
                "card (RX 9070 XT on Windows, llama.cpp #26663)"},
     .driver = VK_DRIVER_ID_AMD_PROPRIETARY},
    {.report = {"Intel's driver loses the device",
                "under language models, from 101.8425 on; 101.8860 is reported to be well "
                "(IGCIT #1330, lmstudio #1781, llama.cpp #22034)"},
     .driver = VK_DRIVER_ID_INTEL_PROPRIETARY_WINDOWS,
     .first = {101, 8425},
     .fixed = {101, 8860}},
    {.report = {"RADV of Mesa 25.0 aborts",
                "its compiler did so on RDNA2, over a long attention kernel for heads of 512 "
                "values; other releases compile it"},
     .driver = VK_DRIVER_ID_MESA_RADV,
     .names = {"navi2", "rembrandt", "vangogh", "raphael"},
     .first = {25, 0},
     .fixed = {25, 1}},
    {.report = {"Arc B580 writes garbled text",
                "from Gemma 4 with other software, more so with drafts, where the same files were "
                "well on other devices (llama.cpp #24560)"},
     .names = {"b580"}},
    {.report = {"Renoir and the Steam Deck answer something else",
                "with E2B and E4B in other software (ollama #15261, koboldcpp #2134)"},
     .names = {"renoir", "vangogh"}},
    {.report = {"UHD Graphics 620 writes unused tokens",
                "with Gemma in other software (gemmaclaw #315)"},
     .names = {"uhd graphics 620"}},
    {.report = {"RDNA 3.5 is slow over 3 and 5 columns",
                "6 and 8 times as long as over 4 with the kernels of llama.cpp, which costs drafts "
                "their gain; `kimberlite bench MODEL --columns` shows whether it is here"},
     .names = {"gfx1150", "gfx1151", "8060s", "890m"}},
};

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

std::vector<DriverTrouble> known_troubles(const DeviceSnapshot& snapshot) {
  std::string name = snapshot.name;
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const Release release = find_release(snapshot.driver_info);
  std::vector<DriverTrouble> found;
  for (const Trouble& trouble : kTroubles) {
    if (trouble.driver != kAnyDriver && trouble.driver != snapshot.driver_id) continue;
    if (release < trouble.first || release >= trouble.fixed) continue;
    const bool named = std::ranges::any_of(trouble.names, [&](std::string_view part) {
      return !part.empty() && name.find(part) != std::string::npos;
    });
    if (named || trouble.names[0].empty()) found.push_back(trouble.report);
  }
  return found;
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

uint32_t matrix_subgroup_size(const DeviceSnapshot& snapshot, const Caps& caps) {
  // XMX works for the narrowest subgroups alone: 8 lanes, 16 since Xe2.
  return snapshot.vendor_id == kIntel ? caps.min_subgroup_size : caps.subgroup_size;
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
