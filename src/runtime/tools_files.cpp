// kimberlite/tools.hpp: what a GGUF file says.
#include <fmt/format.h>

#include <filesystem>

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "base/utf8_path.hpp"
#include "formats/gguf.hpp"
#include "kimberlite/tools.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"
#include "runtime/drafter.hpp"
#include "text/utf8.hpp"
#include "text/vocabulary.hpp"

namespace kimberlite {
namespace {

using formats::GgufType;
using formats::GgufValue;

constexpr const char* kDemonstrationModel = "pebble-Q8_0.gguf";
constexpr size_t kMaxTextBytes = 256;  // of a value that is shown
constexpr uint64_t kMaxElements = 8;   // of an array that are shown

/// Cut at a character, never inside one; broken bytes become U+FFFD.
std::string shortened(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const text::Utf8Step step = text::scan_utf8(text);
    if (out.size() + step.n_bytes > kMaxTextBytes) return out + "...";
    out += step.state == text::Utf8State::valid ? text.substr(0, step.n_bytes)
                                                : text::kReplacementCharacter;
    text.remove_prefix(step.n_bytes);
  }
  return out;
}

std::string scalar_text(GgufType type, const std::byte* at) {
  switch (type) {
    case GgufType::u8:
      return fmt::format("{}", load<uint8_t>(at));
    case GgufType::i8:
      return fmt::format("{}", load<int8_t>(at));
    case GgufType::u16:
      return fmt::format("{}", load<uint16_t>(at));
    case GgufType::i16:
      return fmt::format("{}", load<int16_t>(at));
    case GgufType::u32:
      return fmt::format("{}", load<uint32_t>(at));
    case GgufType::i32:
      return fmt::format("{}", load<int32_t>(at));
    case GgufType::f32:
      return fmt::format("{}", load<float>(at));
    case GgufType::boolean:
      return load<uint8_t>(at) != 0 ? "true" : "false";
    case GgufType::u64:
      return fmt::format("{}", load<uint64_t>(at));
    case GgufType::i64:
      return fmt::format("{}", load<int64_t>(at));
    case GgufType::f64:
      return fmt::format("{}", load<double>(at));
    default:
      return {};
  }
}

/// The first strings of an array, whose bounds the parser has checked.
std::string strings_text(const GgufValue& value, uint64_t n_shown) {
  std::string out;
  const std::byte* at = value.data.data();
  for (uint64_t i = 0; i < n_shown; ++i) {
    const auto n_bytes = static_cast<size_t>(load<uint64_t>(at));
    out += i == 0 ? "" : ", ";
    out += shortened({reinterpret_cast<const char*>(at) + sizeof(uint64_t), n_bytes});
    at += sizeof(uint64_t) + n_bytes;
  }
  return out;
}

std::string value_text(const GgufValue& value) {
  if (value.type == GgufType::string) {
    return shortened({reinterpret_cast<const char*>(value.data.data()), value.data.size()});
  }
  if (value.type != GgufType::array) return scalar_text(value.type, value.data.data());
  const uint64_t n_shown = std::min(value.count, kMaxElements);
  std::string out;
  if (value.element == GgufType::string) {
    out = strings_text(value, n_shown);
  } else {
    const uint32_t n_bytes = formats::scalar_bytes(value.element);
    for (uint64_t i = 0; i < n_shown; ++i) {
      out += i == 0 ? "" : ", ";
      out += scalar_text(value.element, value.data.data() + i * n_bytes);
    }
  }
  return fmt::format("[{}{}]", out, n_shown < value.count ? ", ..." : "");
}

MetadataEntry describe(const formats::GgufEntry& entry) {
  const GgufValue& value = entry.value;
  std::string type(formats::gguf_type_name(value.type));
  if (value.type == GgufType::array) {
    type = fmt::format("{}[{}]", formats::gguf_type_name(value.element), value.count);
  }
  return {shortened(entry.key), std::move(type), value_text(value)};
}

TensorSummary describe(const formats::TensorInfo& tensor) {
  TensorSummary summary;
  summary.name = shortened(tensor.name);
  summary.type = formats::traits(tensor.type).name;
  for (uint32_t i = tensor.n_dims; i > 0; --i) summary.shape.push_back(tensor.ne[i - 1]);
  summary.n_bytes = tensor.data.size();
  return summary;
}

std::string text_or_empty(const formats::GgufFile& file, std::string_view key) {
  const GgufValue* value = file.find(key);
  return value != nullptr && value->type == GgufType::string ? value_text(*value) : std::string();
}

/// What Model::open would find before it looks for a device, or "".
std::string why_unsupported(const formats::GgufFile& file,
                            const Result<model::ModelConfig>& config) {
  if (!config.ok()) return config.error().message;
  const auto weights = model::Weights::plan(file, *config, vk::Caps{}, {}, config->n_layers);
  if (!weights.ok()) return weights.error().message;
  if (!file.has("tokenizer.ggml.model")) return {};
  const auto vocabulary = text::read_vocabulary(file);
  return vocabulary.ok() ? std::string() : vocabulary.error().message;
}

}  // namespace

Result<FileInfo> inspect_file(const std::string& path) {
  KL_ASSIGN(const formats::GgufFile file, formats::GgufFile::open(path));
  FileInfo info;
  info.path = path;
  info.architecture = text_or_empty(file, "general.architecture");
  info.name = text_or_empty(file, "general.name");
  info.description = text_or_empty(file, "general.description");
  info.n_shards = static_cast<uint32_t>(file.n_shards());
  for (const formats::GgufEntry& entry : file.entries()) info.metadata.push_back(describe(entry));
  for (const formats::TensorInfo& tensor : file.tensors()) {
    info.tensors.push_back(describe(tensor));
    info.n_bytes += tensor.data.size();
    info.n_parameters += tensor.n_elements();
  }
  const auto config = model::read_config(file);
  info.unsupported = why_unsupported(file, config);
  if (!config.ok()) return info;
  const runtime::DrafterSearch search = runtime::find_drafter(path, *config);
  if (search.drafter) info.drafter = search.drafter->path();
  info.no_drafter = search.reason;
  return info;
}

Result<std::string> find_demonstration_model() {
  const auto program = os::program_path();
  if (!program) {
    return Error{ErrorCode::io, "no model was named, and where the program lies is not known"};
  }
  const std::filesystem::path folder = utf8_path(*program).parent_path();
  const std::filesystem::path shared = folder.parent_path() / "share" / "kimberlite";
  for (const std::filesystem::path& place : {folder, shared}) {
    std::error_code failure;
    const std::filesystem::path path = place / kDemonstrationModel;
    if (std::filesystem::is_regular_file(path, failure)) return to_utf8(path);
  }
  return Error{ErrorCode::io, fmt::format("no model was named, and {} is neither in {} nor in {}",
                                          kDemonstrationModel, to_utf8(folder), to_utf8(shared))};
}

}  // namespace kimberlite
