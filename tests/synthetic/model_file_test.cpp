// Synthetic GGUF files open, hold what they say, and refuse what cannot be made.
#include "synthetic/model_file.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <set>

#include "formats/gguf.hpp"
#include "formats/quant.hpp"
#include "synthetic/hash_weights.hpp"
#include "synthetic/tokenizer.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using formats::GgufFile;

class ModelFile : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    path_ = (std::filesystem::temp_directory_path() /
             ("kimberlite_" + std::string(test->name()) + ".gguf"))
                .string();
  }
  void TearDown() override { std::filesystem::remove(path_); }

  Result<GgufFile> write(const ModelShape& shape, ModelTypes types, uint64_t seed = 1) {
    const Status status = write_model(shape, seed, types, path_);
    if (!status.ok()) return status.error();
    return GgufFile::open(path_);
  }

  std::string path_;
};

std::vector<float> read_values(const formats::TensorInfo& info, uint64_t n) {
  std::vector<float> values(n);
  formats::dequantize_row(info.type, info.data.data(), values.data(), n);
  return values;
}

TEST_F(ModelFile, HoldsEveryTensorOfTheShape) {
  for (const char* name : {"tiny12", "tiny31", "tiny-e2b", "tiny-e4b", "tiny26"}) {
    const ModelShape shape = find_shape(name).value();
    const auto file = write(shape, GgmlType::f32);
    ASSERT_TRUE(file.ok()) << file.error().message;
    const auto tensors = list_tensors(shape);
    ASSERT_EQ(file->tensors().size(), tensors.size());
    for (const TensorSpec& tensor : tensors) {
      const auto* info = file->find_tensor(tensor.name);
      ASSERT_NE(info, nullptr) << tensor.name;
      EXPECT_EQ(read_values(*info, tensor.n_elements()), make_values(shape, 1, tensor))
          << tensor.name;
    }
  }
}

TEST_F(ModelFile, DraftersHaveTheEndsOfOneAndNoKeys) {
  const ModelShape shape = find_shape("tiny-e2b-drafter").value();
  const auto file = write(shape, GgmlType::q8_0, 3);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(*file->str("general.architecture"), "gemma4-assistant");
  EXPECT_EQ(*file->u32("gemma4-assistant.embedding_length_out"), 256u);
  EXPECT_EQ(*file->u32("gemma4-assistant.centroid_top_k"), 5u);
  EXPECT_FALSE(file->has("gemma4-assistant.final_logit_softcapping"));
  EXPECT_EQ(file->find_tensor("blk.0.attn_k.weight"), nullptr);
  EXPECT_EQ(file->find_tensor("nextn.pre_projection.weight")->ne[0], 512u);
  EXPECT_EQ(file->find_tensor("nextn.post_projection.weight")->ne[1], 256u);
  const auto* ordering = file->find_tensor("masked_embd_ordering");
  ASSERT_NE(ordering, nullptr);
  ASSERT_EQ(ordering->type, GgmlType::i32);
  const HashStream stream(3, "masked_embd_ordering");
  std::set<int32_t> seen;
  uint64_t last = 0;
  for (uint32_t i = 0; i < shape.vocab; ++i) {
    int32_t id = 0;
    std::memcpy(&id, &ordering->data[i * sizeof(id)], sizeof(id));
    seen.insert(id);
    EXPECT_GE(stream.word(static_cast<uint64_t>(id)), last);
    last = stream.word(static_cast<uint64_t>(id));
  }
  EXPECT_EQ(seen.size(), shape.vocab);
  EXPECT_EQ(*seen.rbegin(), static_cast<int32_t>(shape.vocab) - 1);
}

TEST_F(ModelFile, FullLayersHaveOneKeyProjectionForKeysAndValues) {
  const ModelShape shape = find_shape("tiny12").value();
  const auto file = write(shape, GgmlType::f32);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->find_tensor("blk.5.attn_v.weight"), nullptr);
  EXPECT_EQ(file->find_tensor("blk.6.attn_v.weight"), nullptr);
  EXPECT_NE(file->find_tensor("blk.4.attn_v.weight"), nullptr);
  const auto n_kv = file->u32_per_layer("gemma4.attention.head_count_kv", shape.n_layers);
  ASSERT_TRUE(n_kv.ok()) << n_kv.error().message;
  EXPECT_EQ(*n_kv, (std::vector<uint32_t>{2, 2, 2, 2, 2, 1, 1}));
  EXPECT_EQ(file->u32("gemma4.attention.key_length").value(), 512u);
  EXPECT_EQ(file->u32("gemma4.attention.key_length_swa").value(), 256u);
}

