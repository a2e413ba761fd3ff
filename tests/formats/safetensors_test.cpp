#include "formats/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/formats/bytes.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string file_with(std::string_view header, size_t n_data) {
  return Bytes().text(header).zeros(n_data).str();
}

std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets,
                size_t n_data) {
  return file_with("{\"t\":{\"dtype\":" + std::string(dtype) + ",\"shape\":" + std::string(shape) +
                       ",\"data_offsets\":" + std::string(offsets) + "}}",
                   n_data);
}

std::string parse_error(std::string_view text) {
  const std::vector<char> exact(text.begin(), text.end());
  const auto file = Safetensors::parse(std::as_bytes(std::span(exact)));
  return file.ok() ? "" : file.error().message;
}

TEST(Safetensors, ReadsTensors) {
  const std::string header = R"({"__metadata__":{"format":"pt"},)"
                             R"("w":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
                             R"("s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   )";
  Bytes bytes;
  bytes.text(header).f32(2.5f).zeros(12);
  const auto file = Safetensors::parse(bytes.span());
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->tensors().size(), 2u);
  const SafetensorsTensor* w = file->find("w");
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(w->dtype->name, "BF16");
  EXPECT_EQ(w->dtype->ggml, GgmlType::bf16);
  EXPECT_THAT(w->shape, ElementsAre(2u, 3u));
  EXPECT_EQ(w->n_elements(), 6u);
  EXPECT_EQ(w->data.size(), 12u);
  const SafetensorsTensor* s = file->find("s");
  float value;
  std::memcpy(&value, s->data.data(), sizeof(value));
  EXPECT_EQ(value, 2.5f);
  EXPECT_EQ(s->n_elements(), 1u);
  EXPECT_EQ(file->find("none"), nullptr);
}

TEST(Safetensors, EveryTruncationIsAnError) {
  const std::string whole = one("\"F16\"", "[2,2]", "[0,8]", 8);
  ASSERT_EQ(parse_error(whole), "");
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(parse_error(std::string_view(whole).substr(0, n)), "") << n;
  }
}

TEST(Safetensors, MalformedFilesAreRefused) {
  EXPECT_THAT(parse_error(Bytes().u64(UINT64_MAX).zeros(64).str()), HasSubstr("a header of"));
  EXPECT_THAT(parse_error(Bytes().u64(100).zeros(64).str()), HasSubstr("a header of 100 bytes"));
  EXPECT_THAT(parse_error(file_with("", 0)), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error(file_with("[1]", 0)), HasSubstr("expected a JSON object, found array"));
  EXPECT_THAT(parse_error(file_with("{\"t\":1}", 0)), HasSubstr("expected an object"));
  EXPECT_THAT(parse_error(file_with("{\"t\":{}}", 0)), HasSubstr("dtype: missing"));
  EXPECT_THAT(parse_error(one("7", "[1]", "[0,4]", 4)), HasSubstr("expected a string, found 7"));
  EXPECT_THAT(parse_error(one("\"F33\"", "[1]", "[0,4]", 4)), HasSubstr("dtype F33 is not known"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[-1]", "[0,4]", 4)), HasSubstr("no unsigned integer"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[1.0]", "[0,4]", 4)), HasSubstr("no unsigned integer"));
  EXPECT_THAT(parse_error(one("\"F32\"", "2", "[0,4]", 4)), HasSubstr("expected an array"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]", 4)),
              HasSubstr("at most 8"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[1]", "[0]", 4)), HasSubstr("[0], the data has 4"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[1]", "[4,0]", 4)), HasSubstr("[4, 0]"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[2]", "[0,8]", 4)), HasSubstr("the data has 4 bytes"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[2]", "[0,4]", 4)), HasSubstr("needs 8"));
  EXPECT_THAT(parse_error(one("\"F32\"", "[4611686018427387904,4]", "[0,0]", 4)),
              HasSubstr("more than 64 bits"));
  EXPECT_THAT(parse_error(file_with(R"({"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                                    R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                                    1)),
              HasSubstr("key t appears twice"));
  EXPECT_THAT(parse_error(file_with(std::string(100000, '['), 0)), HasSubstr("nested deeper"));
  EXPECT_THAT(parse_error(file_with("{\"\xff\":1}", 0)), HasSubstr("not valid JSON"));
}

TEST(Safetensors, ShardedSetThroughTheIndex) {
  const TempFolder folder;
  folder.write("model-1.safetensors", one("\"U8\"", "[4]", "[0,4]", 4));
  folder.write("model-2.safetensors",
               file_with(R"({"u":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4));
  const std::string index = folder.write(
      "model.safetensors.index.json",
      R"({"metadata":{},"weight_map":{"t":"model-1.safetensors","u":"model-2.safetensors"}})");
  for (const std::string& path : {folder.path(), index}) {
    const auto set = Safetensors::open(path);
    ASSERT_TRUE(set.ok()) << set.error().message;
    EXPECT_EQ(set->tensors().size(), 2u);
    EXPECT_EQ(set->find("u")->shard, 1u);
    set->release(*set->find("u"));
  }
}

TEST(Safetensors, BadIndexIsRefused) {
  const TempFolder folder;
  folder.write("a.safetensors", one("\"U8\"", "[4]", "[0,4]", 4));
  folder.write("b.safetensors", one("\"U8\"", "[4]", "[0,4]", 4));
  const auto error = [&](std::string_view map) {
    const auto set = Safetensors::open(
        folder.write("model.safetensors.index.json", "{\"weight_map\":" + std::string(map) + "}"));
    return set.ok() ? "" : set.error().message;
  };
  EXPECT_EQ(error(R"({"t":"a.safetensors"})"), "");
  EXPECT_THAT(error("3"), HasSubstr("expected an object, found 3"));
  EXPECT_THAT(error(R"({"t":"../a.safetensors"})"), HasSubstr("plain name"));
  EXPECT_THAT(error(R"({"t":"c:\\a.safetensors"})"), HasSubstr("plain name"));
  EXPECT_THAT(error(R"({"t":"a.txt"})"), HasSubstr("plain name"));
  EXPECT_THAT(error(R"({"t":4})"), HasSubstr("plain name"));
  EXPECT_THAT(error(R"({"t":"none.safetensors"})"), HasSubstr("cannot open"));
  EXPECT_THAT(error(R"({"v":"a.safetensors"})"), HasSubstr("not in a.safetensors"));
  EXPECT_THAT(error(R"({"t":"a.safetensors","u":"b.safetensors"})"),
              HasSubstr("also in an earlier shard"));
  EXPECT_FALSE(Safetensors::open(folder.file("none")).ok());
}

}  // namespace
}  // namespace kimberlite::formats
