#include "vk/pipeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <optional>
#include <set>
#include <thread>
#include <tuple>

#include "vk/cache_file.hpp"
#include "vk/spirv.hpp"

namespace kimberlite::vk {
namespace {

VkDescriptorType descriptor_type(BindingKind kind) {
  return kind == BindingKind::uniform_texel ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                            : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

Error name_error(const PipelineSpec& spec, Error error) {
  error.message = "pipeline " + spec.name + ": " + error.message;
  return error;
}

Status make_layouts(Device& device, const PipelineSpec& spec, Pipeline& pipeline) {
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (const BindingKind kind : spec.bindings) {
    const auto index = static_cast<uint32_t>(bindings.size());
    bindings.push_back({index, descriptor_type(kind), 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  }
  auto set_info =
      vk_info<VkDescriptorSetLayoutCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO);
  set_info.bindingCount = static_cast<uint32_t>(bindings.size());
  set_info.pBindings = bindings.data();
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
  KL_VK(vkCreateDescriptorSetLayout(device.get(), &set_info, nullptr, &set_layout));
  pipeline.set_layout = {device.get(), set_layout};

  const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, spec.push_bytes};
  auto info = vk_info<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
  info.setLayoutCount = 1;
  info.pSetLayouts = &set_layout;
  info.pushConstantRangeCount = spec.push_bytes > 0 ? 1 : 0;
  info.pPushConstantRanges = &push;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  KL_VK(vkCreatePipelineLayout(device.get(), &info, nullptr, &layout));
  pipeline.layout = {device.get(), layout};
  return {};
}

/// The workgroup's width in invocations, or an error where the device cannot run it.
Result<uint32_t> check_local_size(const Device& device, const PipelineSpec& spec) {
  const auto size = find_local_size(spec.words, spec.constants);
  if (!size) {
    return Error{
        ErrorCode::invalid_argument,
        fmt::format("{} words that are no SPIR-V module with a local size", spec.words.size())};
  }
  const uint64_t invocations = uint64_t{(*size)[0]} * (*size)[1] * (*size)[2];
  const uint32_t limit = device.caps().max_workgroup_size;
  if (invocations == 0 || invocations > limit) {
    return Error{ErrorCode::unsupported,
                 fmt::format("workgroup of {}x{}x{} = {} invocations, the device has at most {}",
                             (*size)[0], (*size)[1], (*size)[2], invocations, limit)};
  }
  return (*size)[0];
}

Result<VkPipeline> compile(Device& device, const PipelineSpec& spec, VkPipelineLayout layout,
                           VkPipelineCache cache) {
  KL_ASSIGN(const uint32_t width, check_local_size(device, spec));
  auto module_info = vk_info<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
  module_info.codeSize = spec.words.size_bytes();
  module_info.pCode = spec.words.data();
  VkShaderModule raw_module = VK_NULL_HANDLE;
  KL_VK(vkCreateShaderModule(device.get(), &module_info, nullptr, &raw_module));
  const Handle<VkShaderModule, &vkDestroyShaderModule> module(device.get(), raw_module);

  std::vector<VkSpecializationMapEntry> entries;
  for (uint32_t i = 0; i < spec.constants.size(); ++i)
    entries.push_back({i, i * static_cast<uint32_t>(sizeof(uint32_t)), sizeof(uint32_t)});
  VkSpecializationInfo special{};
  special.mapEntryCount = static_cast<uint32_t>(entries.size());
  special.pMapEntries = entries.data();
  special.dataSize = spec.constants.size() * sizeof(uint32_t);
  special.pData = spec.constants.data();

  const uint32_t subgroup =
      spec.subgroup_size != 0 ? spec.subgroup_size : device.caps().subgroup_size;
  auto required = vk_info<VkPipelineShaderStageRequiredSubgroupSizeCreateInfo>(
      VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO);
  required.requiredSubgroupSize = subgroup;
  auto info = vk_info<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
  info.layout = layout;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module.get();
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &special;
  if (device.plan().require_subgroup_size) info.stage.pNext = &required;
  if (device.plan().pipeline_statistics) {
    info.flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                 VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
  }
  // Legal only for whole subgroups along x; a narrower workgroup is one partial subgroup anyway.
  if (device.plan().full_subgroups && width % subgroup == 0)
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
  VkPipeline pipeline = VK_NULL_HANDLE;
  KL_VK(vkCreateComputePipelines(device.get(), cache, 1, &info, nullptr, &pipeline));
  return pipeline;
}

}  // namespace

bool PipelineSpec::operator<(const PipelineSpec& other) const {
  const auto key = [](const PipelineSpec& spec) {
    return std::tie(spec.push_bytes, spec.subgroup_size, spec.bindings, spec.constants);
  };
  if (key(*this) != key(other)) return key(*this) < key(other);
  if (words.data() == other.words.data() && words.size() == other.words.size()) return false;
  return std::lexicographical_compare(words.begin(), words.end(), other.words.begin(),
                                      other.words.end());
}

struct PipelineCache::State {
  Device* device = nullptr;  // Borrowed from the engine.
  std::string file;
  std::string key;
  Handle<VkPipelineCache, &vkDestroyPipelineCache> cache;
  mutable std::mutex mutex;
  std::map<PipelineSpec, std::unique_ptr<Pipeline>> pipelines;  // guarded by mutex

