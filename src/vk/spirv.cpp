#include "vk/spirv.hpp"

#include <unordered_map>

namespace kimberlite::vk {
namespace {

constexpr uint32_t kMagic = 0x07230203;
constexpr size_t kHeaderWords = 5;

// Numbers of the SPIR-V specification, section 3.
constexpr uint32_t kOpExecutionMode = 16;
constexpr uint32_t kOpConstant = 43;
constexpr uint32_t kOpConstantComposite = 44;
constexpr uint32_t kOpSpecConstant = 50;
constexpr uint32_t kOpSpecConstantComposite = 51;
constexpr uint32_t kOpDecorate = 71;
constexpr uint32_t kOpExecutionModeId = 331;
constexpr uint32_t kModeLocalSize = 17;
constexpr uint32_t kModeLocalSizeId = 38;
constexpr uint32_t kDecorationSpecId = 1;
constexpr uint32_t kDecorationBuiltIn = 11;
constexpr uint32_t kBuiltInWorkgroupSize = 25;

using Triple = std::array<uint32_t, 3>;

/// What one pass over the module collects.
struct Module {
  std::unordered_map<uint32_t, uint32_t> spec_ids;  // result id -> specialisation constant id
  std::unordered_map<uint32_t, uint32_t> values;    // result id -> value
  std::unordered_map<uint32_t, Triple> composites;  // result id -> three result ids
  std::optional<Triple> literal_size;               // LocalSize
  std::optional<Triple> size_ids;                   // LocalSizeId
  uint32_t built_in = 0;                            // result id decorated WorkgroupSize
};

Triple triple(std::span<const uint32_t> words) { return {words[0], words[1], words[2]}; }

/// `op` is one instruction: its first word and all its operands. Decorations precede constants in
/// every module, so spec_ids is complete when the constants come.
void read_instruction(std::span<const uint32_t> op, std::span<const uint32_t> constants,
                      Module& module) {
  const size_t n = op.size();
  switch (op[0] & 0xffffu) {
    case kOpExecutionMode:
      if (n >= 6 && op[2] == kModeLocalSize) module.literal_size = triple(op.subspan(3));
      break;
    case kOpExecutionModeId:
      if (n >= 6 && op[2] == kModeLocalSizeId) module.size_ids = triple(op.subspan(3));
      break;
    case kOpDecorate:
      if (n >= 4 && op[2] == kDecorationSpecId) module.spec_ids[op[1]] = op[3];
      if (n >= 4 && op[2] == kDecorationBuiltIn && op[3] == kBuiltInWorkgroupSize)
        module.built_in = op[1];
      break;
    case kOpConstant:
      if (n >= 4) module.values[op[2]] = op[3];
      break;
    case kOpSpecConstant:
      if (n >= 4) {
        const auto id = module.spec_ids.find(op[2]);
        const bool given = id != module.spec_ids.end() && id->second < constants.size();
        module.values[op[2]] = given ? constants[id->second] : op[3];
      }
      break;
    case kOpConstantComposite:
    case kOpSpecConstantComposite:
      if (n >= 6) module.composites[op[2]] = triple(op.subspan(3));
      break;
    default:
      break;
  }
}

std::optional<Triple> resolve(const Module& module, const Triple& ids) {
  Triple size{};
  for (size_t i = 0; i < ids.size(); ++i) {
    const auto value = module.values.find(ids[i]);
    if (value == module.values.end()) return std::nullopt;
    size[i] = value->second;
  }
  return size;
}

}  // namespace

std::optional<Triple> find_local_size(std::span<const uint32_t> words,
                                      std::span<const uint32_t> constants) {
  if (words.size() < kHeaderWords || words[0] != kMagic) return std::nullopt;
  Module module;
  for (size_t at = kHeaderWords; at < words.size();) {
    const size_t n = words[at] >> 16;
    if (n == 0 || n > words.size() - at) return std::nullopt;
    read_instruction(words.subspan(at, n), constants, module);
    at += n;
  }
  // The built-in overrides both execution modes.
  const auto composite = module.composites.find(module.built_in);
  if (module.built_in != 0 && composite != module.composites.end())
    return resolve(module, composite->second);
  if (module.size_ids) return resolve(module, *module.size_ids);
  return module.literal_size;
}

}  // namespace kimberlite::vk
