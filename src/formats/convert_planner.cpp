// Shapes here are in GGUF order, input first; Hugging Face lists them the other way round.
#include "formats/convert_planner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/parallel.hpp"
#include "formats/encode.hpp"

namespace kimberlite::formats {
namespace {

constexpr std::string_view kMediaMarks[] = {"vision", "audio", "multi_modal"};

bool is_quantised(GgmlType type) { return traits(type).block_elems > 1; }

/// The source's elements as they are, each in its new place.
std::vector<std::byte> rearranged(const SafetensorsTensor& source,
                                  const std::function<uint64_t(uint64_t)>& order) {
  const uint64_t width = source.dtype->n_bytes;
  std::vector<std::byte> out(source.data.size());
  for (uint64_t i = 0; i < source.n_elements(); ++i) {
    std::memcpy(&out[i * width], &source.data[order(i) * width], width);
  }
  return out;
}

}  // namespace

Result<const SafetensorsTensor*> Planner::take(const std::string& source_name,
                                               std::span<const uint64_t> ne) {
  const SafetensorsTensor* source = files_.find(source_name);
  if (source == nullptr) {
    return Error{ErrorCode::bad_file, fmt::format("{}: missing, expected shape [{}]", source_name,
                                                  fmt::join(ne.rbegin(), ne.rend(), ", "))};
  }
  std::vector<uint64_t> shape(source->shape.rbegin(), source->shape.rend());
  if (shape.empty()) shape.push_back(1);  // a scalar without dimensions
  if (!std::ranges::equal(shape, ne)) {
    return Error{ErrorCode::bad_file, fmt::format("{}: expected [{}], file has [{}]", source_name,
                                                  fmt::join(ne.rbegin(), ne.rend(), ", "),
                                                  fmt::join(source->shape, ", "))};
  }
  used_.insert(source_name);
  return source;
}

Result<const SafetensorsTensor*> Planner::take_floats(const std::string& source_name,
                                                      std::span<const uint64_t> ne) {
  KL_ASSIGN(const SafetensorsTensor* source, take(source_name, ne));
  if (!source->dtype->ggml) {
    return Error{ErrorCode::unsupported, fmt::format("{}: dtype {}, convert reads F32, F16 and "
                                                     "BF16",
                                                     source_name, source->dtype->name)};
  }
  return source;
}

Status Planner::add(std::string name, const std::string& source_name, GgmlType type,
                    std::vector<uint64_t> ne) {
  KL_ASSIGN(const SafetensorsTensor* source, take_floats(source_name, ne));
  add({std::move(name), type, std::move(ne), source});
  return {};
}

GgmlType Planner::pick_matrix_type(std::string_view name, uint64_t n_in) {
  if (n_in % traits(type_).block_elems == 0) return type_;
  plan_.notes.push_back(
      fmt::format("{} is f16: its rows of {} are no multiple of {}'s blocks of {}.", name, n_in,
                  traits(type_).name, traits(type_).block_elems));
  return GgmlType::f16;
}

Status Planner::add_matrix(std::string name, const std::string& source_name,
                           std::vector<uint64_t> ne) {
  const GgmlType type = pick_matrix_type(name, ne[0]);
  return add(std::move(name), source_name, type, std::move(ne));
}

Status Planner::add_fine_matrix(std::string name, const std::string& source_name, GgmlType least,
                                std::vector<uint64_t> ne) {
  const GgmlType type = least == GgmlType::f32 || is_quantised(type_) ? least : type_;
  return add(std::move(name), source_name, type, std::move(ne));
}

Status Planner::add_rearranged(std::string name, const std::string& source_name,
                               std::span<const uint64_t> source_ne, std::vector<uint64_t> ne,
                               std::function<uint64_t(uint64_t)> order, GgmlType small) {
  KL_ASSIGN(const SafetensorsTensor* source, take_floats(source_name, source_ne));
  const GgmlType type = is_quantised(type_) ? small : GgmlType::f32;
  const auto make = [source, type, order = std::move(order)](const ByteSink& sink) {
    const std::vector<std::byte> data = rearranged(*source, order);
    return push_encoded({source->name, *source->dtype->ggml, data, type}, thread_count(0), sink);
  };
  add({std::move(name), type, std::move(ne), source, make});
  return {};
}

bool is_media_tensor(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(6);
  const std::string_view part = name.substr(0, name.find('.'));
  return std::ranges::any_of(kMediaMarks, [&](std::string_view mark) {
    return part.find(mark) != std::string_view::npos;
  });
}

Status stream_tensor(const PlannedTensor& tensor, const Safetensors& files, const ByteSink& sink) {
  if (tensor.make) {
    KL_TRY(tensor.make(sink));
  } else {
    const SafetensorsTensor& source = *tensor.source;
    KL_TRY(push_encoded({source.name, *source.dtype->ggml, source.data, tensor.type},
                        thread_count(0), sink));
  }
  if (tensor.source != nullptr) files.release(*tensor.source);
  return {};
}

}  // namespace kimberlite::formats
