// Planted NaN and infinity of every type are found, at their byte, and nothing else is.
#include "formats/verify.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "formats/gguf_writer.hpp"
#include "formats/quant.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::formats {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kColumns = 1024;
constexpr uint64_t kRows = 2100;  // more than a chunk of every type

/// A file of tensor "a" of zeros in f32 and tensor "b" of ones in `type`.
std::string write_file(const TempFolder& folder, GgmlType type) {
  GgufWriter writer;
  const uint64_t ne[] = {kColumns, kRows};
  EXPECT_TRUE(writer.add_tensor("a", GgmlType::f32, std::span(ne, 1)).ok());
  EXPECT_TRUE(writer.add_tensor("b", type, ne).ok());
  const std::vector<float> ones(kColumns, 1.0f);
  std::vector<std::byte> row(*row_bytes(type, kColumns));
  if (can_quantize(type)) quantize_row(type, ones.data(), row.data(), kColumns);
  const TensorSource source = [&](size_t index, const ByteSink& sink) -> Status {
    if (index == 0) return sink(std::vector<std::byte>(kColumns * sizeof(float)));
    for (uint64_t i = 0; i < kRows; ++i) KL_TRY(sink(row));
    return {};
  };
  const std::string path = folder.file("model.gguf");
  EXPECT_TRUE(writer.write(path, source).ok());
  return path;
}

/// What verify says of the file after bytes were changed: (offset in tensor "b", bytes).
VerifyReport verify_changed(const TempFolder& folder,
                            const std::vector<std::pair<uint64_t, std::string>>& changes,
                            uint64_t& start, uint32_t n_threads = 2) {
  std::string bytes = folder.read("model.gguf");
  start = GgufFile::open(folder.file("model.gguf"))->find_tensor("b")->offset;
  for (const auto& [offset, what] : changes) bytes.replace(start + offset, what.size(), what);
  const auto file = GgufFile::open(folder.write("changed.gguf", bytes));
  EXPECT_TRUE(file.ok());
  auto report = verify(*file, n_threads);
  EXPECT_TRUE(report.ok());
  return std::move(report).value();
}

struct Plant {
  GgmlType type;
  uint64_t offset;  // in a block
  std::string bytes;
  std::string what;
};

std::vector<Plant> plants() {
  using namespace std::string_literals;
  std::vector<Plant> plants = {
      {GgmlType::f32, 0, "\0\0\xc0\x7f"s, "value is NaN"},
      {GgmlType::f32, 0, "\0\0\x80\xff"s, "value is -Inf"},
      {GgmlType::f64, 0, "\0\0\0\0\0\0\xf0\x7f"s, "value is +Inf"},
      {GgmlType::f16, 0, "\x01\x7c"s, "value is NaN"},
      {GgmlType::bf16, 0, "\x80\x7f"s, "value is +Inf"},
      {GgmlType::mxfp4, 0, "\xff"s, "scale is NaN"},
      {GgmlType::mxfp4, 0, "\xfe\x07"s, "scale is too large for its codes"},
      {GgmlType::nvfp4, 3, "\x7f"s, "scale is NaN"},
  };
  for (const GgmlTraits& type : ggml_types()) {
    if (!can_dequantize(type.type) || type.block_elems == 1) continue;
    for (const uint32_t offset : half_offsets(type.type)) {
      plants.push_back({type.type, offset, "\0\x7c"s, "scale is +Inf"});
      plants.push_back({type.type, offset, "\xff\xff"s, "scale is NaN"});
    }
  }
  return plants;
}

TEST(Verify, FindsWhatWasPlanted) {
  const TempFolder folder;
  for (const Plant& plant : plants()) {
    const GgmlTraits& type = traits(plant.type);
    SCOPED_TRACE(testing::Message() << type.name << " " << plant.what << " at " << plant.offset);
    write_file(folder, plant.type);
    // The first block, the last one, and one in between.
    const uint64_t n_blocks = kRows * kColumns / type.block_elems;
    std::vector<std::pair<uint64_t, std::string>> changes;
    const uint64_t blocks[] = {0, n_blocks / 2 + 1, n_blocks - 1};
    for (const uint64_t block : blocks) {
      changes.emplace_back(block * type.block_bytes + plant.offset, plant.bytes);
    }
    uint64_t start = 0;
    const VerifyReport report = verify_changed(folder, changes, start);
    ASSERT_EQ(report.bad.size(), 1u);
    EXPECT_EQ(report.bad[0].tensor, 1u);
    EXPECT_EQ(report.n_bad, 3u);
    ASSERT_EQ(report.bad[0].first.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const Finding& finding = report.bad[0].first[i];
      EXPECT_EQ(finding.offset, start + changes[i].first);
      EXPECT_EQ(finding.element, blocks[i] * type.block_elems);
      EXPECT_EQ(finding.what, plant.what);
    }
  }
}

