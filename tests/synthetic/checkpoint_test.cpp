// Checkpoint to GGUF to quantised GGUF, for the tiny model of every structure: keys, names, shapes,
// types and values are the ones that other programs write for Gemma 4. The files run in
// tests/model/converted_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "formats/convert.hpp"
#include "formats/gguf.hpp"
#include "formats/quant.hpp"
#include "formats/quantize_file.hpp"
#include "support/tiny_checkpoint.hpp"
#include "synthetic/tokenizer.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using formats::GgufFile;
using formats::GgufType;
using formats::TensorInfo;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr uint64_t kSeed = 5;

/// Which layers, or which models, have a tensor.
enum class In { all, own_kv, own_v, per_layer, experts };
/// What quantisers do with it.
enum class Role { vector, matrix, router, projection };

struct Row {
  const char* name;
  std::vector<const char*> ne;  // input first
  In in;
  Role role;
};

/// Tensors beside the layers.
const std::vector<Row> kModelRows{
    {"token_embd.weight", {"n_embd", "n_vocab"}, In::all, Role::matrix},
    {"output_norm.weight", {"n_embd"}, In::all, Role::vector},
    {"rope_freqs.weight", {"half_head"}, In::all, Role::vector},
    {"per_layer_token_embd.weight", {"ple_all", "n_vocab"}, In::per_layer, Role::matrix},
    {"per_layer_model_proj.weight", {"n_embd", "ple_all"}, In::per_layer, Role::projection},
    {"per_layer_proj_norm.weight", {"ple"}, In::per_layer, Role::vector},
};

/// Tensors of blk.N.
const std::vector<Row> kLayerRows{
    {"attn_norm.weight", {"n_embd"}, In::all, Role::vector},
    {"attn_q.weight", {"n_embd", "q"}, In::all, Role::matrix},
    {"attn_k.weight", {"n_embd", "kv"}, In::own_kv, Role::matrix},
    {"attn_v.weight", {"n_embd", "kv"}, In::own_v, Role::matrix},
    {"attn_output.weight", {"q", "n_embd"}, In::all, Role::matrix},
    {"attn_q_norm.weight", {"hd"}, In::all, Role::vector},
    {"attn_k_norm.weight", {"hd"}, In::own_kv, Role::vector},
    {"post_attention_norm.weight", {"n_embd"}, In::all, Role::vector},
    {"ffn_norm.weight", {"n_embd"}, In::all, Role::vector},
    {"ffn_gate.weight", {"n_embd", "ff"}, In::all, Role::matrix},
    {"ffn_up.weight", {"n_embd", "ff"}, In::all, Role::matrix},
    {"ffn_down.weight", {"ff", "n_embd"}, In::all, Role::matrix},
    {"post_ffw_norm.weight", {"n_embd"}, In::all, Role::vector},
    {"layer_output_scale.weight", {"1"}, In::all, Role::vector},
    {"ffn_gate_inp.weight", {"n_embd", "n_expert"}, In::experts, Role::router},
    {"ffn_gate_inp.scale", {"n_embd"}, In::experts, Role::vector},
    {"pre_ffw_norm_2.weight", {"n_embd"}, In::experts, Role::vector},
    {"post_ffw_norm_1.weight", {"n_embd"}, In::experts, Role::vector},
    {"post_ffw_norm_2.weight", {"n_embd"}, In::experts, Role::vector},
    {"ffn_gate_up_exps.weight", {"n_embd", "ff_exp2", "n_expert"}, In::experts, Role::matrix},
    {"ffn_down_exps.weight", {"ff_exp", "n_embd", "n_expert"}, In::experts, Role::matrix},
    {"ffn_down_exps.scale", {"n_expert"}, In::experts, Role::vector},
    {"inp_gate.weight", {"n_embd", "ple"}, In::per_layer, Role::matrix},
    {"proj.weight", {"ple", "n_embd"}, In::per_layer, Role::matrix},
    {"post_norm.weight", {"n_embd"}, In::per_layer, Role::vector},
};

