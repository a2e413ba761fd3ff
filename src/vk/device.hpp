// A logical device made from a plan, its one compute queue, and a timeline to wait on.
#pragma once

#include <volk.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vk/caps.hpp"
#include "vk/plan.hpp"
#include "vk/snapshot.hpp"

namespace kimberlite::vk {

struct InstanceOptions {
  bool validation = false;  // VK_LAYER_KHRONOS_validation with synchronisation validation
};

/// The Vulkan instance. One per engine. Errors of make: no_device without a loader or an instance.
class Instance {
 public:
  static Result<std::unique_ptr<Instance>> make(const InstanceOptions& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// What every physical device reports, in the loader's order; the index is the device's number.
  [[nodiscard]] std::vector<DeviceSnapshot> snapshots() const;
  [[nodiscard]] VkPhysicalDevice physical_device(size_t index) const;

  /// Validation messages (warnings and errors) seen so far; empty without validation.
  [[nodiscard]] std::vector<std::string> validation_messages() const;

 private:
  struct State;
  Instance();
  std::unique_ptr<State> state_;
};

/// Thread rule: submit, wait, run and simulate_loss may be called from one thread at a time.
class Device {
 public:
  /// `plan` comes from plan_device() on the snapshot with this index. Errors: device,
  /// out_of_memory.
  static Result<std::unique_ptr<Device>> make(Instance& instance, size_t index,
                                              const DevicePlan& plan);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  [[nodiscard]] VkDevice get() const;
  [[nodiscard]] const Caps& caps() const;
  [[nodiscard]] const DevicePlan& plan() const;
  [[nodiscard]] const DeviceSnapshot& snapshot() const;
  [[nodiscard]] Instance& instance() const;

  /// Submits the command buffers in order as one vkQueueSubmit. Returns the timeline value that
  /// is reached when they have finished. Errors: device_lost, device, out_of_memory.
  Result<uint64_t> submit(std::span<const VkCommandBuffer> commands);
  /// Waits until the timeline has reached `value`. Errors: device_lost, device.
  Status wait(uint64_t value);
  /// Submits and waits. Errors: those of both.
  Status run(std::span<const VkCommandBuffer> commands);
  Status run(VkCommandBuffer commands) { return run(std::span(&commands, 1)); }
  /// The value of the newest submission; waiting for it waits for everything. 0 before the first.
  [[nodiscard]] uint64_t last_submitted() const;
  /// Whether the timeline has reached `value` already.
  [[nodiscard]] bool reached(uint64_t value) const;

  /// What the driver says about each heap now, in the snapshot's order: `budget_bytes` for this
  /// process altogether, of which it uses `usage_bytes`. Empty without VK_EXT_memory_budget.
  struct HeapBudget {
    uint64_t budget_bytes = 0;
    uint64_t usage_bytes = 0;
  };
  [[nodiscard]] std::vector<HeapBudget> heap_budgets() const;

  /// What is left for device buffers, as far as the driver tells: of the heap's budget for this
  /// process, else of the heap less what Kimberlite holds.
  [[nodiscard]] uint64_t free_bytes() const;

  /// From now on an allocation that would bring the bytes held beyond this fails with
  /// out_of_memory: for tests of running out.
  void limit_memory(uint64_t n_bytes);
  [[nodiscard]] uint64_t memory_limit() const;

  /// From now on every submit and wait fails with device_lost: for tests of recovery.
  void simulate_loss();

  /// Counters since creation, for the promises of the token loop.
  struct Counters {
    uint64_t submits = 0;               // vkQueueSubmit calls
    uint64_t records = 0;               // command buffers recorded
    uint64_t allocations = 0;           // vkAllocateMemory calls
    uint64_t growths = 0;               // segments added to KV caches, among the allocations
    uint64_t allocated_bytes = 0;       // device memory held now
    uint64_t peak_allocated_bytes = 0;  // the most ever held
  };
  [[nodiscard]] Counters counters() const;
  void count_record();                         // called by graph/executable
  void count_growth();                         // called by runtime/kv_cache
  void count_allocation(int64_t delta_bytes);  // called by vk/memory; negative when freed

 private:
  struct State;
  Device();
  std::unique_ptr<State> state_;
};

/// Turns a VkResult into an Error that names the call, or nothing for VK_SUCCESS.
Status check(VkResult result, const char* call);

}  // namespace kimberlite::vk

/// `KL_VK(vkFoo(...))` returns an Error from the enclosing function unless VK_SUCCESS.
#define KL_VK(call) KL_TRY(::kimberlite::vk::check((call), #call))
