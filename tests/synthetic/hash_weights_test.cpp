// The C++ hash against the values that the Python tool wrote: equal, bit for bit.
#include "synthetic/hash_weights.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "formats/quant.hpp"
#include "support/golden.hpp"
#include "synthetic/hash_blocks.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using testing::Golden;

Golden load_hash() {
  auto golden = Golden::load("hash");
  EXPECT_TRUE(golden.ok()) << golden.error().message;
  return std::move(golden).value();
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string hex;
  for (const std::byte byte : bytes) hex += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return hex;
}

TEST(HashWeights, WordsAreThoseOfPython) {
  const Golden golden = load_hash();
  const auto seed = golden.header.at("seed").get<uint64_t>();
  for (const auto& [name, words] : golden.header.at("words").items()) {
    const HashStream stream(seed, name);
    const uint64_t indices[] = {0, 1, 2, uint64_t{1} << 33};
    ASSERT_EQ(words.size(), std::size(indices));
    for (size_t i = 0; i < words.size(); ++i) {
      EXPECT_EQ(fmt::format("{:016x}", stream.word(indices[i])), words[i]) << name << " " << i;
    }
  }
}

TEST(HashWeights, ValuesAreThoseOfPython) {
  const Golden golden = load_hash();
  const auto seed = golden.header.at("seed").get<uint64_t>();
  for (const auto& [name, entry] : golden.header.at("tensors").items()) {
    const auto shape = entry.at("shape").get<std::vector<uint64_t>>();
    uint64_t n = 1;
    for (const uint64_t extent : shape) n *= extent;
    std::vector<float> values(n);
    fill_values(HashStream(seed, name), affine(name, shape.back(), entry.at("is_full").get<bool>()),
                0, values);
    const auto first = entry.at("first").get<std::vector<float>>();
    for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(values[i], first[i]) << name << " " << i;
    EXPECT_EQ(values.back(), entry.at("last").get<float>()) << name;
  }
}

TEST(HashWeights, AnyRunStartsAnywhere) {
  const HashStream stream(3, "blk.4.ffn_up.weight");
  const Affine map = affine("blk.4.ffn_up.weight", 96, false);
  std::vector<float> all(100), part(10);
  fill_values(stream, map, 0, all);
  fill_values(stream, map, 90, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 90));
}

TEST(HashWeights, StoredBytesAreThoseOfPython) {
  const Golden golden = load_hash();
  const auto seed = golden.header.at("seed").get<uint64_t>();
  const auto& entry = golden.header.at("stored");
  const auto name = entry.at("tensor").get<std::string>();
  const auto shape = entry.at("shape").get<std::vector<uint64_t>>();
  const Affine map = affine(name, shape[1], false);
  std::vector<float> values(shape[0] * shape[1]);
  fill_values(HashStream(seed, name), map, 0, values);
  for (const std::string_view type_name : {"f16", "bf16", "q8_0", "q4_0", "q4_k", "q6_k"}) {
    const GgmlType type = formats::find_ggml_type(type_name).value();
    std::vector<std::byte> bytes(formats::row_bytes(type, values.size()).value());
    if (!is_always_blocks(type)) {
      formats::quantize_row(type, values.data(), bytes.data(), values.size());
    } else {
      fill_blocks(type, HashStream(seed, fmt::format("{}#{}", name, type_name)), map.spread, 0,
                  bytes);
    }
    const auto expected = entry.at(type_name).get<std::string>();  // the end of the last row
    EXPECT_EQ(to_hex(std::span(bytes).last(expected.size() / 2)), expected) << type_name;
  }
}

TEST(HashBlocks, HaveTheSpreadOfTheirTensor) {
  const float spread = 0.05f;
  for (const std::string_view type_name : {"q4_0", "q8_0", "q4_k", "q6_k"}) {
    const GgmlType type = formats::find_ggml_type(type_name).value();
    constexpr uint64_t kCount = 65536;
    std::vector<std::byte> bytes(formats::row_bytes(type, kCount).value());
    fill_blocks(type, HashStream(1, fmt::format("x#{}", type_name)), spread, 0, bytes);
    std::vector<float> values(kCount);
    formats::dequantize_row(type, bytes.data(), values.data(), kCount);
    double sum = 0, squares = 0;
    for (const float value : values) {
      sum += value;
      squares += static_cast<double>(value) * value;
    }
    // A uniform value in [-spread, spread) has the standard deviation spread / sqrt(3). A tenth:
    // the independent jitter of q4_k's two scales adds 7.7 %.
    const double deviation = std::sqrt(squares / kCount);
    EXPECT_NEAR(deviation * std::sqrt(3.0) / spread, 1.0, 0.1) << type_name;
    EXPECT_NEAR(sum / kCount / deviation, 0.0, 0.05) << type_name;
  }
}

TEST(HashBlocks, AnyBlockStartsAnywhere) {
  for (const std::string_view type_name : {"q4_0", "q8_0", "q4_k", "q6_k"}) {
    const GgmlType type = formats::find_ggml_type(type_name).value();
    const size_t block_bytes = formats::traits(type).block_bytes;
    const HashStream stream(1, "x");
    std::vector<std::byte> all(8 * block_bytes), part(3 * block_bytes);
    fill_blocks(type, stream, 0.1f, 0, all);
    fill_blocks(type, stream, 0.1f, 5, part);
    EXPECT_EQ(to_hex(part), to_hex(std::span(all).last(part.size()))) << type_name;
  }
}

}  // namespace
}  // namespace kimberlite::synthetic