TEST_F(ModelFile, StoresMatricesInTheTypeAskedForAndVectorsInFloat32) {
  const ModelShape shape = find_shape("tiny12-k").value();
  const auto file = write(shape, {GgmlType::q4_k, GgmlType::q6_k});
  ASSERT_TRUE(file.ok()) << file.error().message;
  for (const TensorSpec& tensor : list_tensors(shape)) {
    const GgmlType matrix = tensor.name == "token_embd.weight" ? GgmlType::q6_k : GgmlType::q4_k;
    EXPECT_EQ(file->find_tensor(tensor.name)->type, tensor.is_matrix ? matrix : GgmlType::f32)
        << tensor.name;
  }
}

TEST_F(ModelFile, KeepsWhatSteersExactAndFallsBackInDownProjections) {
  const auto expect = [&](const char* name, const auto& types) {
    const auto file = write(find_shape(name).value(), {GgmlType::q4_k, GgmlType::q6_k});
    ASSERT_TRUE(file.ok()) << file.error().message;
    for (const auto& [tensor, type] : types) {
      EXPECT_EQ(file->find_tensor(tensor)->type, type) << tensor;
    }
  };
  using Types = std::vector<std::pair<const char*, GgmlType>>;
  expect("tiny-e2b", Types{{"per_layer_token_embd.weight", GgmlType::q6_k},
                           {"per_layer_model_proj.weight", GgmlType::bf16},
                           {"per_layer_proj_norm.weight", GgmlType::f32},
                           {"blk.9.inp_gate.weight", GgmlType::q4_k},
                           {"blk.9.proj.weight", GgmlType::q4_k}});
  expect("tiny26", Types{{"blk.0.ffn_gate_inp.weight", GgmlType::f32},
                         {"blk.0.ffn_gate_up_exps.weight", GgmlType::q4_k},
                         {"blk.0.ffn_down_exps.weight", GgmlType::q8_0},
                         {"blk.0.ffn_down.weight", GgmlType::q8_0},
                         {"blk.0.ffn_down_exps.scale", GgmlType::f32}});
}

TEST_F(ModelFile, PerLayerShapesHaveASharingTail) {
  const ModelShape shape = find_shape("tiny-e2b").value();
  const auto file = write(shape, GgmlType::f32);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->u32("gemma4.attention.shared_kv_layers").value(), 5u);
  EXPECT_EQ(file->u32("gemma4.embedding_length_per_layer_input").value(), 256u);
  EXPECT_EQ(file->u32_per_layer("gemma4.feed_forward_length", 10).value(),
            (std::vector<uint32_t>{512, 512, 512, 512, 512, 1024, 1024, 1024, 1024, 1024}));
  EXPECT_NE(file->find_tensor("blk.4.attn_v.weight"), nullptr);
  EXPECT_NE(file->find_tensor("blk.9.attn_k.weight"), nullptr);  // stored, though of no use
  for (const TensorSpec& tensor : list_tensors(find_shape("tiny-e4b").value())) {
    EXPECT_NE(tensor.name, "blk.9.attn_k.weight");
  }
}

/// The counts that are known of released files.
TEST(SyntheticShapes, HaveTheTensorsOfTheReleasedFiles) {
  const auto count = [](const char* name) { return list_tensors(find_shape(name).value()).size(); };
  EXPECT_EQ(count("12b"), 667u);
  EXPECT_EQ(count("31b"), 833u);
  EXPECT_EQ(count("e2b"), 601u);
  EXPECT_EQ(count("26b"), 658u);
}

