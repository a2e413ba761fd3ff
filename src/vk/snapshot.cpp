// DeviceSnapshot as JSON. Every structure lists its fields once, in visit(); Writer and Reader are
// the two visitors.
#include "vk/snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <concepts>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

namespace kimberlite::vk {
namespace {

using Json = nlohmann::ordered_json;

constexpr DeviceType kTypes[] = {DeviceType::other, DeviceType::integrated, DeviceType::discrete,
                                 DeviceType::virtual_gpu, DeviceType::cpu};

template <typename Visitor>
void visit(Visitor& field, DeviceLimits& facts) {
  field("max_storage_range_bytes", facts.max_storage_range_bytes);
  field("max_texel_elements", facts.max_texel_elements);
  field("max_allocation_bytes", facts.max_allocation_bytes);
  field("max_buffer_bytes", facts.max_buffer_bytes);
  field("max_allocations", facts.max_allocations);
  field("max_push_bytes", facts.max_push_bytes);
  field("max_shared_bytes", facts.max_shared_bytes);
  field("max_workgroup_invocations", facts.max_workgroup_invocations);
  field("max_workgroup_size", facts.max_workgroup_size);
  field("max_grid", facts.max_grid);
  field("storage_alignment", facts.storage_alignment);
  field("texel_alignment", facts.texel_alignment);
  field("host_pointer_alignment", facts.host_pointer_alignment);
  field("timestamp_period_ns", facts.timestamp_period_ns);
  field("n_compute_units", facts.n_compute_units);
}

template <typename Visitor>
void visit(Visitor& field, SubgroupFacts& facts) {
  field("size", facts.size);
  field("min_size", facts.min_size);
  field("max_size", facts.max_size);
  field("operations", facts.operations);
  field("stages", facts.stages);
  field("required_stages", facts.required_stages);
  field("size_control", facts.size_control);
  field("full_subgroups", facts.full_subgroups);
}

template <typename Visitor>
void visit(Visitor& field, DeviceFeatures& facts) {
  field("timeline_semaphore", facts.timeline_semaphore);
  field("synchronization2", facts.synchronization2);
  field("maintenance4", facts.maintenance4);
  field("host_query_reset", facts.host_query_reset);
  field("buffer_device_address", facts.buffer_device_address);
  field("descriptor_indexing", facts.descriptor_indexing);
  field("vulkan_memory_model", facts.vulkan_memory_model);
  field("float16", facts.float16);
  field("int8", facts.int8);
  field("int16", facts.int16);
  field("int64", facts.int64);
  field("storage_8bit", facts.storage_8bit);
  field("storage_16bit", facts.storage_16bit);
  field("subgroup_extended_types", facts.subgroup_extended_types);
  field("integer_dot", facts.integer_dot);
  field("dot_4x8_signed_accelerated", facts.dot_4x8_signed_accelerated);
  field("dot_4x8_mixed_accelerated", facts.dot_4x8_mixed_accelerated);
  field("cooperative_matrix", facts.cooperative_matrix);
  field("nv_cooperative_matrix2", facts.nv_cooperative_matrix2);
  field("memory_budget", facts.memory_budget);
  field("external_memory_host", facts.external_memory_host);
}

template <typename Visitor>
void visit(Visitor& field, MatrixShape& facts) {
  field("m", facts.m);
  field("n", facts.n);
  field("k", facts.k);
}

template <typename Visitor>
void visit(Visitor& field, HeapFacts& facts) {
  field("n_bytes", facts.n_bytes);
  field("device_local", facts.device_local);
}

template <typename Visitor>
void visit(Visitor& field, MemoryTypeFacts& facts) {
  field("heap", facts.heap);
  field("device_local", facts.device_local);
  field("host_visible", facts.host_visible);
  field("host_coherent", facts.host_coherent);
  field("host_cached", facts.host_cached);
  field("special", facts.special);
}

template <typename Visitor>
void visit(Visitor& field, QueueFamilyFacts& facts) {
  field("n_queues", facts.n_queues);
  field("graphics", facts.graphics);
  field("compute", facts.compute);
  field("transfer", facts.transfer);
  field("timestamp_bits", facts.timestamp_bits);
}

template <typename Visitor>
void visit(Visitor& field, DeviceSnapshot& facts) {
  field("name", facts.name);
  field("vendor_id", facts.vendor_id);
  field("device_id", facts.device_id);
  field("type", facts.type);
  field("api_version", facts.api_version);
  field("driver_id", facts.driver_id);
  field("driver_version", facts.driver_version);
  field("driver_name", facts.driver_name);
  field("driver_info", facts.driver_info);
  field("device_uuid", facts.device_uuid);
  field("driver_uuid", facts.driver_uuid);
  field("pipeline_cache_uuid", facts.pipeline_cache_uuid);
  field("limits", facts.limits);
  field("subgroup", facts.subgroup);
  field("features", facts.features);
  field("int8_matrices", facts.int8_matrices);
  field("heaps", facts.heaps);
  field("memory_types", facts.memory_types);
  field("queue_families", facts.queue_families);
  field("extensions", facts.extensions);
}

template <typename T>
concept Structure = requires(T& value, int& visitor) {
  visit(visitor, value);
};

/// Visitor that appends every field to a JSON object.
struct Writer {
  Json object = Json::object();

