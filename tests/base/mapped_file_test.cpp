#include "base/mapped_file.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "tests/formats/temp_folder.hpp"

namespace kimberlite {
namespace {

using testing::HasSubstr;

TEST(MappedFile, HoldsTheBytesAndMoves) {
  const TempFolder folder;
  const std::string path = folder.write("f", std::string("a\0b", 3));
  auto opened = MappedFile::open(path);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  MappedFile file = std::move(opened).value();
  const std::byte* data = file.bytes().data();
  ASSERT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(file.bytes()[2], std::byte{'b'});
  MappedFile moved = std::move(file);
  EXPECT_EQ(moved.bytes().data(), data);  // views stay valid
  EXPECT_EQ(moved.path(), path);
  moved = MappedFile();
  EXPECT_TRUE(moved.bytes().empty());
}

TEST(MappedFile, EmptyMissingAndFolder) {
  const TempFolder folder;
  const auto empty = MappedFile::open(folder.write("empty", ""));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->bytes().empty());
  empty->release(0, 0);
  const auto missing = MappedFile::open(folder.file("missing"));
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::io);
  EXPECT_THAT(missing.error().message, HasSubstr(folder.file("missing")));
  EXPECT_FALSE(MappedFile::open(folder.path()).ok());
}

TEST(MappedFile, NamesAreUtf8) {
  const TempFolder folder;
  const std::string path = folder.path() + "/gew\xc3\xbcrz\xe2\x96\x81.gguf";
  {
    std::ofstream out(std::filesystem::path(std::u8string(path.begin(), path.end())));
    out << "x";
  }
  EXPECT_TRUE(MappedFile::open(path).ok());
}

TEST(MappedFile, ReleasedPagesComeBack) {
  const TempFolder folder;
  const auto file = MappedFile::open(folder.write("big", std::string(kMiB, 'x')));
  ASSERT_TRUE(file.ok());
  uint64_t n = 0;
  for (const std::byte b : file->bytes()) n += b == std::byte{'x'};
  file->release(1, kMiB - 2);
  file->release(0, kMiB);
  file->release(kMiB, 0);
  for (const std::byte b : file->bytes()) n += b == std::byte{'x'};
  EXPECT_EQ(n, 2 * kMiB);
}

// Sparse, so it costs no space: offsets beyond 32 bits must reach the right byte.
TEST(MappedFile, BeyondFourGibibytes) {
  const TempFolder folder;
  const std::string path = folder.write("sparse", "");
  std::error_code failure;
  std::filesystem::resize_file(path, 5 * kGiB, failure);
  if (failure) GTEST_SKIP() << "the file system has no room for a sparse file";
  {
    std::fstream out(path, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(static_cast<std::streamoff>(5 * kGiB - 1));
    out << "z";
  }
  const auto file = MappedFile::open(path);
  ASSERT_TRUE(file.ok()) << file.error().message;
  ASSERT_EQ(file->bytes().size(), 5 * kGiB);
  EXPECT_EQ(file->bytes()[5 * kGiB - 1], std::byte{'z'});
}

TEST(Os, ReplaceFileReplaces) {
  const TempFolder folder;
  const std::string from = folder.write("new", "new");
  const std::string to = folder.write("old", "old");
  ASSERT_TRUE(os::replace_file(from, to).ok());
  EXPECT_EQ(folder.read("old"), "new");
  EXPECT_EQ(folder.n_files(), 1u);
  const auto missing = os::replace_file(folder.file("none"), to);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message, HasSubstr(to));
}

}  // namespace
}  // namespace kimberlite
