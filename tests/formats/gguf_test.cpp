// Typed access, and every malformed file that the reader must refuse by name.
#include "formats/gguf.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "tests/formats/bytes.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::formats {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr uint64_t k2To62 = uint64_t{1} << 62;

// Parses a copy whose heap block ends where the file ends, so that a sanitizer sees any overrun.
std::string parse_error(std::string_view text) {
  const std::vector<char> exact(text.begin(), text.end());
  const auto file = GgufFile::parse(std::as_bytes(std::span(exact)));
  return file.ok() ? "" : file.error().message;
}
std::string parse_error(const Bytes& bytes) { return parse_error(bytes.str()); }

// A file with one of most things, all valid.
Bytes good_file() {
  Bytes b;
  b.gguf_header(2, 5).key_u32("general.alignment", 32).key("s", 8).text("text");
  b.key("strings", 9).u32(8).u64(2).text("ab").text("");
  b.key("bools", 9).u32(7).u64(3).u8(1).u8(0).u8(1);
  b.key("i32s", 9).u32(5).u64(2).u32(1).u32(0xffffffff);
  b.tensor("a", {32, 2}, 2, 0).tensor("b", {3}, 0, 64).pad(32);
  return b.zeros(64).zeros(12);
}

// One tensor "t" in a file with `n_data` bytes of data.
Bytes one_tensor(std::initializer_list<uint64_t> ne, uint32_t type, uint64_t offset,
                 size_t n_data) {
  Bytes b;
  return b.gguf_header(1, 0).tensor("t", ne, type, offset).pad(32).zeros(n_data);
}

TEST(Gguf, GoodFileParses) {
  const Bytes bytes = good_file();
  const auto file = GgufFile::parse(bytes.span());
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(file->n_shards(), 1u);
  EXPECT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->find_tensor("a")->type, GgmlType::q4_0);
  EXPECT_EQ(file->find_tensor("b")->data.size(), 12u);
  EXPECT_THAT(*file->str_array("strings"), ElementsAre("ab", ""));
  EXPECT_THAT(file->bool_array("bools")->to_vector(), ElementsAre(true, false, true));
  EXPECT_THAT(file->i32_array("i32s")->to_vector(), ElementsAre(1, -1));
}

TEST(Gguf, VersionTwoHasTheSameLayout) {
  Bytes b;
  b.gguf_header(0, 1, 2).key_u32("n", 7);
  const auto file = GgufFile::parse(b.span());
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(*file->u32("n"), 7u);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const std::string whole = good_file().str();
  ASSERT_EQ(parse_error(whole), "");
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_NE(parse_error(std::string_view(whole).substr(0, n)), "") << n << " bytes";
  }
}

// Not every change makes a file wrong, but none may crash or read outside it.
TEST(Gguf, EveryByteMayTakeAnyExtremeValue) {
  const std::string whole = good_file().str();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const int value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::string changed = whole;
      changed[i] = static_cast<char>(value);
      const std::vector<char> exact(changed.begin(), changed.end());
      const auto file = GgufFile::parse(std::as_bytes(std::span(exact)));
      if (!file.ok()) continue;
      for (const GgufEntry& entry : file->entries()) (void)file->str_array(entry.key);
      for (const TensorInfo& tensor : file->tensors()) {
        EXPECT_LE(tensor.offset + tensor.data.size(), exact.size());
      }
    }
  }
}

TEST(Gguf, TypedAccessNeverCasts) {
  const Bytes bytes = good_file();
  const auto file = GgufFile::parse(bytes.span());
  ASSERT_TRUE(file.ok());
  EXPECT_THAT(file->f32("general.alignment").error().message,
              HasSubstr("key general.alignment: expected f32, found u32"));
  EXPECT_THAT(file->i32("general.alignment").error().message, HasSubstr("expected i32, found u32"));
  EXPECT_THAT(file->u32("s").error().message, HasSubstr("expected u32, found string"));
  EXPECT_THAT(file->f32_array("i32s").error().message,
              HasSubstr("expected array of f32, found array of 2 i32"));
  EXPECT_THAT(file->str_array("s").error().message,
              HasSubstr("expected array of string, found string"));
  EXPECT_THAT(file->u32("none").error().message, HasSubstr("key none: missing, expected u32"));
  EXPECT_EQ(*file->u32_or("none", 5), 5u);
  EXPECT_FALSE(file->u32_or("s", 5).ok());
  EXPECT_EQ(*file->str_or("none", "x"), "x");
  EXPECT_EQ(*file->boolean_or("none", true), true);
  EXPECT_EQ(*file->f32_or("none", 2.0f), 2.0f);
}