  template <typename T>
  static Json value_of(T& value) {
    if constexpr (std::same_as<T, DeviceType>) {
      return device_type_text(value);
    } else if constexpr (Structure<T>) {
      Writer inner;
      visit(inner, value);
      return inner.object;
    } else {
      return value;
    }
  }
  template <typename T>
  void operator()(const char* name, T& value) {
    object[name] = value_of(value);
  }
  template <typename T>
  void operator()(const char* name, std::vector<T>& values) {
    Json list = Json::array();
    for (T& value : values) list.push_back(value_of(value));
    object[name] = std::move(list);
  }
  template <typename T, size_t N>
  void operator()(const char* name, T (&values)[N]) {
    Json list = Json::array();
    for (T& value : values) list.push_back(value_of(value));
    object[name] = std::move(list);
  }
};

/// Visitor that reads every field from a JSON object; keeps the first error.
struct Reader {
  const Json& object;
  std::string path;  // of the object, for messages
  std::optional<Error>& error;

  void fail(const std::string& where, const char* expected, const Json& found) const {
    if (error) return;
    error = Error{ErrorCode::bad_file, fmt::format("device snapshot: {}: expected {}, found {}",
                                                   where, expected, found.type_name())};
  }

  void read(const Json& json, const std::string& where, bool& value) const {
    if (!json.is_boolean()) return fail(where, "true or false", json);
    value = json.template get<bool>();
  }
  void read(const Json& json, const std::string& where, std::string& value) const {
    if (!json.is_string()) return fail(where, "a string", json);
    value = json.template get<std::string>();
  }
  void read(const Json& json, const std::string& where, float& value) const {
    if (!json.is_number()) return fail(where, "a number", json);
    value = json.template get<float>();
  }
  template <std::unsigned_integral T>
  void read(const Json& json, const std::string& where, T& value) const {
    if (!json.is_number_unsigned()) return fail(where, "an unsigned number", json);
    const auto wide = json.template get<uint64_t>();
    if (wide > std::numeric_limits<T>::max()) return fail(where, "a 32-bit number", json);
    value = static_cast<T>(wide);
  }
  void read(const Json& json, const std::string& where, DeviceType& value) const {
    for (const DeviceType type : kTypes) {
      if (!json.is_string() || json != device_type_text(type)) continue;
      value = type;
      return;
    }
    fail(where, "a device type", json);
  }
  template <Structure T>
  void read(const Json& json, const std::string& where, T& value) const {
    if (!json.is_object()) return fail(where, "an object", json);
    Reader inner{json, where + ".", error};
    visit(inner, value);
  }
  template <typename T>
  void read(const Json& json, const std::string& where, std::vector<T>& values) const {
    if (!json.is_array()) return fail(where, "a list", json);
    values.resize(json.size());
    for (size_t i = 0; i < json.size(); ++i)
      read(json[i], fmt::format("{}[{}]", where, i), values[i]);
  }
  template <typename T, size_t N>
  void read(const Json& json, const std::string& where, T (&values)[N]) const {
    if (!json.is_array() || json.size() != N) return fail(where, "a list of three", json);
    for (size_t i = 0; i < N; ++i) read(json[i], fmt::format("{}[{}]", where, i), values[i]);
  }

  template <typename T>
  void operator()(const char* name, T& value) {
    const auto found = object.find(name);
    if (found == object.end()) {
      if (!error)
        error =
            Error{ErrorCode::bad_file, fmt::format("device snapshot: {}{} is missing", path, name)};
      return;
    }
    read(*found, path + name, value);
  }
};

}  // namespace

std::string snapshot_to_json(const DeviceSnapshot& snapshot) {
  DeviceSnapshot copy = snapshot;  // one visit() serves both directions, so it takes no const
  return Writer::value_of(copy).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<DeviceSnapshot> snapshot_from_json(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object())
    return Error{ErrorCode::bad_file, "device snapshot: the text is not a JSON object"};
  DeviceSnapshot snapshot;
  std::optional<Error> error;
  Reader reader{json, "", error};
  visit(reader, snapshot);
  if (error) return *error;
  for (size_t i = 0; i < snapshot.memory_types.size(); ++i) {
    if (snapshot.memory_types[i].heap < snapshot.heaps.size()) continue;
    return Error{ErrorCode::bad_file,
                 fmt::format("device snapshot: memory_types[{}].heap: is {}, there are {} heaps", i,
                             snapshot.memory_types[i].heap, snapshot.heaps.size())};
  }
  return snapshot;
}

bool DeviceSnapshot::has_extension(const std::string& extension) const {
  return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
}

std::string api_version_text(uint32_t api_version) {
  return fmt::format("{}.{}.{}", (api_version >> 22) & 0x7fu, (api_version >> 12) & 0x3ffu,
                     api_version & 0xfffu);
}

const char* device_type_text(DeviceType type) {
  switch (type) {
    case DeviceType::integrated:
      return "integrated";
    case DeviceType::discrete:
      return "discrete";
    case DeviceType::virtual_gpu:
      return "virtual";
    case DeviceType::cpu:
      return "cpu";
    case DeviceType::other:
      return "other";
  }
  return "other";
}

}  // namespace kimberlite::vk