// All bytes 0xff make every number a NaN: each is counted once, by any number of threads.
TEST(Verify, LooksAtEveryBlockOnce) {
  const TempFolder folder;
  for (const GgmlTraits& type : ggml_types()) {
    if (!can_dequantize(type.type)) continue;
    write_file(folder, type.type);
    const uint64_t n_blocks = kRows * kColumns / type.block_elems;
    uint64_t per_block = half_offsets(type.type).size();
    if (per_block == 0) per_block = type.type == GgmlType::nvfp4 ? 4 : 1;
    for (const uint32_t n_threads : {1u, 2u, 5u}) {
      uint64_t start = 0;
      const std::string bad(n_blocks * type.block_bytes, '\xff');
      EXPECT_EQ(verify_changed(folder, {{0, bad}}, start, n_threads).n_bad, n_blocks * per_block)
          << type.name << ", " << n_threads << " threads";
    }
  }
}

TEST(Verify, SoundFilesHaveNoFindings) {
  const TempFolder folder;
  for (const GgmlTraits& type : ggml_types()) {
    if (!can_quantize(type.type)) continue;
    const auto file = GgufFile::open(write_file(folder, type.type));
    const auto report = verify(*file);
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->n_bad, 0u) << type.name;
    EXPECT_THAT(report->bad, IsEmpty());
    EXPECT_THAT(report->unchecked, IsEmpty());
    EXPECT_EQ(report->n_bytes, file->tensors()[0].data.size() + file->tensors()[1].data.size());
  }
}

// Large, but every value is finite; codes full of ones are no scales.
TEST(Verify, EdgesAreNoFindings) {
  using namespace std::string_literals;
  const TempFolder folder;
  uint64_t start = 0;
  write_file(folder, GgmlType::mxfp4);
  EXPECT_EQ(verify_changed(folder, {{0, "\xfe" + std::string(16, '\0')}}, start).n_bad, 0u);
  EXPECT_EQ(verify_changed(folder, {{0, "\xfc\x77"s}}, start).n_bad, 0u);
  write_file(folder, GgmlType::f16);
  EXPECT_EQ(verify_changed(folder, {{0, "\xff\x7b"s}}, start).n_bad, 0u);  // 65504
  write_file(folder, GgmlType::q4_k);
  EXPECT_EQ(verify_changed(folder, {{4, std::string(140, '\xff')}}, start).n_bad, 0u);
}

TEST(Verify, CountsAllAndKeepsTheFirst) {
  const TempFolder folder;
  write_file(folder, GgmlType::bf16);
  std::vector<std::pair<uint64_t, std::string>> changes;
  for (uint64_t i = 0; i < 100; ++i) changes.emplace_back(2 * 20'000 * i, "\xc0\x7f");
  for (const uint32_t n_threads : {1u, 7u}) {
    uint64_t start = 0;
    const VerifyReport report = verify_changed(folder, changes, start, n_threads);
    EXPECT_EQ(report.n_bad, 100u);
    ASSERT_EQ(report.bad.size(), 1u);
    std::vector<uint64_t> elements;
    for (const Finding& finding : report.bad[0].first) elements.push_back(finding.element);
    EXPECT_THAT(elements, ElementsAre(0, 20'000, 40'000, 60'000));
  }
}

TEST(Verify, UnknownTypesAndCancelling) {
  const TempFolder folder;
  const auto file = GgufFile::open(write_file(folder, GgmlType::iq2_xxs));
  const auto report = verify(*file);
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->unchecked, ElementsAre(1u));
  EXPECT_EQ(report->n_bytes, kColumns * sizeof(float));
  const auto cancelled = verify(*file, 1, [](uint64_t, uint64_t) { return false; });
  ASSERT_FALSE(cancelled.ok());
  EXPECT_EQ(cancelled.error().code, ErrorCode::cancelled);
}

}  // namespace
}  // namespace kimberlite::formats