TEST(Gguf, PerLayerNumbers) {
  Bytes b;
  b.gguf_header(0, 3).key_u32("same", 4).key("each", 9).u32(5).u64(3).u32(1).u32(2).u32(3);
  b.key("negative", 9).u32(5).u64(1).u32(0xffffffff);
  const auto file = GgufFile::parse(b.span());
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_THAT(*file->u32_per_layer("same", 2), ElementsAre(4u, 4u));
  EXPECT_THAT(*file->u32_per_layer("each", 3), ElementsAre(1u, 2u, 3u));
  EXPECT_THAT(file->u32_per_layer("each", 4).error().message, HasSubstr("4 layers, found 3"));
  EXPECT_THAT(file->u32_per_layer("negative", 1).error().message, HasSubstr("-1"));
  EXPECT_FALSE(file->u32_per_layer("none", 1).ok());
}

TEST(GgufMalformed, Header) {
  EXPECT_THAT(parse_error(Bytes().raw("GGML").zeros(20)), HasSubstr("begins with \"GGML\""));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 0, 1)), HasSubstr("version 1"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 0, 0)), HasSubstr("version 0"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 0, 4)), HasSubstr("version 4"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 0, 0x03000000)), HasSubstr("big-endian"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(UINT64_MAX, 0)), HasSubstr("the tensor count is"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, UINT64_MAX)), HasSubstr("the key count is"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 60000)), HasSubstr("only 0 bytes left"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, k2To62)), HasSubstr("allowed are 65536"));
}

TEST(GgufMalformed, Keys) {
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key_u32("", 1)), HasSubstr("empty name"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 2).key_u32("k", 1).key_u32("k", 2)),
              AllOf(HasSubstr("byte 41"), HasSubstr("key k appears twice")));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).u64(UINT64_MAX).zeros(16)),
              HasSubstr("allowed are 65535"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("k", 13).zeros(8)),
              HasSubstr("value type 13 does not exist"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("k", 8).u64(k2To62).zeros(8)),
              HasSubstr("key k has 4611686018427387904 bytes"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("k", 8).u64(9).zeros(8)),
              HasSubstr("needs 9 bytes, the file has 8 left"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("k", 7).u8(2)), HasSubstr("a bool is 2"));
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("\x1b[2J", 13).zeros(8)),
              HasSubstr("\\x1b[2J"));
}

TEST(GgufMalformed, Arrays) {
  const auto array = [](uint32_t element, uint64_t count) {
    return Bytes().gguf_header(0, 1).key("k", 9).u32(element).u64(count);
  };
  EXPECT_THAT(parse_error(array(9, 1).u32(4).u64(0)), HasSubstr("arrays of arrays"));
  EXPECT_THAT(parse_error(array(14, 1).zeros(64)), HasSubstr("element type 14"));
  EXPECT_THAT(parse_error(array(4, UINT64_MAX)), HasSubstr("an array of 18446744073709551615"));
  EXPECT_THAT(parse_error(array(12, k2To62)), HasSubstr("the file has 0 bytes left"));
  EXPECT_THAT(parse_error(array(8, 3).text("").text("")), HasSubstr("3 elements"));
  EXPECT_THAT(parse_error(array(8, 2).text("").u64(1)), HasSubstr("element 1 of 2"));
  EXPECT_THAT(parse_error(array(8, 2).text("").u64(UINT64_MAX).zeros(8)),
              HasSubstr("element 1 of 2 needs 18446744073709551615"));
  EXPECT_THAT(parse_error(array(7, 3).u8(0).u8(1).u8(255)), HasSubstr("a bool is 255"));
  EXPECT_EQ(parse_error(array(4, 0)), "");
}

TEST(GgufMalformed, Alignment) {
  for (const uint32_t bad : {0u, 1u, 4u, 24u, 33u, 1u << 22, 1u << 31, 0xffffffffu}) {
    EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key_u32("general.alignment", bad)),
                HasSubstr("expected a power of two from 8"))
        << bad;
  }
  EXPECT_THAT(parse_error(Bytes().gguf_header(0, 1).key("general.alignment", 10).u64(32)),
              HasSubstr("expected u32, found u64"));
}