TEST_F(ModelFile, SplitExpertsAreTheHalvesOfTheFusedOnes) {
  ModelShape shape = find_shape("tiny26").value();
  shape.n_layers = 1;
  for (const GgmlType type : {GgmlType::f32, GgmlType::q4_0, GgmlType::q4_k}) {
    shape.split_experts = false;
    const auto read = [&](const char* name) {
      const auto file = GgufFile::open(path_);
      EXPECT_TRUE(file.ok());
      const auto* info = file->find_tensor(name);
      return std::string(reinterpret_cast<const char*>(info->data.data()), info->data.size());
    };
    ASSERT_TRUE(write(shape, type).ok());
    const std::string fused = read("blk.0.ffn_gate_up_exps.weight");
    shape.split_experts = true;
    ASSERT_TRUE(write(shape, type).ok());
    const std::string gate = read("blk.0.ffn_gate_exps.weight");
    const std::string up = read("blk.0.ffn_up_exps.weight");
    ASSERT_EQ(gate.size() + up.size(), fused.size());
    const size_t n = gate.size() / shape.n_experts;
    std::string joined;
    for (size_t i = 0; i < shape.n_experts; ++i) {
      joined += gate.substr(i * n, n) + up.substr(i * n, n);
    }
    EXPECT_TRUE(joined == fused) << formats::traits(type).name;
  }
}

TEST_F(ModelFile, ChunksOfLargeTensorsJoinWithoutASeam) {
  ModelShape shape = find_shape("tiny12").value();
  shape.n_layers = 1;
  shape.vocab = 32768;  // 3.1M elements: three chunks, still exact hash values
  const auto file = write(shape, GgmlType::f16);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const TensorSpec table = list_tensors(shape).front();
  std::vector<float> expected = make_values(shape, 1, table);
  std::vector<std::byte> stored(expected.size() * 2);
  formats::quantize_row(GgmlType::f16, expected.data(), stored.data(), expected.size());
  const auto* info = file->find_tensor(table.name);
  ASSERT_EQ(info->data.size(), stored.size());
  EXPECT_EQ(std::memcmp(info->data.data(), stored.data(), stored.size()), 0);
}

TEST_F(ModelFile, NamesWhatItCannotMake) {
  ModelShape shape = find_shape("tiny12").value();
  const Status type = write_model(shape, 1, GgmlType::iq2_s, path_);
  ASSERT_FALSE(type.ok());
  EXPECT_NE(type.error().message.find("iq2_s"), std::string::npos) << type.error().message;
  EXPECT_FALSE(write_model(shape, 1, GgmlType::q4_k, path_).ok());  // rows of 96
  const Status layers = write_model(find_shape("e4b")->with_layers(6), 1, GgmlType::f32, path_);
  ASSERT_FALSE(layers.ok());
  EXPECT_NE(layers.error().message.find("the last 2 share"), std::string::npos)
      << layers.error().message;
  shape.vocab = 500;
  const Status vocab = write_model(shape, 1, GgmlType::f32, path_);
  ASSERT_FALSE(vocab.ok());
  EXPECT_NE(vocab.error().message.find("500"), std::string::npos) << vocab.error().message;
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST(SyntheticTokenizer, PiecesAreDistinctAndMergesConsistent) {
  for (const uint32_t vocab : {kMinVocab, 517u, 8192u, 262144u}) {
    const Tokenizer tokenizer = make_tokenizer(vocab);
    ASSERT_EQ(tokenizer.pieces.size(), vocab);
    const std::set<std::string> pieces(tokenizer.pieces.begin(), tokenizer.pieces.end());
    EXPECT_EQ(pieces.size(), vocab);
    EXPECT_FALSE(pieces.contains(""));
    EXPECT_GT(tokenizer.merges.size(), 50u);
    for (const std::string& merge : tokenizer.merges) {
      const size_t space = merge.find(' ', 1);
      ASSERT_NE(space, std::string::npos);
      const std::string left = merge.substr(0, space), right = merge.substr(space + 1);
      EXPECT_TRUE(pieces.contains(left) && pieces.contains(right) && pieces.contains(left + right))
          << merge;
    }
    EXPECT_EQ(tokenizer.pieces[2], "<bos>");
    EXPECT_EQ(tokenizer.pieces[106], "<turn|>");
    EXPECT_EQ(tokenizer.pieces[238 + 0xE2], "<0xE2>");
    EXPECT_EQ(tokenizer.types[238 + 0xE2], 6);
  }
  EXPECT_EQ(make_tokenizer(262144).pieces[258880], "<|image|>");
}

}  // namespace
}  // namespace kimberlite::synthetic