struct Expected {
  std::array<uint64_t, 4> ne{1, 1, 1, 1};
  Role role = Role::vector;
};

class Expectation {
 public:
  explicit Expectation(const ModelShape& shape) : shape_(shape) {
    for (const Row& row : kModelRows) add("", row, 0);
    for (uint32_t i = 0; i < shape.n_layers; ++i) {
      for (const Row& row : kLayerRows) add("blk." + std::to_string(i) + ".", row, i);
    }
  }
  [[nodiscard]] const std::map<std::string, Expected, std::less<>>& tensors() const {
    return tensors_;
  }

 private:
  void add(const std::string& prefix, const Row& row, uint32_t layer) {
    if (!has(row.in, layer)) return;
    Expected expected;
    expected.role = row.role;
    const auto numbers = symbols(layer);
    for (size_t i = 0; i < row.ne.size(); ++i) expected.ne[i] = numbers.at(row.ne[i]);
    tensors_.emplace(prefix + row.name, expected);
  }
  [[nodiscard]] bool has(In in, uint32_t layer) const {
    switch (in) {
      case In::all:
        return true;
      case In::own_kv:
        return shape_.owns_kv(layer);
      case In::own_v:
        return shape_.owns_kv(layer) && !(shape_.k_is_v && shape_.is_full(layer));
      case In::per_layer:
        return shape_.per_layer != 0;
      case In::experts:
        return shape_.n_experts != 0;
    }
    return false;
  }
  [[nodiscard]] std::map<std::string_view, uint64_t> symbols(uint32_t layer) const {
    const uint64_t hd = shape_.head_dim(layer);
    return {{"1", 1},
            {"n_embd", shape_.hidden},
            {"n_vocab", shape_.vocab},
            {"hd", hd},
            {"half_head", shape_.head_dim_full / 2},
            {"q", shape_.n_heads * hd},
            {"kv", shape_.n_kv(layer) * hd},
            {"ff", shape_.ffn_width(layer)},
            {"n_expert", shape_.n_experts},
            {"ff_exp", shape_.expert_ffn},
            {"ff_exp2", 2 * shape_.expert_ffn},
            {"ple", shape_.per_layer},
            {"ple_all", uint64_t{shape_.per_layer} * shape_.n_layers}};
  }

  const ModelShape& shape_;  // Borrowed from the test.
  std::map<std::string, Expected, std::less<>> tensors_;
};

/// The name of a tiny model and how many tensors it has: 14 in a dense sliding layer, 13 in a full
/// one whose keys are its values, 3 beside the layers, and so on.
struct Model {
  const char* name;
  size_t n_tensors;
};

