// Whole files: quantised ones hold the source's values and metadata; what is wrong is refused
// without a trace.
#include "formats/quantize_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "formats/gguf.hpp"
#include "formats/quant.hpp"
#include "synthetic/model_file.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;
using formats::GgufFile;
using formats::TensorInfo;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

formats::QuantizeOptions with(std::string_view recipe) {
  formats::QuantizeOptions options;
  options.recipe = formats::find_recipe(recipe);
  return options;
}

class QuantizeFile : public testing::Test {
 protected:
  std::string make(std::string_view shape, ModelTypes types, std::string_view name = "in.gguf",
                   uint32_t n_layers = 6) {
    const ModelShape cut = find_shape(shape)->with_layers(n_layers);
    const Status status = write_model(cut, 5, types, folder_.file(name));
    EXPECT_TRUE(status.ok()) << status.error().message;
    return folder_.file(name);
  }
  /// The error of a call that must leave nothing behind.
  Error refusal(const std::string& in, const formats::QuantizeOptions& options) {
    const size_t n_before = folder_.n_files();
    const auto report = formats::quantize(in, folder_.file("refused.gguf"), options);
    EXPECT_EQ(folder_.n_files(), n_before);
    if (!report.ok()) return report.error();
    ADD_FAILURE() << "expected an error";
    return {ErrorCode::invalid_argument, ""};
  }

  TempFolder folder_;
};

std::vector<float> values_of(const TensorInfo& tensor) {
  std::vector<float> values(tensor.n_elements());
  formats::dequantize_row(tensor.type, tensor.data.data(), values.data(), values.size());
  return values;
}

double root_mean_square(const std::vector<float>& values) {
  double power = 0;
  for (const float value : values) power += double{value} * value;
  return std::sqrt(power / static_cast<double>(values.size()));
}

/// Root of the mean square of a - b over that of a.
double distance(const std::vector<float>& a, const std::vector<float>& b) {
  std::vector<float> error(a);
  for (size_t i = 0; i < a.size(); ++i) error[i] -= b[i];
  return root_mean_square(error) / root_mean_square(a);
}

void expect_same_metadata(const GgufFile& in, const GgufFile& out) {
  ASSERT_EQ(in.entries().size(), out.entries().size());
  for (const formats::GgufEntry& entry : in.entries()) {
    const formats::GgufValue* copy = out.find(entry.key);
    ASSERT_NE(copy, nullptr) << entry.key;
    EXPECT_EQ(copy->type, entry.value.type) << entry.key;
    EXPECT_EQ(copy->element, entry.value.element) << entry.key;
    EXPECT_EQ(copy->count, entry.value.count) << entry.key;
    if (entry.key == "general.file_type") continue;
    EXPECT_TRUE(std::ranges::equal(copy->data, entry.value.data)) << entry.key;
  }
}

// Uniform values: a code of n bits has an error of 1 / 2^n of their spread or so. The scale of q6_k
// is 4096 times smaller than the values: in the layers with the smallest ones, a subnormal f16.
double tolerance(GgmlType type, double magnitude = 0.1) {
  switch (type) {
    case GgmlType::f32:
      return 0;
    case GgmlType::f16:
      return 0x1p-11;
    case GgmlType::bf16:
      return 0x1p-8;
    case GgmlType::q8_0:
      return 0.005;
    case GgmlType::q6_k:
      return 0.025 + 4096 * 0x1p-25 / magnitude;
    case GgmlType::q5_k:
    case GgmlType::q5_0:
    case GgmlType::q5_1:
      return 0.05;
    case GgmlType::q2_k:
      return 0.4;
    case GgmlType::q3_k:
      return 0.2;
    case GgmlType::mxfp4:
      return 0.18;
    default:
      return 0.11;
  }
}

/// Every tensor and key of `out` is that of `in`, as near as the types allow.
void expect_same_model(const GgufFile& in, const GgufFile& out) {
  expect_same_metadata(in, out);
  ASSERT_EQ(in.tensors().size(), out.tensors().size());
  for (size_t i = 0; i < in.tensors().size(); ++i) {
    const TensorInfo& before = in.tensors()[i];
    const TensorInfo& after = out.tensors()[i];
    ASSERT_EQ(before.name, after.name);
    EXPECT_EQ(before.ne, after.ne) << before.name;
    const std::vector<float> values = values_of(before);
    EXPECT_LE(distance(values, values_of(after)), tolerance(after.type, root_mean_square(values)))
        << before.name << " in " << formats::traits(after.type).name;
  }
}

