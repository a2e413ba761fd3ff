// What drafters' files say, which of them are refused, and which target each is for.
#include "model/drafter_config.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <functional>

#include "formats/gguf_writer.hpp"
#include "model/drafter_weights.hpp"
#include "model_fixture.hpp"

namespace kimberlite::testing {
namespace {

using ::testing::HasSubstr;

/// A file with changes, in memory.
struct Change {
  std::string architecture = "gemma4-assistant";
  std::function<void(formats::GgufWriter&)> keys = {};  // sets them anew
  std::string dropped = {};                             // a tensor
  std::function<void(std::span<std::byte>)> ordering = {};
};

class Altered {
 public:
  Altered(const std::string& shape, const Change& change) {
    const std::string path = write_tiny(shape, 1, formats::GgmlType::f32);
    {
      const auto file = require_value(formats::GgufFile::open(path));
      write(file, change);
    }
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }

  [[nodiscard]] formats::GgufFile file() const {
    return require_value(formats::GgufFile::parse(bytes_));
  }
  /// Of reading the configuration and of planning the weights, whichever comes first.
  [[nodiscard]] std::string error() const {
    const formats::GgufFile file = this->file();
    const auto config = model::read_drafter_config(file);
    if (!config.ok()) return config.error().message;
    const auto plan = model::DrafterWeights::plan(file, *config, vk::Caps{}, {});
    return plan.ok() ? "" : plan.error().message;
  }

 private:
  void write(const formats::GgufFile& file, const Change& change) {
    const std::string old = std::string(require_value(file.str("general.architecture"))) + ".";
    formats::GgufWriter writer;
    for (const formats::GgufEntry& entry : file.entries()) {
      const std::string key(entry.key);
      const bool of_model = key.starts_with(old);
      writer.set_value(of_model ? change.architecture + "." + key.substr(old.size()) : key,
                       entry.value);
    }
    writer.set_string("general.architecture", change.architecture);
    if (change.keys) change.keys(writer);
    std::vector<std::vector<std::byte>> tensors;
    for (const formats::TensorInfo& tensor : file.tensors()) {
      if (tensor.name == change.dropped) continue;
      require_ok(
          writer.add_tensor(tensor.name, tensor.type, std::span(tensor.ne).first(tensor.n_dims)));
      tensors.emplace_back(tensor.data.begin(), tensor.data.end());
      if (tensor.name == "masked_embd_ordering" && change.ordering) change.ordering(tensors.back());
    }
    require_ok(writer.write_to(
        [&](std::span<const std::byte> part) -> Status {
          bytes_.insert(bytes_.end(), part.begin(), part.end());
          return {};
        },
        [&](size_t index, const formats::ByteSink& sink) { return sink(tensors[index]); }));
  }

