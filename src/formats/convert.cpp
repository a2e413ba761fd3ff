// The order of a conversion: read and check everything, then write once.
#include "formats/convert.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/numeric.hpp"
#include "formats/convert_config.hpp"
#include "formats/convert_tensors.hpp"
#include "formats/convert_tokenizer.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/recipe.hpp"
#include "formats/safetensors.hpp"
#include "formats/utf8_path.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxConfigBytes = 4 * kMiB;

/// The types whose plain rounding is all there is to their quality.
bool can_write(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
    case GgmlType::f16:
    case GgmlType::bf16:
    case GgmlType::q8_0:
    case GgmlType::q4_0:
      return true;
    default:
      return false;
  }
}

Status check_request(const std::string& out_path, const ConvertOptions& options) {
  if (!can_write(options.type)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("convert cannot write {}; it writes f32, f16, bf16, q8_0 and q4_0",
                             traits(options.type).name)};
  }
  return check_output(out_path, options.overwrite);
}

void write_general(const std::string& dir, GgmlType type, GgufWriter& writer) {
  std::filesystem::path folder = utf8_path(dir).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // a slash at the end
  writer.set_string("general.name", to_utf8(folder.filename()));
  writer.set_string("general.type", "model");
  writer.set_u32("general.file_type", find_recipe(traits(type).name)->file_type);
  writer.set_u32("general.quantization_version", 2);
}

}  // namespace

Result<ConvertReport> convert(const std::string& dir, const std::string& out_path,
                              const ConvertOptions& options) {
  KL_TRY(check_request(out_path, options));
  const std::string config_path = to_utf8(utf8_path(dir) / "config.json");
  KL_ASSIGN(const auto json, read_json_object(config_path, kMaxConfigBytes));
  KL_ASSIGN(const auto config, read_hf_config(JsonObject(json, config_path)));
  KL_ASSIGN(const auto files, Safetensors::open(dir));
  KL_ASSIGN(auto plan, plan_tensors(config, files, options.type));

  GgufWriter writer;
  ConvertReport report;
  report.notes = std::move(plan.notes);
  report.n_skipped_media = plan.n_skipped_media;
  write_hf_config(config, writer);
  write_general(dir, options.type, writer);
  KL_TRY(write_hf_generation(dir, config, writer));
  KL_TRY(write_hf_tokenizer(dir, config, writer, report.notes));
  for (const PlannedTensor& tensor : plan.tensors) {
    KL_TRY(writer.add_tensor(tensor.name, tensor.type, tensor.ne));
    uint64_t n_elements = 1;
    for (const uint64_t n : tensor.ne) n_elements *= n;
    report.n_parameters += n_elements;
    report.n_bytes += writer.tensor_bytes(report.n_tensors++);
  }
  const TensorSource source = [&](size_t index, const ByteSink& sink) {
    return stream_tensor(plan.tensors[index], config, files, sink);
  };
  KL_TRY(writer.write(out_path, source, options.progress));
  return report;
}

}  // namespace kimberlite::formats
