// choose_device: which of several GPUs to use, and the meaning of `--device`.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <functional>
#include <optional>
#include <vector>

#include "base/numeric.hpp"
#include "vk/plan.hpp"
#include "vk/vendors.hpp"

namespace kimberlite::vk {
namespace {

constexpr size_t kMinUuidDigits = 8;

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

std::string gibibytes(uint64_t n_bytes) {
  if (n_bytes == UINT64_MAX) return "an unknown amount";
  return fmt::format("{:.1f} GiB", static_cast<double>(n_bytes) / static_cast<double>(kGiB));
}

/// "0: NVIDIA H100 (discrete, NVIDIA, 79.6 GiB)", one line per device.
std::string device_list(std::span<const DeviceSnapshot> snapshots, uint64_t host_bytes) {
  std::string list;
  for (size_t i = 0; i < snapshots.size(); ++i) {
    const DeviceSnapshot& device = snapshots[i];
    list += fmt::format("\n  {}: {} ({}, {}, {}, uuid {})", i, device.name,
                        device_type_text(device.type), vendor_name(device),
                        gibibytes(usable_bytes(device, host_bytes)), device.device_uuid);
  }
  return list;
}

int type_rank(DeviceType type) {
  switch (type) {
    case DeviceType::discrete:
      return 4;
    case DeviceType::integrated:
      return 3;
    case DeviceType::virtual_gpu:
      return 2;
    case DeviceType::other:
      return 1;
    case DeviceType::cpu:
      return 0;
  }
  return 0;
}

std::vector<size_t> find_matching(std::span<const DeviceSnapshot> snapshots,
                                  const std::function<bool(const DeviceSnapshot&)>& matches) {
  std::vector<size_t> found;
  for (size_t i = 0; i < snapshots.size(); ++i)
    if (matches(snapshots[i])) found.push_back(i);
  return found;
}

std::optional<size_t> find_index(std::string_view selector, size_t n_devices) {
  size_t index = 0;
  const char* end = selector.data() + selector.size();
  const auto [rest, error] = std::from_chars(selector.data(), end, index);
  if (error != std::errc() || rest != end || index >= n_devices) return std::nullopt;
  return index;
}

/// The selector's readings in order; the first one that any device answers decides.
std::vector<size_t> find_selected(std::span<const DeviceSnapshot> snapshots,
                                  std::string_view selector) {
  // "4070" is no index on any machine, so it goes on to be a part of a name.
  if (const auto index = find_index(selector, snapshots.size())) return {*index};
  const std::string wanted = lower(selector);
  std::string digits = wanted;
  std::erase(digits, '-');
  std::vector<size_t> found;
  if (digits.size() >= kMinUuidDigits) {
    found = find_matching(
        snapshots, [&](const DeviceSnapshot& d) { return d.device_uuid.starts_with(digits); });
    if (!found.empty()) return found;
  }
  // A whole name before its parts: "RTX 4070" must not mean "RTX 4070 Ti" as well.
  found =
      find_matching(snapshots, [&](const DeviceSnapshot& d) { return lower(d.name) == wanted; });
  if (!found.empty()) return found;
  found = find_matching(snapshots,
                        [&](const DeviceSnapshot& d) { return lower(vendor_name(d)) == wanted; });
  if (!found.empty()) return found;
  return find_matching(snapshots, [&](const DeviceSnapshot& d) {
    return lower(d.name).find(wanted) != std::string::npos;
  });
}

Result<DeviceChoice> choose_selected(std::span<const DeviceSnapshot> snapshots,
                                     std::string_view selector, uint64_t host_bytes) {
  const std::vector<size_t> found = find_selected(snapshots, selector);
  if (found.size() == 1) {
    return DeviceChoice{found[0],
                        fmt::format("{}: selected by '{}'", snapshots[found[0]].name, selector)};
  }
  const std::string how = found.empty()
                              ? std::string("matches no device")
                              : fmt::format("matches {} devices, name one of them", found.size());
  return Error{ErrorCode::invalid_argument, fmt::format("--device '{}' {}; there are:{}", selector,
                                                        how, device_list(snapshots, host_bytes))};
}

/// Greater is better, in order of the fields.
struct Rank {
  bool is_gpu;  // a CPU device never beats a GPU by fit
  bool fits;
  int type;
  uint64_t n_bytes;
  auto operator<=>(const Rank&) const = default;
};

Rank rank_of(const DeviceSnapshot& device, uint64_t needed_bytes, uint64_t host_bytes) {
  const uint64_t n_bytes = usable_bytes(device, host_bytes);
  return {device.type != DeviceType::cpu, n_bytes >= needed_bytes, type_rank(device.type), n_bytes};
}

bool is_unified(const DeviceSnapshot& device) {
  return device.type == DeviceType::integrated || device.type == DeviceType::cpu;
}

}  // namespace

uint64_t usable_bytes(const DeviceSnapshot& snapshot, uint64_t host_bytes) {
  if (snapshot.type == DeviceType::cpu) return host_bytes != 0 ? host_bytes : UINT64_MAX;
  uint64_t sum = 0;
  uint64_t largest = 0;
  for (const HeapFacts& heap : snapshot.heaps) {
    sum += heap.n_bytes;
    if (heap.device_local) largest = std::max(largest, heap.n_bytes);
  }
  return is_unified(snapshot) ? sum : largest;
}

std::vector<RankedDevice> rank_devices(std::span<const DeviceSnapshot> snapshots,
                                       uint64_t needed_bytes, uint64_t host_bytes) {
  std::vector<RankedDevice> ranking;
  for (size_t i = 0; i < snapshots.size(); ++i) {
    const DeviceSnapshot& device = snapshots[i];
    const auto plan = plan_device(device);
    if (!plan.ok()) {
      ranking.push_back({i, false, plan.error().message});
      continue;
    }
    const uint64_t n_bytes = usable_bytes(device, host_bytes);
    std::string reason =
        fmt::format("{} device, {} of memory", device_type_text(device.type), gibibytes(n_bytes));
    if (needed_bytes > 0) {
      reason +=
          fmt::format(", {} {} wanted", n_bytes >= needed_bytes ? "holds the" : "less than the",
                      gibibytes(needed_bytes));
    }
    ranking.push_back({i, true, std::move(reason)});
  }
  std::stable_sort(ranking.begin(), ranking.end(), [&](const auto& a, const auto& b) {
    if (a.usable != b.usable) return a.usable;
    return a.usable && rank_of(snapshots[a.index], needed_bytes, host_bytes) >
                           rank_of(snapshots[b.index], needed_bytes, host_bytes);
  });
  return ranking;
}

Result<DeviceChoice> choose_device(std::span<const DeviceSnapshot> snapshots,
                                   std::string_view selector, uint64_t needed_bytes,
                                   uint64_t host_bytes) {
  if (snapshots.empty())
    return Error{ErrorCode::no_device, "no Vulkan device: the loader found no driver with a GPU"};
  if (!selector.empty()) return choose_selected(snapshots, selector, host_bytes);

  const std::vector<RankedDevice> ranking = rank_devices(snapshots, needed_bytes, host_bytes);
  const RankedDevice& best = ranking.front();
  if (best.usable) {
    return DeviceChoice{best.index, fmt::format("{}: {}", snapshots[best.index].name, best.reason)};
  }
  std::string refusals;
  for (const RankedDevice& device : ranking) refusals += "\n  " + device.reason;
  return Error{ErrorCode::no_device, fmt::format("none of {} Vulkan devices can run Kimberlite:{}",
                                                 snapshots.size(), refusals)};
}

}  // namespace kimberlite::vk