  std::vector<std::byte> bytes_;
};

Change with_u32(const std::string& key, uint32_t value) {
  return {.keys = [=](formats::GgufWriter& writer) {
    writer.set_u32("gemma4-assistant." + key, value);
  }};
}

Change with_token(size_t entry, int32_t token) {
  return {.ordering = [=](std::span<std::byte> bytes) {
    std::memcpy(&bytes[entry * sizeof(token)], &token, sizeof(token));
  }};
}

TEST(DrafterConfig, IsReadInEverySpelling) {
  for (const char* name : {"gemma4-assistant", "gemma4_assistant", "gemma4_mtp"}) {
    const Altered altered("tiny-e2b-drafter", {.architecture = name});
    const auto config = require_value(model::read_drafter_config(altered.file()));
    EXPECT_TRUE(model::is_drafter(altered.file()));
    EXPECT_EQ(config.target_width, 256u);
    EXPECT_EQ(config.text.width, 64u);
    EXPECT_EQ(config.text.n_layers, 4u);
    EXPECT_EQ(config.text.softcap, 0.0f);
    EXPECT_EQ(config.clusters.n, 47u);
    EXPECT_EQ(config.clusters.n_used, 5u);
    EXPECT_EQ(config.clusters.n_tokens, 11u);
    EXPECT_EQ(config.clusters.n_rows(), 64u);
  }
}

TEST(DrafterConfig, HeadIsDenseWithoutClusters) {
  const Altered altered("tiny31-drafter", with_u32("centroid_top_k", 32));
  const auto config = require_value(model::read_drafter_config(altered.file()));
  EXPECT_EQ(config.clusters.n, 0u);
}

TEST(DrafterConfig, RefusesWhatDoesNotFit) {
  const auto error = [](const Change& change, const char* shape = "tiny-e4b-drafter") {
    return Altered(shape, change).error();
  };
  EXPECT_EQ(error({}), "");
  EXPECT_EQ(error({}, "tiny12-drafter"), "");
  EXPECT_THAT(error({.architecture = "gemma4"}),
              HasSubstr("general.architecture is 'gemma4', expected 'gemma4-assistant'"));
  EXPECT_THAT(error(with_u32("embedding_length_out", 65)),
              HasSubstr("embedding_length_out: is 65, expected a multiple of 32"));
  EXPECT_THAT(error(with_u32("embedding_length_out", 96)),
              HasSubstr("nextn.pre_projection.weight: expected [32, 192], file has [32, 128]"));
  EXPECT_THAT(error(with_u32("nextn_predict_layers", 3)), HasSubstr("is 3, expected all 4 layers"));
  EXPECT_THAT(error(with_u32("attention.shared_kv_layers", 2)),
              HasSubstr("attention.shared_kv_layers: is 2, expected all 4 layers"));
  EXPECT_THAT(error(with_u32("embedding_length_per_layer_input", 64)),
              HasSubstr("embedding_length_per_layer_input is 64, a drafter has none"));
  EXPECT_THAT(error(with_u32("centroid_top_k", 10)), HasSubstr("is 10, expected 1 to 9"));
  EXPECT_THAT(error(with_u32("centroid_top_k", 0)), HasSubstr("is 0, expected 1 to 9"));
  EXPECT_THAT(error({.dropped = "masked_embd_ordering"}),
              HasSubstr("has masked_embd_centroids.weight, but no masked_embd_ordering"));
  EXPECT_THAT(error({.dropped = "masked_embd_centroids.weight"}),
              HasSubstr("has masked_embd_ordering, but no masked_embd_centroids.weight"));
  EXPECT_THAT(error({.dropped = "nextn.post_projection.weight"}),
              HasSubstr("no tensor nextn.post_projection.weight, expected one of [64, 32]"));
  EXPECT_THAT(error({.dropped = "blk.2.layer_output_scale.weight"}),
              HasSubstr("no tensor blk.2.layer_output_scale.weight, expected one of [1]"));
  EXPECT_THAT(error(with_token(7, 531)),
              HasSubstr("masked_embd_ordering: entry 7 is 531, expected each token id below 531"));
  EXPECT_THAT(error(with_token(7, -1)), HasSubstr("entry 7 is 4294967295"));
  const int32_t first = [] {
    const Altered whole("tiny-e4b-drafter", {});
    int32_t token = 0;
    std::memcpy(&token, whole.file().find_tensor("masked_embd_ordering")->data.data(),
                sizeof(token));
    return token;
  }();
  EXPECT_THAT(error(with_token(7, first)), HasSubstr(fmt::format("entry 7 is {}, exp", first)));
}

class PairTest : public ::testing::Test {
 protected:
  static model::DrafterConfig drafter(const std::string& target) {
    const Altered altered(target + "-drafter", {});
    return require_value(model::read_drafter_config(altered.file()));
  }
  static model::ModelConfig target(const std::string& name) {
    const Altered altered(name, {.architecture = "gemma4"});
    return require_value(model::read_config(altered.file()));
  }
  static std::string error(const model::DrafterConfig& drafter, const model::ModelConfig& target) {
    const auto donors = model::check_pair(drafter, target);
    if (donors.ok()) return "";
    EXPECT_EQ(donors.error().code, ErrorCode::invalid_argument);
    return donors.error().message;
  }
};

TEST_F(PairTest, DonorsAreTheLastLayersWithKeysAndValues) {
  const std::pair<const char*, model::DonorLayers> expected[] = {{"tiny12", {4, 6}},
                                                                 {"tiny31", {10, 11}},
                                                                 {"tiny26", {4, 5}},
                                                                 {"tiny-e2b", {3, 4}},
                                                                 {"tiny-e4b", {6, 7}}};
  for (const auto& [name, layers] : expected) {
    const auto donors = require_value(model::check_pair(drafter(name), target(name)));
    EXPECT_EQ(donors.sliding, layers.sliding) << name;
    EXPECT_EQ(donors.full, layers.full) << name;
  }
}

TEST_F(PairTest, RefusesAnotherTarget) {
  const model::DrafterConfig e2b = drafter("tiny-e2b");
  const model::ModelConfig right = target("tiny-e2b");
  EXPECT_THAT(error(e2b, target("tiny12")),
              HasSubstr("'synthetic tiny-e2b-drafter' is not one for 'synthetic tiny12': width of "
                        "hidden states is 256 there and 96 here"));
  const auto with = [&](const std::function<void(model::ModelConfig&)>& change) {
    model::ModelConfig other = right;
    change(other);
    return error(e2b, other);
  };
  EXPECT_EQ(with([](auto&) {}), "");
  EXPECT_THAT(with([](auto& c) { c.n_vocab = 518; }), HasSubstr("size is 517 there and 518 here"));
  EXPECT_THAT(with([](auto& c) { c.window = 17; }), HasSubstr("window is 16 there and 17 here"));
  EXPECT_THAT(with([](auto& c) { c.rope_sliding.head_dim = 512; }),
              HasSubstr("head size of sliding layers is 256 there and 512 here"));
  EXPECT_THAT(with([](auto& c) { c.rope_full.theta = 2e6; }),
              HasSubstr("RoPE base of full layers is 1000000 there and 2000000 here"));
  EXPECT_THAT(with([](auto& c) { c.rope_full.n_pairs = 256; }),
              HasSubstr("number of rotating pairs in full layers is 64 there and 256 here"));
  EXPECT_THAT(with([](auto& c) { c.layers[3].n_kv_heads = 2; }),
              HasSubstr("key and value heads of sliding layers is 1 there and 2 here"));
  EXPECT_THAT(with([](auto& c) { c.layers[4].n_kv_heads = 2; }),
              HasSubstr("key and value heads of full layers is 1 there and 2 here"));
  EXPECT_EQ(with([](auto& c) { c.layers[2].n_kv_heads = 2; }), "");  // no donor
  EXPECT_THAT(with([](auto& c) { c.n_kv_layers = 4; }),
              HasSubstr("it has full layers, and the target none with keys and values"));
}

}  // namespace
}  // namespace kimberlite::testing
