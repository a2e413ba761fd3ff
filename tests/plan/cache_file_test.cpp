// The pipeline cache's file: only its own driver's intact blob comes back.
#include "vk/cache_file.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "plan/devices.hpp"

namespace kimberlite::vk {
namespace {

class CacheFile : public ::testing::Test {
 protected:
  // A file of its own for each test: they run side by side, each in its own process.
  std::string path_ = ::testing::TempDir() + "kimberlite_cache_file_" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".bin";
  std::vector<std::byte> blob_ = std::vector<std::byte>(1000, std::byte{0x5a});

  void SetUp() override { ASSERT_TRUE(write_cached_blob(path_, "key", blob_).ok()); }
  void TearDown() override { std::filesystem::remove(path_); }

  void overwrite(std::streamoff offset, char value) const {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(offset);
    file.put(value);
  }
};

TEST_F(CacheFile, ComesBackUnderItsKeyOnly) {
  EXPECT_EQ(find_cached_blob(path_, "key"), blob_);
  EXPECT_FALSE(find_cached_blob(path_, "kez"));
  EXPECT_FALSE(find_cached_blob(path_, "longer key"));
  EXPECT_FALSE(find_cached_blob(path_ + ".absent", "key"));
  EXPECT_FALSE(std::filesystem::exists(path_ + ".new"));
}

TEST_F(CacheFile, DamageAnywhereIsSeen) {
  for (const std::streamoff offset : {0, 9, 17, 25, 32, 35, 500, 1034}) {
    ASSERT_TRUE(write_cached_blob(path_, "key", blob_).ok());
    overwrite(offset, '\x7f');
    EXPECT_FALSE(find_cached_blob(path_, "key")) << "offset " << offset;
  }
}

TEST_F(CacheFile, CutFilesAreSeen) {
  for (const uintmax_t n_bytes : {0, 8, 31, 32, 34, 1034}) {
    ASSERT_TRUE(write_cached_blob(path_, "key", blob_).ok());
    std::filesystem::resize_file(path_, n_bytes);
    EXPECT_FALSE(find_cached_blob(path_, "key")) << n_bytes << " bytes";
  }
}

TEST_F(CacheFile, AFolderThatDoesNotExistIsAnError) {
  const Status written = write_cached_blob(path_ + ".absent/file", "key", blob_);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::io);
}

TEST_F(CacheFile, TheKeyChangesWithTheDriverVersion) {
  DeviceSnapshot device = load_device("lavapipe");
  const std::string key = cache_key(device);
  device.driver_info = "Mesa 26.2.6 (LLVM 22.0.0)";  // the UUIDs of lavapipe stay the same
  EXPECT_NE(cache_key(device), key);
}

}  // namespace
}  // namespace kimberlite::vk
