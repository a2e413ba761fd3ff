// VK_KHR_pipeline_executable_properties, flattened.
#include "vk/pipeline_statistics.hpp"

#include <vector>

#include "vk/handle.hpp"

namespace kimberlite::vk {
namespace {

double value_of(const VkPipelineExecutableStatisticKHR& statistic) {
  switch (statistic.format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
      return statistic.value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
      return static_cast<double>(statistic.value.i64);
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
      return static_cast<double>(statistic.value.u64);
    default:
      return statistic.value.f64;
  }
}

/// The count, then the entries, of one of Vulkan's two-call queries.
template <typename T, typename Query>
Result<std::vector<T>> query_all(VkStructureType type, const char* name, const Query& query) {
  uint32_t n = 0;
  KL_TRY(check(query(&n, nullptr), name));
  std::vector<T> all(n, vk_info<T>(type));
  KL_TRY(check(query(&n, all.data()), name));
  all.resize(n);
  return all;
}

VkPipelineExecutableInfoKHR executable_info(const Pipeline& pipeline, size_t index) {
  auto info = vk_info<VkPipelineExecutableInfoKHR>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR);
  info.pipeline = pipeline.pipeline.get();
  info.executableIndex = static_cast<uint32_t>(index);
  return info;
}

/// The texts themselves come with a second call, into memory of ours.
Status read_listings(VkDevice device, const VkPipelineExecutableInfoKHR& info,
                     PipelineStatistics& statistics) {
  using Listing = VkPipelineExecutableInternalRepresentationKHR;
  const auto query = [&](uint32_t* n, Listing* out) {
    return vkGetPipelineExecutableInternalRepresentationsKHR(device, &info, n, out);
  };
  KL_ASSIGN(std::vector<Listing> listings,
            query_all<Listing>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR,
                               "vkGetPipelineExecutableInternalRepresentationsKHR", query));
  std::vector<std::string> texts;
  for (const Listing& listing : listings) texts.emplace_back(listing.dataSize, '\0');
  for (size_t i = 0; i < listings.size(); ++i) listings[i].pData = texts[i].data();
  auto n = static_cast<uint32_t>(listings.size());
  KL_VK(vkGetPipelineExecutableInternalRepresentationsKHR(device, &info, &n, listings.data()));
  for (size_t i = 0; i < listings.size(); ++i) {
    if (listings[i].isText == VK_FALSE) continue;
    statistics.listings[listings[i].name] = texts[i].substr(0, texts[i].find('\0'));
  }
  return {};
}

}  // namespace

Result<PipelineStatistics> read_statistics(const Device& device, const Pipeline& pipeline) {
  if (!device.plan().pipeline_statistics) {
    return Error{ErrorCode::unsupported,
                 device.snapshot().name + ": the driver has no statistics of pipelines"};
  }
  auto info = vk_info<VkPipelineInfoKHR>(VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR);
  info.pipeline = pipeline.pipeline.get();
  const auto list = [&](uint32_t* n, VkPipelineExecutablePropertiesKHR* out) {
    return vkGetPipelineExecutablePropertiesKHR(device.get(), &info, n, out);
  };
  KL_ASSIGN(const std::vector<VkPipelineExecutablePropertiesKHR> executables,
            query_all<VkPipelineExecutablePropertiesKHR>(
                VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR,
                "vkGetPipelineExecutablePropertiesKHR", list));
  if (executables.empty()) {
    return Error{ErrorCode::device, device.snapshot().name + ": a pipeline without executables"};
  }
  PipelineStatistics statistics;
  statistics.subgroup_size = executables.back().subgroupSize;
  const auto last = executable_info(pipeline, executables.size() - 1);
  const auto query = [&](uint32_t* n, VkPipelineExecutableStatisticKHR* out) {
    return vkGetPipelineExecutableStatisticsKHR(device.get(), &last, n, out);
  };
  KL_ASSIGN(const std::vector<VkPipelineExecutableStatisticKHR> values,
            query_all<VkPipelineExecutableStatisticKHR>(
                VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR,
                "vkGetPipelineExecutableStatisticsKHR", query));
  for (const VkPipelineExecutableStatisticKHR& value : values) {
    statistics.values[value.name] = value_of(value);
  }
  KL_TRY(read_listings(device.get(), last, statistics));
  return statistics;
}

}  // namespace kimberlite::vk