TEST_F(QuantizeFile, KeepsValuesAndMetadata) {
  for (const auto& [shape, n_layers] : {std::pair("tiny12-k", 2u), {"tiny26", 1u}}) {
    const std::string in_path = make(shape, GgmlType::f32, "in.gguf", n_layers);
    const auto in = GgufFile::open(in_path);
    for (const formats::Recipe& recipe : formats::recipes()) {
      SCOPED_TRACE(testing::Message() << shape << " " << recipe.name);
      formats::QuantizeOptions options = with(recipe.name);
      options.overwrite = true;
      const auto report = formats::quantize(in_path, folder_.file("out.gguf"), options);
      ASSERT_TRUE(report.ok()) << report.error().message;
      const auto out = GgufFile::open(folder_.file("out.gguf"));
      ASSERT_TRUE(out.ok()) << out.error().message;
      EXPECT_EQ(*out->u32("general.file_type"), recipe.file_type);
      EXPECT_EQ(report->types.count(recipe.type), 1u);
      expect_same_model(*in, *out);
    }
  }
}

TEST_F(QuantizeFile, ModelsWithPerLayerInputs) {
  const std::string in_path = make("tiny-e2b", GgmlType::bf16, "in.gguf", 10);
  ASSERT_TRUE(formats::quantize(in_path, folder_.file("out.gguf"), with("q4_k_m")).ok());
  const auto in = GgufFile::open(in_path);
  const auto out = GgufFile::open(folder_.file("out.gguf"));
  ASSERT_TRUE(in.ok() && out.ok());
  expect_same_model(*in, *out);
}

TEST_F(QuantizeFile, ThreadsDoNotMatter) {
  const std::string in = make("tiny26", GgmlType::bf16, "in.gguf", 2);
  for (const uint32_t n_threads : {1u, 3u, 16u}) {
    formats::QuantizeOptions options = with("q4_k_m");
    options.n_threads = n_threads;
    const auto name = std::to_string(n_threads);
    ASSERT_TRUE(formats::quantize(in, folder_.file(name), options).ok());
    EXPECT_EQ(folder_.read(name), folder_.read("1"));
  }
}

// The same bytes as when the model is written in the type at once: rows, experts and all.
TEST_F(QuantizeFile, EqualsTheQuantiserOnEveryRow) {
  formats::QuantizeOptions options = with("q4_0");
  options.embedding = GgmlType::q4_0;
  ASSERT_TRUE(formats::quantize(make("tiny26", GgmlType::f32, "in.gguf", 2), folder_.file("a.gguf"),
                                options)
                  .ok());
  const auto got = GgufFile::open(folder_.file("a.gguf"));
  const auto expected = GgufFile::open(make("tiny26", GgmlType::q4_0, "b.gguf", 2));
  ASSERT_TRUE(got.ok() && expected.ok());
  for (const TensorInfo& tensor : expected->tensors()) {
    const TensorInfo* found = got->find_tensor(tensor.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->type, tensor.type) << tensor.name;
    EXPECT_TRUE(std::ranges::equal(found->data, tensor.data)) << tensor.name;
  }
}