class Checkpoint : public ::testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    const std::string folder = folder_.file("a tiny model");
    std::filesystem::create_directory(folder);
    Status status = testing::write_tiny_checkpoint(shape_, kSeed, folder);
    ASSERT_TRUE(status.ok()) << status.error().message;
    formats::ConvertOptions options;
    options.type = GgmlType::f32;
    auto report = formats::convert(folder, folder_.file("f32.gguf"), options);
    ASSERT_TRUE(report.ok()) << report.error().message;
    notes_ = report->notes;
  }
  [[nodiscard]] GgufFile open(std::string_view name) const {
    auto file = GgufFile::open(folder_.file(name));
    KL_CHECK(file.ok(), file.error().message.c_str());
    return std::move(file).value();
  }
  [[nodiscard]] GgufFile quantized(std::string_view recipe) const {
    formats::QuantizeOptions options;
    options.recipe = formats::find_recipe(recipe);
    const std::string name = std::string(recipe) + ".gguf";
    const auto report = formats::quantize(folder_.file("f32.gguf"), folder_.file(name), options);
    KL_CHECK(report.ok(), report.error().message.c_str());
    return open(name);
  }
  /// Names and shapes are the expected ones, no more and no fewer; `type` says of each tensor how
  /// it is stored.
  void expect_tensors(const GgufFile& file,
                      const std::function<GgmlType(const std::string&, const Expected&)>& type) {
    const Expectation expectation(shape_);
    EXPECT_EQ(expectation.tensors().size(), GetParam().n_tensors);
    std::set<std::string> names;
    for (const TensorInfo& tensor : file.tensors()) names.emplace(tensor.name);
    for (const auto& [name, expected] : expectation.tensors()) {
      EXPECT_EQ(names.erase(name), 1u) << name << " is missing";
      const TensorInfo* tensor = file.find_tensor(name);
      if (tensor == nullptr) continue;
      EXPECT_EQ(tensor->ne, expected.ne) << name;
      EXPECT_EQ(traits(tensor->type).name, traits(type(name, expected)).name) << name;
    }
    for (const std::string& name : names) ADD_FAILURE() << name << " is unknown";
  }
  /// Every tensor holds the checkpoint's values, rounded to its type.
  void expect_values(const GgufFile& file) const {
    for (const TensorSpec& spec : list_tensors(shape_)) {
      const TensorInfo* tensor = file.find_tensor(spec.name);
      if (tensor == nullptr) continue;  // expect_tensors knows which are needed
      const std::vector<float> values = testing::checkpoint_values(shape_, kSeed, spec);
      std::vector<std::byte> bytes(*formats::row_bytes(tensor->type, values.size()));
      formats::quantize_row(tensor->type, values.data(), bytes.data(), values.size());
      EXPECT_TRUE(std::ranges::equal(tensor->data, bytes)) << spec.name;
    }
  }
  void expect_keys(const GgufFile& file, uint32_t file_type) const;
  void expect_tokenizer(const GgufFile& file) const;

  ModelShape shape_ = find_shape(GetParam().name).value();
  TempFolder folder_;
  std::vector<std::string> notes_;
};

