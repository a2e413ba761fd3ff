// The operating system layer: environment, the cache folder, replacing a file.
#include "base/os.hpp"

#include <gmock/gmock.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace kimberlite {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

#ifdef _WIN32
constexpr const char* kCacheVariable = "LOCALAPPDATA";
#else
constexpr const char* kCacheVariable = "XDG_CACHE_HOME";
#endif

void set_variable(const char* name, const std::string& value) {
#ifdef _WIN32
  // _putenv_s would take the bytes for the code page of the machine; they are UTF-8.
  const fs::path wide_value(std::u8string(value.begin(), value.end()));
  ::_wputenv_s(fs::path(name).c_str(), wide_value.c_str());
#else
  ::setenv(name, value.c_str(), 1);
#endif
}

// Sets an environment variable for the length of a test. An empty value counts as not set.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const std::string& value)
      : name_(name), before_(os::environment(name)) {
    set_variable(name, value);
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;
  ~ScopedVariable() { set_variable(name_, before_.value_or("")); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// A folder of its own for each test, gone afterwards.
class OsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(::testing::TempDir()) / (std::string("kimberlite-os-") + test->name());
    fs::remove_all(folder_);
    ASSERT_TRUE(fs::create_directories(folder_));
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string path(const char* name) const { return (folder_ / name).string(); }

  static void write(const std::string& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
  }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  fs::path folder_;
};

TEST_F(OsTest, EnvironmentTakesEmptyForNotSet) {
  const ScopedVariable set("KIMBERLITE_OS_TEST", "value é");
  EXPECT_EQ(os::environment("KIMBERLITE_OS_TEST"), "value é");
  const ScopedVariable empty("KIMBERLITE_OS_TEST", "");
  EXPECT_EQ(os::environment("KIMBERLITE_OS_TEST"), std::nullopt);
  EXPECT_EQ(os::environment("KIMBERLITE_OS_TEST_NEVER_SET"), std::nullopt);
}

TEST_F(OsTest, CacheFolderFollowsTheEnvironment) {
  const ScopedVariable cache(kCacheVariable, path("new/cache"));
  const auto dir = os::cache_dir();
  ASSERT_TRUE(dir.ok()) << dir.error().message;
  EXPECT_TRUE(fs::is_directory(*dir));  // created with its parents
  EXPECT_EQ(fs::path(*dir).lexically_normal(),
            (folder_ / "new" / "cache" / "kimberlite").lexically_normal());
  EXPECT_EQ(os::cache_dir().value(), *dir);  // there already: the same answer
}

#ifndef _WIN32
TEST_F(OsTest, CacheFolderFallsBackToTheHome) {
  const ScopedVariable cache("XDG_CACHE_HOME", "");
  const ScopedVariable home("HOME", folder_.string());
  EXPECT_EQ(os::cache_dir().value(), path(".cache/kimberlite"));
  const ScopedVariable homeless("HOME", "");
  const auto dir = os::cache_dir();
  ASSERT_FALSE(dir.ok());
  EXPECT_EQ(dir.error().code, ErrorCode::io);
  EXPECT_THAT(dir.error().message, HasSubstr("XDG_CACHE_HOME"));
}
#endif

TEST_F(OsTest, CacheFolderThatCannotBeMadeIsNamed) {
  write(path("file"), "in the way");
  const ScopedVariable cache(kCacheVariable, path("file"));
  const auto dir = os::cache_dir();
  ASSERT_FALSE(dir.ok());
  EXPECT_EQ(dir.error().code, ErrorCode::io);
  EXPECT_THAT(dir.error().message, HasSubstr("kimberlite"));
}

TEST_F(OsTest, ReplaceFile) {
  write(path("old"), "old");
  write(path("new"), "new");
  ASSERT_TRUE(os::replace_file(path("new"), path("old")).ok());
  EXPECT_EQ(read(path("old")), "new");
  EXPECT_FALSE(fs::exists(path("new")));
  ASSERT_TRUE(os::replace_file(path("old"), path("fresh")).ok());  // nothing to replace
  EXPECT_EQ(read(path("fresh")), "new");
}

TEST_F(OsTest, ReplaceFileLeavesTheTargetOnFailure) {
  write(path("target"), "kept");
  const Status status = os::replace_file(path("missing"), path("target"));
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().code, ErrorCode::io);
  EXPECT_THAT(status.error().message, HasSubstr("target"));
  EXPECT_EQ(read(path("target")), "kept");
}

TEST(Os, MemoryNumbersArePlausible) {
  EXPECT_GT(os::physical_memory_bytes(), uint64_t{256} << 20);
  EXPECT_GT(os::peak_resident_bytes(), uint64_t{256} << 10);
  EXPECT_LT(os::peak_resident_bytes(), os::physical_memory_bytes());
}

TEST(Os, ProgramPath) {
  const auto path = os::program_path();
  ASSERT_TRUE(path.has_value());
  const fs::path program(std::u8string(path->begin(), path->end()));
  EXPECT_TRUE(fs::is_regular_file(program));
  EXPECT_EQ(program.stem(), "base_test");
}

}  // namespace
}  // namespace kimberlite