TEST_F(QuantizeFile, WhatIsQuantisedIsCopiedOrRefused) {
  const std::string qat = make("tiny12-k", {GgmlType::q4_0, GgmlType::q6_k});
  const auto report = formats::quantize(qat, folder_.file("copy.gguf"), with("q4_0"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(folder_.read("copy.gguf"), folder_.read("in.gguf"));
  EXPECT_THAT(report->notes, Contains(HasSubstr("q4_0 already")));
  for (const std::string_view recipe : {"q4_k_m", "q8_0", "bf16"}) {
    const Error error = refusal(qat, with(recipe));
    EXPECT_EQ(error.code, ErrorCode::unsupported);
    EXPECT_THAT(error.message, AllOf(HasSubstr("rounding twice"), Not(HasSubstr("--embedding"))));
  }
  // All q4_0, the embedding too: the recipe would round that to q6_k.
  const std::string pure = make("tiny12-k", GgmlType::q4_0, "pure.gguf");
  EXPECT_THAT(refusal(pure, with("q4_0")).message, HasSubstr("--embedding-type q4_0"));
  formats::QuantizeOptions keep = with("q4_0");
  keep.embedding = GgmlType::q4_0;
  ASSERT_TRUE(formats::quantize(pure, folder_.file("kept.gguf"), keep).ok());
  EXPECT_EQ(folder_.read("kept.gguf"), folder_.read("pure.gguf"));
}

TEST_F(QuantizeFile, FromEveryKindOfSource) {
  for (const GgmlType type : {GgmlType::f16, GgmlType::bf16, GgmlType::q8_0}) {
    const std::string in = make("tiny12-k", type);
    formats::QuantizeOptions options = with("q6_k");
    options.overwrite = true;
    ASSERT_TRUE(formats::quantize(in, folder_.file("out.gguf"), options).ok());
    const auto before = GgufFile::open(in);
    const auto after = GgufFile::open(folder_.file("out.gguf"));
    EXPECT_LE(distance(values_of(*before->find_tensor("blk.0.ffn_down.weight")),
                       values_of(*after->find_tensor("blk.0.ffn_down.weight"))),
              tolerance(GgmlType::q6_k));
  }
}

/// Tensors from `first` on, up to `end`, of `file` as one shard of two.
void write_shard(const GgufFile& file, uint16_t shard, size_t first, size_t end,
                 const std::string& path) {
  formats::GgufWriter writer;
  if (shard == 0) {
    for (const auto& entry : file.entries()) writer.set_value(entry.key, entry.value);
    writer.set_i32("split.tensors.count", static_cast<int32_t>(file.tensors().size()));
  }
  writer.set_u16("split.no", shard);
  writer.set_u16("split.count", 2);
  const auto tensors = file.tensors().subspan(first, end - first);
  for (const TensorInfo& tensor : tensors) {
    const auto ne = std::span(tensor.ne).first(tensor.n_dims);
    ASSERT_TRUE(writer.add_tensor(tensor.name, tensor.type, ne).ok());
  }
  const formats::TensorSource source = [&](size_t i, const formats::ByteSink& sink) {
    return sink(tensors[i].data);
  };
  ASSERT_TRUE(writer.write(path, source).ok());
}

TEST_F(QuantizeFile, ShardsBecomeOneFile) {
  const std::string in = make("tiny12-k", GgmlType::bf16);
  const auto whole = GgufFile::open(in);
  const size_t n = whole->tensors().size();
  write_shard(*whole, 0, 0, n / 2, folder_.file("s-00001-of-00002.gguf"));
  write_shard(*whole, 1, n / 2, n, folder_.file("s-00002-of-00002.gguf"));
  ASSERT_TRUE(formats::quantize(in, folder_.file("a.gguf"), with("q5_k_m")).ok());
  const auto report = formats::quantize(folder_.file("s-00001-of-00002.gguf"),
                                        folder_.file("b.gguf"), with("q5_k_m"));
  ASSERT_TRUE(report.ok()) << report.error().message;
  EXPECT_EQ(folder_.read("a.gguf"), folder_.read("b.gguf"));
}

TEST_F(QuantizeFile, FallbacksAreNoted) {
  const std::string in = make("tiny12", GgmlType::f32);  // rows of 96 and 192
  const auto report = formats::quantize(in, folder_.file("out.gguf"), with("q4_k_m"));
  ASSERT_TRUE(report.ok());
  EXPECT_THAT(report->notes,
              Contains(AllOf(HasSubstr("q5_0"), HasSubstr("q4_k"), HasSubstr("no multiple"))));
}

TEST_F(QuantizeFile, RefusesNumbersThatAreNone) {
  const std::string in = make("tiny12-k", GgmlType::f32);
  std::string bytes = folder_.read("in.gguf");
  const auto file = GgufFile::open(in);
  const float inf = INFINITY;
  std::memcpy(bytes.data() + file->find_tensor("blk.1.ffn_up.weight")->offset + 4 * 1000, &inf, 4);
  const Error error = refusal(folder_.write("inf.gguf", bytes), with("q4_k_m"));
  EXPECT_EQ(error.code, ErrorCode::bad_file);
  EXPECT_THAT(error.message,
              AllOf(HasSubstr("blk.1.ffn_up.weight"), HasSubstr("element 1000"), HasSubstr("inf")));
}

TEST_F(QuantizeFile, RefusesDamagedAndOtherFiles) {
  make("tiny12-k", GgmlType::f32);
  const std::string bytes = folder_.read("in.gguf");
  for (const size_t n : {size_t{0}, size_t{30}, bytes.size() / 2, bytes.size() - 1}) {
    refusal(folder_.write("cut.gguf", std::string_view(bytes).substr(0, n)), with("q4_0"));
  }
  const auto replaced = [&](std::string_view from, std::string_view to) {
    std::string changed = bytes;
    changed.replace(changed.find(from), to.size(), to);
    return folder_.write("changed.gguf", changed);
  };
  EXPECT_THAT(refusal(replaced("gemma4", "gemma9"), with("q4_0")).message, HasSubstr("gemma9"));
  EXPECT_THAT(refusal(replaced("gemma4.block_count", "gemma4.block_bount"), with("q4_0")).message,
              HasSubstr("gemma4.block_count"));
}

TEST_F(QuantizeFile, CancellingAndExistingFiles) {
  const std::string in = make("tiny12-k", GgmlType::f32);
  formats::QuantizeOptions options = with("q4_0");
  int n_calls = 0;
  options.progress = [&](uint64_t, uint64_t) { return ++n_calls < 5; };
  EXPECT_EQ(refusal(in, options).code, ErrorCode::cancelled);
  EXPECT_EQ(n_calls, 5);
  const std::string mine = folder_.write("mine.gguf", "mine");
  EXPECT_THAT(formats::quantize(in, mine, with("q4_0")).error().message,
              HasSubstr("exists already"));
  options.overwrite = true;
  n_calls = 0;
  EXPECT_EQ(formats::quantize(in, mine, options).error().code, ErrorCode::cancelled);
  EXPECT_EQ(folder_.read("mine.gguf"), "mine");
  EXPECT_THAT(formats::quantize(in, in, options).error().message, HasSubstr("input"));
}

}  // namespace
}  // namespace kimberlite::synthetic
