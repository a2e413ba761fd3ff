// The order of a conversion: read and check everything, then write once.
#include "formats/convert.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "base/numeric.hpp"
#include "base/utf8_path.hpp"
#include "formats/convert_config.hpp"
#include "formats/convert_drafter.hpp"
#include "formats/convert_media.hpp"
#include "formats/convert_tensors.hpp"
#include "formats/convert_tokenizer.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/recipe.hpp"
#include "formats/safetensors.hpp"

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

void write_general(const std::string& dir, const ConvertOptions& options, GgufWriter& writer) {
  std::filesystem::path folder = utf8_path(dir).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // a slash at the end
  writer.set_string("general.name",
                    options.name.empty() ? to_utf8(folder.filename()) : options.name);
  if (!options.description.empty()) {
    writer.set_string("general.description", options.description);
  }
  writer.set_string("general.type", options.mmproj ? "mmproj" : "model");
  writer.set_u32("general.file_type", find_recipe(traits(options.type).name)->file_type);
  writer.set_u32("general.quantization_version", 2);
}

/// Writes what was planned; `writer` has all keys.
Result<ConvertReport> write_planned(TensorPlan plan, const Safetensors& files,
                                    const std::string& out_path, const ConvertOptions& options,
                                    GgufWriter& writer) {
  ConvertReport report;
  report.notes = std::move(plan.notes);
  report.n_skipped = plan.n_skipped;
  for (const PlannedTensor& tensor : plan.tensors) {
    KL_TRY(writer.add_tensor(tensor.name, tensor.type, tensor.ne));
    uint64_t n_elements = 1;
    for (const uint64_t n : tensor.ne) n_elements *= n;
    report.n_parameters += n_elements;
    report.n_bytes += writer.tensor_bytes(report.n_tensors++);
  }
  const TensorSource source = [&](size_t index, const ByteSink& sink) {
    return stream_tensor(plan.tensors[index], files, sink);
  };
  KL_TRY(writer.write(out_path, source, options.progress));
  return report;
}

Result<ConvertReport> convert_text(const std::string& dir, const JsonObject& json,
                                   const std::string& out_path, const ConvertOptions& options) {
  KL_ASSIGN(const auto model_type, json.str("model_type"));
  KL_ASSIGN(const auto config,
            is_hf_drafter(model_type) ? read_hf_drafter(json) : read_hf_config(json));
  KL_ASSIGN(const auto files, Safetensors::open(dir));
  KL_ASSIGN(auto plan, plan_tensors(config, files, options.type));
  GgufWriter writer;
  write_hf_config(config, writer);
  if (config.is_drafter()) write_hf_drafter(config, writer);
  write_general(dir, options, writer);
  KL_TRY(write_hf_generation(dir, config, writer));
  KL_TRY(write_hf_tokenizer(dir, config, writer, plan.notes));
  return write_planned(std::move(plan), files, out_path, options, writer);
}

Result<ConvertReport> convert_media(const std::string& dir, const JsonObject& json,
                                    const std::string& out_path, const ConvertOptions& options) {
  KL_ASSIGN(const auto config, read_hf_media(json));
  KL_ASSIGN(const auto files, Safetensors::open(dir));
  KL_ASSIGN(auto plan, plan_media_tensors(config, files, options.type));
  GgufWriter writer;
  write_hf_media(config, writer);
  KL_TRY(write_hf_processor(dir, config, writer));
  write_general(dir, options, writer);
  return write_planned(std::move(plan), files, out_path, options, writer);
}

}  // namespace

Result<ConvertReport> convert(const std::string& dir, const std::string& out_path,
                              const ConvertOptions& options) {
  KL_TRY(check_request(out_path, options));
  const std::string config_path = to_utf8(utf8_path(dir) / "config.json");
  KL_ASSIGN(const auto json, read_json_object(config_path, kMaxConfigBytes));
  const JsonObject config(json, config_path);
  return options.mmproj ? convert_media(dir, config, out_path, options)
                        : convert_text(dir, config, out_path, options);
}

}  // namespace kimberlite::formats