TEST(GgufMalformed, TensorNamesAndTypes) {
  const auto named = [](std::string_view name) {
    return Bytes().gguf_header(1, 0).tensor(name, {1}, 0, 0).pad(32).zeros(4);
  };
  EXPECT_EQ(parse_error(named(std::string(63, 'n'))), "");
  EXPECT_THAT(parse_error(named(std::string(64, 'n'))), HasSubstr("64 bytes, allowed are 63"));
  EXPECT_THAT(parse_error(named("")), HasSubstr("empty name"));
  EXPECT_THAT(parse_error(Bytes()
                              .gguf_header(2, 0)
                              .tensor("t", {1}, 0, 0)
                              .tensor("t", {1}, 0, 32)
                              .pad(32)
                              .zeros(64)),
              HasSubstr("tensor t appears twice"));
  for (const uint32_t id : {4u, 5u, 31u, 38u, 43u, 0xffffffffu}) {
    EXPECT_THAT(parse_error(one_tensor({256}, id, 0, 4096)),
                HasSubstr("tensor t: tensor type " + std::to_string(id)));
  }
}

TEST(GgufMalformed, Shapes) {
  EXPECT_THAT(parse_error(one_tensor({}, 0, 0, 64)), HasSubstr("0 dimensions"));
  EXPECT_THAT(parse_error(one_tensor({1, 1, 1, 1, 1}, 0, 0, 64)), HasSubstr("5 dimensions"));
  EXPECT_THAT(parse_error(one_tensor({UINT64_MAX}, 0, 0, 64)), HasSubstr("overflow"));
  EXPECT_THAT(parse_error(one_tensor({k2To62, 4}, 0, 0, 64)), HasSubstr("overflow"));
  EXPECT_THAT(parse_error(one_tensor({k2To62, k2To62, 0}, 0, 0, 64)), HasSubstr("overflow"));
  EXPECT_THAT(parse_error(one_tensor({0, k2To62, k2To62}, 0, 0, 64)), HasSubstr("overflow"));
  EXPECT_THAT(parse_error(one_tensor({k2To62 + 1}, 28, 0, 64)), HasSubstr("overflow"));
  EXPECT_THAT(parse_error(one_tensor({33}, 2, 0, 64)), HasSubstr("multiple of 32"));
  EXPECT_THAT(parse_error(one_tensor({128}, 12, 0, 1024)), HasSubstr("multiple of 256"));
  EXPECT_EQ(parse_error(one_tensor({0, 7}, 0, 0, 0)), "");
}

TEST(GgufMalformed, Placement) {
  EXPECT_EQ(parse_error(one_tensor({8}, 0, 32, 64)), "");  // a gap in front is tolerated
  EXPECT_THAT(parse_error(one_tensor({8}, 0, 4, 64)), HasSubstr("no multiple of the alignment 32"));
  EXPECT_THAT(parse_error(one_tensor({9}, 0, 0, 32)),
              AllOf(HasSubstr("tensor t: 36 bytes at data offset 0"), HasSubstr("truncated")));
  EXPECT_THAT(parse_error(one_tensor({8}, 0, 64, 64)), HasSubstr("truncated"));
  EXPECT_THAT(parse_error(one_tensor({8}, 0, UINT64_MAX - 31, 64)), HasSubstr("truncated"));
  EXPECT_THAT(parse_error(one_tensor({k2To62 / 4}, 0, 0, 64)), HasSubstr("truncated"));
  const auto two = [](uint64_t first, uint64_t second) {
    return Bytes()
        .gguf_header(2, 0)
        .tensor("a", {16}, 0, first)
        .tensor("b", {16}, 0, second)
        .pad(32)
        .zeros(128);
  };
  EXPECT_EQ(parse_error(two(0, 64)), "");
  EXPECT_EQ(parse_error(two(64, 0)), "");
  EXPECT_THAT(parse_error(two(0, 32)), HasSubstr("tensor b begins inside tensor a"));
  EXPECT_THAT(parse_error(two(32, 0)), HasSubstr("tensor a begins inside tensor b"));
  EXPECT_THAT(parse_error(two(0, 0)), HasSubstr("begins inside"));
}

// Shard `no` of `count`, holding one tensor of the given name.
std::string shard(uint16_t no, uint16_t count, std::string_view tensor, int32_t n_tensors) {
  Bytes b;
  b.gguf_header(1, 3).key_u16("split.no", no).key_u16("split.count", count);
  b.key_i32("split.tensors.count", n_tensors);
  return b.tensor(tensor, {2}, 0, 0).pad(32).f32(no).f32(1).str();
}

std::string open_error(const std::string& path) {
  const auto file = GgufFile::open(path);
  return file.ok() ? "" : file.error().message;
}