  Result<std::unique_ptr<Pipeline>> make_pipeline(const PipelineSpec& spec);
  void set_name(const PipelineSpec& spec, const Pipeline& pipeline) const;
};

PipelineCache::PipelineCache() : state_(std::make_unique<State>()) {}
PipelineCache::~PipelineCache() = default;

Result<std::unique_ptr<PipelineCache>> PipelineCache::make(Device& device, std::string cache_file) {
  std::unique_ptr<PipelineCache> result(new PipelineCache());
  State& state = *result->state_;
  state.device = &device;
  state.file = std::move(cache_file);
  state.key = cache_key(device.snapshot());
  std::optional<std::vector<std::byte>> blob;
  if (!state.file.empty()) blob = find_cached_blob(state.file, state.key);
  auto info = vk_info<VkPipelineCacheCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO);
  // A blob without payload is left out: SwiftShader would put a second header around it.
  if (blob && blob->size() > sizeof(VkPipelineCacheHeaderVersionOne)) {
    info.initialDataSize = blob->size();
    info.pInitialData = blob->data();
  }
  VkPipelineCache cache = VK_NULL_HANDLE;
  KL_VK(vkCreatePipelineCache(device.get(), &info, nullptr, &cache));
  state.cache = {device.get(), cache};
  return result;
}

void PipelineCache::State::set_name(const PipelineSpec& spec, const Pipeline& pipeline) const {
  if (vkSetDebugUtilsObjectNameEXT == nullptr) return;
  auto info =
      vk_info<VkDebugUtilsObjectNameInfoEXT>(VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT);
  info.objectType = VK_OBJECT_TYPE_PIPELINE;
  info.objectHandle = reinterpret_cast<uint64_t>(pipeline.pipeline.get());
  info.pObjectName = spec.name.c_str();
  vkSetDebugUtilsObjectNameEXT(device->get(), &info);
}

Result<std::unique_ptr<Pipeline>> PipelineCache::State::make_pipeline(const PipelineSpec& spec) {
  const auto start = std::chrono::steady_clock::now();
  auto pipeline = std::make_unique<Pipeline>();
  if (Status made = make_layouts(*device, spec, *pipeline); !made.ok())
    return name_error(spec, std::move(made).error());
  auto compiled = compile(*device, spec, pipeline->layout.get(), cache.get());
  if (!compiled.ok()) return name_error(spec, std::move(compiled).error());
  pipeline->pipeline = {device->get(), *compiled};
  set_name(spec, *pipeline);
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  pipeline->seconds = spent.count();
  return pipeline;
}

Result<const Pipeline*> PipelineCache::get(const PipelineSpec& spec) {
  State& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    const auto found = state.pipelines.find(spec);
    if (found != state.pipelines.end()) return found->second.get();
  }
  // Compiled without the lock. If two threads race for one pipeline, the second one's copy goes.
  KL_ASSIGN(auto pipeline, state.make_pipeline(spec));
  const std::lock_guard lock(state.mutex);
  return state.pipelines.try_emplace(spec, std::move(pipeline)).first->second.get();
}

Status PipelineCache::prepare(const std::vector<PipelineSpec>& specs,
                              const std::function<void(size_t, size_t)>& progress) {
  const std::set<PipelineSpec> unique(specs.begin(), specs.end());
  const std::vector<PipelineSpec> todo(unique.begin(), unique.end());
  std::mutex mutex;  // guards `done` and `first_error`
  std::condition_variable changed;
  size_t done = 0;
  std::optional<Error> first_error;
  std::atomic<size_t> next = 0;
  const auto work = [&] {
    for (size_t i = next++; i < todo.size(); i = next++) {
      auto made = get(todo[i]);
      const std::lock_guard lock(mutex);
      ++done;
      if (!made.ok() && !first_error) {
        first_error = std::move(made).error();
        next = todo.size();  // the others stop after the pipeline in hand
      }
      changed.notify_one();
    }
  };
  const size_t n_threads =
      std::min<size_t>(todo.size(), std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < n_threads; ++i) threads.emplace_back(work);
  {
    std::unique_lock lock(mutex);
    for (size_t seen = 0; seen < todo.size() && !first_error;) {
      changed.wait(lock, [&] { return done > seen || first_error; });
      seen = done;
      if (!progress) continue;
      lock.unlock();  // the callback may be slow; the workers go on
      progress(seen, todo.size());
      lock.lock();
    }
  }
  for (std::thread& thread : threads) thread.join();
  if (first_error) return *first_error;
  return {};
}

Status PipelineCache::save() {
  State& state = *state_;
  if (state.file.empty()) return {};
  size_t n_bytes = 0;
  KL_VK(vkGetPipelineCacheData(state.device->get(), state.cache.get(), &n_bytes, nullptr));
  std::vector<std::byte> blob(n_bytes);
  KL_VK(vkGetPipelineCacheData(state.device->get(), state.cache.get(), &n_bytes, blob.data()));
  blob.resize(n_bytes);
  return write_cached_blob(state.file, state.key, blob);
}

size_t PipelineCache::n_pipelines() const {
  const std::lock_guard lock(state_->mutex);
  return state_->pipelines.size();
}

double PipelineCache::creation_seconds() const {
  double seconds = 0;
  each([&](const PipelineSpec&, const Pipeline& pipeline) { seconds += pipeline.seconds; });
  return seconds;
}

void PipelineCache::each(
    const std::function<void(const PipelineSpec&, const Pipeline&)>& visit) const {
  const std::lock_guard lock(state_->mutex);
  for (const auto& [spec, pipeline] : state_->pipelines) visit(spec, *pipeline);
}

}  // namespace kimberlite::vk
