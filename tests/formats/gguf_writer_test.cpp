// What the writer writes, the reader reads; and a failed write leaves nothing behind.
#include "formats/gguf_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf.hpp"
#include "tests/formats/bytes.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Status push_floats(size_t index, const ByteSink& sink, size_t n) {
  std::vector<float> values(n, static_cast<float>(index) + 0.5f);
  return sink(std::as_bytes(std::span(values)));
}

GgufWriter small_writer() {
  GgufWriter writer;
  writer.set_string("general.architecture", "gemma4");
  const uint64_t ne[] = {3, 5};
  EXPECT_TRUE(writer.add_tensor("a", GgmlType::f32, ne).ok());
  EXPECT_TRUE(writer.add_tensor("b", GgmlType::f32, std::span(ne, 1)).ok());
  return writer;
}

const TensorSource kSmallSource = [](size_t index, const ByteSink& sink) {
  return push_floats(index, sink, index == 0 ? 15 : 3);
};

TEST(GgufWriter, RoundTripOfEveryValueType) {
  const TempFolder folder;
  GgufWriter writer;
  const uint32_t u32s[] = {1, 2, 0xffffffff};
  const int32_t i32s[] = {-1, 0, 7};
  const float f32s[] = {0.5f, -1.0f};
  const std::vector<std::string> strings = {"", "\xe2\x96\x81the", std::string("a\0b", 3)};
  writer.set_u16("u16", 0xfffe);
  writer.set_u32("u32", 1);
  writer.set_u32("u32", 0xfffffffe);  // replaces
  writer.set_i32("i32", -5);
  writer.set_u64("u64", UINT64_MAX);
  writer.set_f32("f32", 1e-6f);
  writer.set_bool("bool", true);
  writer.set_string("string", "text");
  writer.set_array("u32s", u32s);
  writer.set_array("i32s", i32s);
  writer.set_array("f32s", f32s);
  writer.set_array("bools", std::vector<bool>{true, false, true});
  writer.set_array("strings", std::span<const std::string>(strings));
  const std::string path = folder.file("values.gguf");
  ASSERT_TRUE(writer.write(path, {}).ok());

  auto opened = GgufFile::open(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const GgufFile file = std::move(opened).value();
  EXPECT_EQ(file.entries().size(), 12u);
  EXPECT_EQ(*file.u16("u16"), 0xfffe);
  EXPECT_EQ(*file.u32("u32"), 0xfffffffe);
  EXPECT_EQ(*file.i32("i32"), -5);
  EXPECT_EQ(*file.u64("u64"), UINT64_MAX);
  EXPECT_EQ(*file.f32("f32"), 1e-6f);
  EXPECT_EQ(*file.boolean("bool"), true);
  EXPECT_EQ(*file.str("string"), "text");
  EXPECT_THAT(file.u32_array("u32s")->to_vector(), ElementsAre(1u, 2u, 0xffffffffu));
  EXPECT_THAT(file.i32_array("i32s")->to_vector(), ElementsAre(-1, 0, 7));
  EXPECT_THAT(file.f32_array("f32s")->to_vector(), ElementsAre(0.5f, -1.0f));
  EXPECT_THAT(file.bool_array("bools")->to_vector(), ElementsAre(true, false, true));
  EXPECT_THAT(*file.str_array("strings"), ElementsAre("", strings[1], strings[2]));
}

TEST(GgufWriter, TensorsAreAlignedAndInOrder) {
  for (const uint32_t alignment : {32u, 64u, 4096u}) {
    const TempFolder folder;
    GgufWriter writer(alignment);
    const uint64_t ne[] = {32, 3};
    ASSERT_TRUE(writer.add_tensor("codes", GgmlType::q4_0, ne).ok());
    ASSERT_TRUE(writer.add_tensor("norm", GgmlType::f32, std::span(ne + 1, 1)).ok());
    EXPECT_EQ(writer.tensor_bytes(0), 54u);
    const TensorSource source = [](size_t index, const ByteSink& sink) -> Status {
      if (index == 1) return push_floats(index, sink, 3);
      for (uint8_t i = 0; i < 54; ++i) KL_TRY(sink(Bytes().u8(i).span()));
      return {};
    };
    const std::string path = folder.file("t.gguf");
    ASSERT_TRUE(writer.write(path, source).ok());
    auto file = GgufFile::open(path);
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_EQ(file->tensors().size(), 2u);
    const TensorInfo* codes = file->find_tensor("codes");
    ASSERT_NE(codes, nullptr);
    EXPECT_EQ(codes->offset % alignment, 0u);
    EXPECT_EQ(codes->ne, (std::array<uint64_t, 4>{32, 3, 1, 1}));
    EXPECT_EQ(codes->n_rows(), 3u);
    EXPECT_EQ(codes->n_elements(), 96u);
    ASSERT_EQ(codes->data.size(), 54u);
    EXPECT_EQ(codes->data[53], std::byte{53});
    file->release(*codes);  // a hint: the bytes stay what they are
    EXPECT_EQ(codes->data[1], std::byte{1});
    EXPECT_EQ(file->find_tensor("none"), nullptr);
  }
}

TEST(GgufWriter, RefusesBadDeclarations) {
  GgufWriter writer;
  const uint64_t ne[] = {33};
  const uint64_t huge[] = {uint64_t{1} << 40, uint64_t{1} << 40};
  EXPECT_TRUE(writer.add_tensor("a", GgmlType::f32, ne).ok());
  EXPECT_THAT(writer.add_tensor("a", GgmlType::f32, ne).error().message, HasSubstr("twice"));
  EXPECT_THAT(writer.add_tensor("b", GgmlType::q4_0, ne).error().message, HasSubstr("33"));
  EXPECT_FALSE(writer.add_tensor("c", GgmlType::f32, huge).ok());
  EXPECT_FALSE(writer.add_tensor("", GgmlType::f32, ne).ok());
  EXPECT_FALSE(writer.add_tensor(std::string(64, 'x'), GgmlType::f32, ne).ok());
  EXPECT_FALSE(writer.add_tensor("d", GgmlType::f32, {}).ok());
  EXPECT_EQ(writer.n_tensors(), 1u);
}

TEST(GgufWriter, AFailedWriteLeavesTheOldFileAndNothingElse) {
  const TempFolder folder;
  const std::string path = folder.write("model.gguf", "old");
  const GgufWriter writer = small_writer();
  const TensorSource failing = [](size_t index, const ByteSink& sink) -> Status {
    if (index == 1) return Error{ErrorCode::io, "source broke"};
    return push_floats(index, sink, 15);
  };
  const TensorSource too_few = [](size_t index, const ByteSink& sink) {
    return push_floats(index, sink, 2);
  };
  const TensorSource too_many = [](size_t index, const ByteSink& sink) {
    return push_floats(index, sink, 16);
  };
  EXPECT_EQ(writer.write(path, failing).error().message, "source broke");
  EXPECT_THAT(writer.write(path, too_few).error().message, HasSubstr("declared 60 bytes"));
  EXPECT_THAT(writer.write(path, too_many).error().message, HasSubstr("at least 64"));
  EXPECT_EQ(writer.write(path, kSmallSource, [](uint64_t, uint64_t) { return false; }).error().code,
            ErrorCode::cancelled);
  const Status nowhere = writer.write(folder.file("no/such/folder.gguf"), kSmallSource);
  EXPECT_THAT(nowhere.error().message, HasSubstr("cannot create: No such file"));
  EXPECT_EQ(folder.read("model.gguf"), "old");
  EXPECT_EQ(folder.n_files(), 1u);
}

TEST(GgufWriter, AHollowFileHasZerosWhereNothingWasPushed) {
  const TempFolder folder;
  const std::string path = folder.file("hollow.gguf");
  GgufWriter writer;
  const uint64_t ne[] = {1024, 3};
  for (const char* name : {"first", "middle", "last"}) {
    ASSERT_TRUE(writer.add_tensor(name, GgmlType::f32, ne).ok());
  }
  const TensorSource middle = [](size_t index, const ByteSink& sink) -> Status {
    if (index == 1) return push_floats(index, sink, 3072);
    return {};
  };
  ASSERT_TRUE(writer.write_hollow(path, middle).ok());
  const auto hollow = GgufFile::open(path);
  ASSERT_TRUE(hollow.ok()) << hollow.error().message;
  const std::string whole = folder.file("whole.gguf");
  ASSERT_TRUE(writer
                  .write(whole,
                         [&](size_t index, const ByteSink& sink) -> Status {
                           if (index == 1) return middle(index, sink);
                           return sink(std::vector<std::byte>(3072 * sizeof(float)));
                         })
                  .ok());
  EXPECT_EQ(folder.read("hollow.gguf"), folder.read("whole.gguf"));
  const Status too_few = writer.write_hollow(path, [](size_t index, const ByteSink& sink) {
    return index == 1 ? push_floats(index, sink, 2) : Status{};
  });
  EXPECT_THAT(too_few.error().message, HasSubstr("declared 12288 bytes"));
}

/// A finished file takes the place of its name, so a folder or a device must not have it.
TEST(GgufWriter, ReplacesNothingButFiles) {
  const TempFolder folder;
  std::filesystem::create_directory(folder.file("folder"));
  for (const std::string& path : {folder.file("folder"), std::string()}) {
    const Status status = small_writer().write(path, kSmallSource);
    ASSERT_FALSE(status.ok()) << path;
    EXPECT_EQ(status.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(check_output(path, /*overwrite=*/true).error().message, status.error().message);
  }
  EXPECT_THAT(check_output(folder.file("folder"), false).error().message,
              HasSubstr("folder: is there and not a regular file"));
  EXPECT_EQ(folder.n_files(), 1u);
}

TEST(GgufWriter, ProgressCountsTensorBytes) {
  const TempFolder folder;
  std::vector<uint64_t> done;
  const auto progress = [&](uint64_t n, uint64_t total) {
    EXPECT_EQ(total, 72u);
    done.push_back(n);
    return true;
  };
  ASSERT_TRUE(small_writer().write(folder.file("m.gguf"), kSmallSource, progress).ok());
  EXPECT_THAT(done, ElementsAre(60u, 72u));
}

}  // namespace
}  // namespace kimberlite::formats