TEST(GgufSplit, ShardsAreMerged) {
  const TempFolder folder;
  const std::string first = folder.write("m-00001-of-00003.gguf", shard(0, 3, "a", 3));
  const std::string second = folder.write("m-00002-of-00003.gguf", shard(1, 3, "b", 3));
  folder.write("m-00003-of-00003.gguf", shard(2, 3, "c", 3));
  auto opened = GgufFile::open(first);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const GgufFile file = std::move(opened).value();
  EXPECT_EQ(file.n_shards(), 3u);
  ASSERT_EQ(file.tensors().size(), 3u);
  const TensorInfo* c = file.find_tensor("c");
  EXPECT_EQ(c->shard, 2u);
  float value;
  std::memcpy(&value, c->data.data(), sizeof(value));
  EXPECT_EQ(value, 2.0f);
  file.release(*c);
  EXPECT_THAT(open_error(second), AllOf(HasSubstr("shard 2 of 3"), HasSubstr("-00001-of-00003")));
}

TEST(GgufSplit, BadSetsAreRefused) {
  const TempFolder folder;
  const auto pair = [&](const std::string& first, const std::string& second) {
    folder.write("m-00002-of-00002.gguf", second);
    return open_error(folder.write("m-00001-of-00002.gguf", first));
  };
  EXPECT_THAT(open_error(folder.write("m-00001-of-00002.gguf", shard(0, 2, "a", 2))),
              AllOf(HasSubstr("m-00002-of-00002.gguf"), HasSubstr("cannot open")));
  EXPECT_EQ(pair(shard(0, 2, "a", 2), shard(1, 2, "b", 2)), "");
  EXPECT_THAT(open_error(folder.write("renamed.gguf", shard(0, 2, "a", 2))),
              HasSubstr("must end in -00001-of-00002.gguf"));
  EXPECT_THAT(pair(shard(0, 2, "a", 2), shard(0, 2, "b", 2)), HasSubstr("split.no: 0, expected 1"));
  EXPECT_THAT(pair(shard(0, 2, "a", 2), shard(1, 3, "b", 2)),
              HasSubstr("split.count: 3, expected 2"));
  EXPECT_THAT(pair(shard(0, 2, "a", 2), shard(1, 2, "a", 2)),
              HasSubstr("also in an earlier shard"));
  EXPECT_THAT(pair(shard(0, 2, "a", 3), shard(1, 2, "b", 2)),
              HasSubstr("split.tensors.count: 3, but the 2 shards hold 2"));
  EXPECT_THAT(pair(shard(0, 2, "a", -1), shard(1, 2, "b", 2)), HasSubstr("-1"));
  EXPECT_THAT(pair(shard(0, 2, "a", 2), "GGUF"), HasSubstr("the version needs 4 bytes"));
  EXPECT_THAT(parse_error(shard(0, 2, "a", 2)), HasSubstr("has no siblings"));
  Bytes mistyped;
  mistyped.gguf_header(0, 1).key_u32("split.count", 2);
  EXPECT_THAT(open_error(folder.write("x-00001-of-00002.gguf", mistyped.str())),
              HasSubstr("expected u16, found u32"));
}

TEST(Gguf, MissingAndEmptyFiles) {
  const TempFolder folder;
  EXPECT_THAT(open_error(folder.file("none.gguf")), HasSubstr("cannot open"));
  EXPECT_THAT(open_error(folder.write("empty.gguf", "")), HasSubstr("the magic needs 4 bytes"));
}

// The real vocabulary (262,144 pieces, 514,906 merges), where it is at hand.
TEST(Gguf, RealVocabularyOpensFast) {
  const std::string path = KIMBERLITE_SHARED_DATA "/ggml-vocab-gemma-4.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no vocabulary file";
  const auto start = std::chrono::steady_clock::now();
  const auto file = GgufFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto tokens = file->str_array("tokenizer.ggml.tokens");
  const auto merges = file->str_array("tokenizer.ggml.merges");
  const std::chrono::duration<double, std::milli> spent = std::chrono::steady_clock::now() - start;
  RecordProperty("open_ms", std::to_string(spent.count()));
  std::printf("opened with both string tables in %.1f ms\n", spent.count());
  ASSERT_TRUE(tokens.ok() && merges.ok());
  ASSERT_EQ(tokens->size(), 262144u);
  EXPECT_EQ(merges->size(), 514906u);
  EXPECT_EQ((*tokens)[9259], "Hello");
  EXPECT_EQ(*file->u32("tokenizer.ggml.bos_token_id"), 2u);
  EXPECT_EQ(file->u32_per_layer("gemma4.attention.head_count_kv", 30)->at(5), 2u);
}

}  // namespace
}  // namespace kimberlite::formats