INSTANTIATE_TEST_SUITE_P(Tiny, Checkpoint,
                         ::testing::Values(Model{"tiny12", 5 * 14 + 2 * 13 + 3},
                                           Model{"tiny31", 10 * 14 + 2 * 13 + 3},
                                           Model{"tiny-e2b", 5 * 17 + 5 * 14 + 6},
                                           Model{"tiny-e4b", 8 * 17 + 4 * 14 + 6},
                                           Model{"tiny26", 5 * 22 + 21 + 3}),
                         [](const auto& test) {
                           std::string name = test.param.name;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

/// The number of a scalar key, and nothing else.
double number(const GgufFile& file, const std::string& key, GgufType type) {
  if (type == GgufType::u32) return *file.u32(key);
  if (type == GgufType::i32) return *file.i32(key);
  return type == GgufType::f32 ? *file.f32(key) : *file.boolean(key);
}

struct NumberKey {
  const char* key;
  GgufType type;
  double value;
};

std::vector<NumberKey> number_keys(const ModelShape& shape, uint32_t file_type) {
  using enum GgufType;
  std::vector<NumberKey> keys{
      {"general.file_type", u32, double(file_type)},
      {"general.quantization_version", u32, 2},
      {"general.sampling.top_k", i32, 64},
      {"general.sampling.top_p", f32, 0.95f},
      {"general.sampling.temp", f32, 1},
      {"gemma4.context_length", u32, double(shape.context)},
      {"gemma4.block_count", u32, double(shape.n_layers)},
      {"gemma4.embedding_length", u32, double(shape.hidden)},
      {"gemma4.attention.head_count", u32, double(shape.n_heads)},
      {"gemma4.attention.key_length", u32, 512},
      {"gemma4.attention.value_length", u32, 512},
      {"gemma4.attention.key_length_swa", u32, 256},
      {"gemma4.attention.value_length_swa", u32, 256},
      {"gemma4.attention.sliding_window", u32, double(shape.window)},
      {"gemma4.attention.shared_kv_layers", u32, double(shape.n_shared_kv)},
      {"gemma4.attention.layer_norm_rms_epsilon", f32, 1e-6f},
      {"gemma4.rope.freq_base", f32, 1e6},
      {"gemma4.rope.freq_base_swa", f32, 1e4},
      {"gemma4.rope.dimension_count", u32, 512},
      {"gemma4.rope.dimension_count_swa", u32, 256},
      {"gemma4.embedding_length_per_layer_input", u32, double(shape.per_layer)},
      {"gemma4.final_logit_softcapping", f32, 30},
      {"gemma4.vocab_size", u32, double(shape.vocab)},
      {"tokenizer.ggml.bos_token_id", u32, 2},
      {"tokenizer.ggml.eos_token_id", u32, 1},
      {"tokenizer.ggml.unknown_token_id", u32, 3},
      {"tokenizer.ggml.padding_token_id", u32, 0},
      {"tokenizer.ggml.mask_token_id", u32, 4},
      {"tokenizer.ggml.add_bos_token", boolean, 1},
      {"tokenizer.ggml.add_space_prefix", boolean, 0},
  };
  if (shape.n_experts != 0) {
    keys.push_back({"gemma4.expert_count", u32, double(shape.n_experts)});
    keys.push_back({"gemma4.expert_used_count", u32, double(shape.n_experts_used)});
    keys.push_back({"gemma4.expert_feed_forward_length", u32, double(shape.expert_ffn)});
  }
  if (!shape.double_wide) {
    keys.push_back({"gemma4.feed_forward_length", u32, double(shape.ffn)});
  }
  return keys;
}

void Checkpoint::expect_keys(const GgufFile& file, uint32_t file_type) const {
  std::set<std::string> left;
  for (const formats::GgufEntry& entry : file.entries()) left.emplace(entry.key);
  const auto take = [&](const std::string& key, GgufType type, GgufType element = GgufType::u8) {
    EXPECT_EQ(left.erase(key), 1u) << key << " is missing";
    const formats::GgufValue* value = file.find(key);
    if (value == nullptr) return false;
    EXPECT_EQ(gguf_type_name(value->type), gguf_type_name(type)) << key;
    if (type == GgufType::array) {
      EXPECT_EQ(value->element, element) << key;
    }
    return value->type == type;
  };
  for (const NumberKey& expected : number_keys(shape_, file_type)) {
    if (!take(expected.key, expected.type)) continue;
    EXPECT_EQ(number(file, expected.key, expected.type), expected.value) << expected.key;
  }
  for (const auto& [key, text] :
       {std::pair("general.architecture", "gemma4"), std::pair("general.type", "model"),
        std::pair("general.name", "a tiny model"), std::pair("tokenizer.ggml.model", "gemma4")}) {
    if (take(key, GgufType::string)) {
      EXPECT_EQ(*file.str(key), text) << key;
    }
  }
  std::vector<int32_t> n_kv, ffn;
  std::vector<bool> sliding;
  for (uint32_t i = 0; i < shape_.n_layers; ++i) {
    n_kv.push_back(static_cast<int32_t>(shape_.n_kv(i)));
    ffn.push_back(static_cast<int32_t>(shape_.ffn_width(i)));
    sliding.push_back(!shape_.is_full(i));
  }
  const auto array = [&](const char* key, GgufType element) {
    return take(key, GgufType::array, element);
  };
  if (array("gemma4.attention.head_count_kv", GgufType::i32)) {
    EXPECT_EQ(file.i32_array("gemma4.attention.head_count_kv")->to_vector(), n_kv);
  }
  if (array("gemma4.attention.sliding_window_pattern", GgufType::boolean)) {
    EXPECT_EQ(file.bool_array("gemma4.attention.sliding_window_pattern")->to_vector(), sliding);
  }
  if (shape_.double_wide && array("gemma4.feed_forward_length", GgufType::i32)) {
    EXPECT_EQ(file.i32_array("gemma4.feed_forward_length")->to_vector(), ffn);
  }
  EXPECT_TRUE(array("tokenizer.ggml.tokens", GgufType::string));
  EXPECT_TRUE(array("tokenizer.ggml.scores", GgufType::f32));
  EXPECT_TRUE(array("tokenizer.ggml.token_type", GgufType::i32));
  EXPECT_TRUE(array("tokenizer.ggml.merges", GgufType::string));
  for (const std::string& key : left) ADD_FAILURE() << key << " is unknown";
}

void Checkpoint::expect_tokenizer(const GgufFile& file) const {
  Tokenizer expected = make_tokenizer(shape_.vocab);
  constexpr int32_t kUnknown = 2;
  expected.types[3] = kUnknown;  // <unk>, which the synthetic files call a control token
  EXPECT_THAT(*file.str_array("tokenizer.ggml.tokens"), ElementsAreArray(expected.pieces));
  EXPECT_THAT(*file.str_array("tokenizer.ggml.merges"), ElementsAreArray(expected.merges));
  EXPECT_EQ(file.i32_array("tokenizer.ggml.token_type")->to_vector(), expected.types);
  EXPECT_EQ(file.f32_array("tokenizer.ggml.scores")->size(), shape_.vocab);
}

TEST_P(Checkpoint, ConvertsTensorByTensor) {
  const GgufFile file = open("f32.gguf");
  expect_tensors(file, [](const auto&, const auto&) { return GgmlType::f32; });
  expect_values(file);
  expect_keys(file, 0);
  expect_tokenizer(file);
  if (shape_.stores_unused_kv) {
    ASSERT_EQ(notes_.size(), 1u);
    EXPECT_THAT(notes_[0], HasSubstr("15 tensors that the model does not use"));
  } else {
    EXPECT_TRUE(notes_.empty());
  }
}

TEST_P(Checkpoint, QuantisesToQ8) {
  const GgufFile file = quantized("q8_0");
  expect_tensors(file, [](const std::string&, const Expected& tensor) {
    return tensor.role == Role::matrix ? GgmlType::q8_0 : GgmlType::f32;
  });
  expect_values(file);
  expect_keys(file, 7);
  expect_tokenizer(file);
}

/// Rows of tiny26: 256 in most matrices, 192 in ffn_down and 64 in ffn_down_exps, which no K type
/// divides. Of its 6 layers the third and the last get finer down projections, of the 5 value
/// projections the third and the last.
GgmlType q4_k_m_of_tiny26(const std::string& name, const Expected& tensor) {
  if (tensor.role != Role::matrix) return GgmlType::f32;
  if (name == "token_embd.weight") return GgmlType::q6_k;
  const char layer = name[4];
  const std::string_view part = std::string_view(name).substr(6);
  if (part == "attn_v.weight")
    return layer == '2' || layer == '4' ? GgmlType::q6_k : GgmlType::q4_k;
  if (part == "ffn_down.weight" || part == "ffn_down_exps.weight") {
    return layer == '2' || layer == '5' ? GgmlType::q8_0 : GgmlType::q5_0;
  }
  return GgmlType::q4_k;
}

class CheckpointPreset : public Checkpoint {};
INSTANTIATE_TEST_SUITE_P(Tiny26, CheckpointPreset,
                         ::testing::Values(Model{"tiny26", 5 * 22 + 21 + 3}));

TEST_P(CheckpointPreset, HasATypeForEveryRole) {
  const GgufFile file = quantized("q4_k_m");
  expect_tensors(file, q4_k_m_of_tiny26);
  expect_values(file);
  expect_keys(file, 15);
}

}  // namespace
}  // namespace kimberlite::synthetic
