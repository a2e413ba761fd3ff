// The order of it: decide every tensor's type, refuse before anything is written, then stream.
#include "formats/quantize_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/parallel.hpp"
#include "base/utf8_path.hpp"
#include "formats/encode.hpp"
#include "formats/gguf.hpp"
#include "formats/quant.hpp"

namespace kimberlite::formats {
namespace {

constexpr std::string_view kArchitecture = "gemma4";

/// Whether rounding `type` again loses next to nothing.
bool is_exact_enough(GgmlType type) {
  return type == GgmlType::f32 || type == GgmlType::f16 || type == GgmlType::bf16 ||
         type == GgmlType::q8_0;
}

Status check_request(const std::string& in_path, const std::string& out_path,
                     const QuantizeOptions& options) {
  if (options.embedding && !can_quantize(*options.embedding)) {
    return Error{ErrorCode::invalid_argument,
                 fmt::format("type {} cannot be written", traits(*options.embedding).name)};
  }
  std::error_code ignored;  // a file that is not there is no other file
  if (std::filesystem::equivalent(utf8_path(in_path), utf8_path(out_path), ignored)) {
    return Error{ErrorCode::invalid_argument, out_path + ": is the input as well"};
  }
  return check_output(out_path, options.overwrite);
}

Result<RecipeModel> describe(const GgufFile& file) {
  KL_ASSIGN(const auto architecture, file.str("general.architecture"));
  if (architecture != kArchitecture) {
    return Error{ErrorCode::unsupported,
                 fmt::format("{}: general.architecture is '{}', expected '{}'", file.path(),
                             printable(architecture), kArchitecture)};
  }
  KL_ASSIGN(const auto n_layers, file.u32("gemma4.block_count"));
  KL_ASSIGN(const auto n_heads, file.u32("gemma4.attention.head_count"));
  constexpr std::string_view kKvHeads = "gemma4.attention.head_count_kv";
  constexpr uint32_t kMaxLayers = 512;
  if (n_layers == 0 || n_layers > kMaxLayers) {
    return file.key_error("gemma4.block_count",
                          fmt::format("expected 1 to {}, found {}", kMaxLayers, n_layers));
  }
  KL_ASSIGN(const auto n_kv, file.u32_per_layer(kKvHeads, n_layers));
  if (n_kv[0] == 0) return file.key_error(kKvHeads, "expected 1 or more, found 0");
  RecipeModel model{{}, n_layers, n_heads / n_kv[0]};
  for (const TensorInfo& tensor : file.tensors()) {
    model.tensors.push_back({tensor.name, std::span(tensor.ne).first(tensor.n_dims)});
  }
  return model;
}

/// The type of every tensor of the output, and what is worth saying about them.
class Plan {
 public:
  static Result<Plan> make(const GgufFile& file, const QuantizeOptions& options) {
    KL_ASSIGN(const RecipeModel model, describe(file));
    const auto choices = apply_recipe(*options.recipe, model, options.embedding);
    Plan plan;
    for (size_t i = 0; i < choices.size(); ++i)
      KL_TRY(plan.add(file, *options.recipe, file.tensors()[i], choices[i]));
    return plan;
  }

  [[nodiscard]] GgmlType type(size_t i) const { return types_[i]; }

  [[nodiscard]] std::vector<std::string> notes() const {
    std::vector<std::string> notes;
    for (const auto& [types, n] : fallbacks_) {
      notes.push_back(fmt::format(
          "{} tensors are {}: their rows are no multiple of {}'s blocks "
          "of {}.",
          n, traits(types.second).name, traits(types.first).name, traits(types.first).block_elems));
    }
    for (const auto& [type, n] : copied_) {
      notes.push_back(fmt::format("{} tensors were {} already and are copied bit for bit.", n,
                                  traits(type).name));
    }
    return notes;
  }

 private:
  Status add(const GgufFile& file, const Recipe& recipe, const TensorInfo& tensor,
             const std::optional<RecipeChoice>& choice) {
    const GgmlType type = choice ? choice->type : tensor.type;
    types_.push_back(type);
    if (choice && type == tensor.type && traits(type).block_elems > 1) ++copied_[type];
    if (type == tensor.type) return {};
    if (!is_exact_enough(tensor.type)) {
      return Error{ErrorCode::unsupported,
                   fmt::format("{}: {} is {} and would become {}; rounding twice loses more than "
                               "either, so take the model in f32, f16, bf16 or q8_0{}",
                               file.path(), printable(tensor.name), traits(tensor.type).name,
                               traits(type).name, hint(tensor, recipe))};
    }
    if (choice->wanted != type) ++fallbacks_[{choice->wanted, type}];
    return {};
  }

  /// For a file whose layers may well have the type that was asked for, as the embedding has.
  static std::string hint(const TensorInfo& tensor, const Recipe& recipe) {
    if (!tensor.name.ends_with("token_embd.weight") || tensor.type != recipe.type) return {};
    return fmt::format(", or keep it with --embedding-type {}", traits(tensor.type).name);
  }

  std::vector<GgmlType> types_;
  std::map<std::pair<GgmlType, GgmlType>, uint64_t> fallbacks_;  // wanted, taken: how many
  std::map<GgmlType, uint64_t> copied_;
};

Result<GgufWriter> copy_metadata(const GgufFile& file, const Recipe& recipe) {
  KL_ASSIGN(const auto alignment, file.u32_or("general.alignment", kGgufDefaultAlignment));
  GgufWriter writer(alignment);
  for (const GgufEntry& entry : file.entries()) {
    if (!entry.key.starts_with("split.")) writer.set_value(entry.key, entry.value);
  }
  writer.set_u32("general.file_type", recipe.file_type);
  writer.set_u32("general.quantization_version", 2);
  return writer;
}

}  // namespace

Result<QuantizeReport> quantize(const std::string& in_path, const std::string& out_path,
                                const QuantizeOptions& options) {
  KL_CHECK(options.recipe != nullptr, "a recipe is needed");
  KL_TRY(check_request(in_path, out_path, options));
  KL_ASSIGN(const GgufFile file, GgufFile::open(in_path));
  KL_ASSIGN(const Plan plan, Plan::make(file, options));
  KL_ASSIGN(GgufWriter writer, copy_metadata(file, *options.recipe));
  QuantizeReport report;
  report.notes = plan.notes();
  for (const TensorInfo& tensor : file.tensors()) {
    const size_t i = writer.n_tensors();
    KL_TRY(writer.add_tensor(tensor.name, plan.type(i), std::span(tensor.ne).first(tensor.n_dims)));
    QuantizeReport::Total& total = report.types[plan.type(i)];
    ++total.n_tensors;
    total.n_bytes += writer.tensor_bytes(i);
    report.n_bytes += writer.tensor_bytes(i);
    report.n_bytes_before += tensor.data.size();
  }
  const uint32_t n_threads = thread_count(options.n_threads);
  const TensorSource source = [&](size_t i, const ByteSink& sink) -> Status {
    const TensorInfo& tensor = file.tensors()[i];
    KL_TRY(
        tensor.type == plan.type(i)
            ? push_copied(tensor.data, sink)
            : push_encoded({tensor.name, tensor.type, tensor.data, plan.type(i)}, n_threads, sink));
    file.release(tensor);
    return {};
  };
  KL_TRY(writer.write(out_path, source, options.progress));
  return report;
}

}  // namespace kimberlite::formats
