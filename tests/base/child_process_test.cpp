#include "base/child_process.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/os.hpp"

namespace kimberlite {
namespace {

template <typename T>
T require_value(Result<T> result) {
  KL_CHECK(result.ok(), result.error().message.c_str());
  return std::move(result).value();
}

/// tests/support/child_program.cpp
ChildProcess start(const std::string& what, std::vector<std::string> arguments = {}) {
  arguments.insert(arguments.begin(), what);
  return require_value(ChildProcess::start(KIMBERLITE_CHILD_PROGRAM, arguments));
}

std::string read_all(ChildProcess& child) {
  std::string text;
  char part[999];
  while (const size_t n = require_value(child.read(std::as_writable_bytes(std::span(part))))) {
    text.append(part, n);
  }
  return text;
}

TEST(ChildProcess, GetsItsArgumentsAsTheyAre) {
  const std::vector<std::string> arguments = {"two words", "a\"quote\"", "C:\\end\\",
                                              "\\\\\"",    "",           "$HOME %PATH% *"};
  ChildProcess child = start("arguments", arguments);
  const std::string text = read_all(child);
  EXPECT_EQ(require_value(child.wait()), 0);
  for (const std::string& argument : arguments) {
    EXPECT_THAT(text, ::testing::HasSubstr("[" + argument + "]"));
  }
}

TEST(ChildProcess, SaysHowItEndedAndWhy) {
  ChildProcess child = start("fail");
  read_all(child);
  EXPECT_EQ(require_value(child.wait()), 3);
  EXPECT_EQ(child.errors().substr(0, 8), "no! no! ");
  EXPECT_EQ(child.errors().size(), 4096u);
}

TEST(ChildProcess, EndsWhenNobodyReads) {
  ChildProcess child = start("print");
  char part[10];
  EXPECT_GT(require_value(child.read(std::as_writable_bytes(std::span(part)))), 0u);
  require_value(child.wait());
}

TEST(ChildProcess, EndsWithItsOwner) {
  const auto begin = std::chrono::steady_clock::now();
  { const ChildProcess child = start("sleep"); }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::minutes(1));
}

TEST(ChildProcess, AMissingProgramIsNamed) {
  const auto child = ChildProcess::start("/no/such/program", {});
  ASSERT_FALSE(child.ok());
  EXPECT_EQ(child.error().code, ErrorCode::io);
  EXPECT_THAT(child.error().message, ::testing::HasSubstr("/no/such/program: cannot start"));
}

TEST(ChildProcess, ProgramsAreFoundInPathAlone) {
  EXPECT_FALSE(find_program("no such program").has_value());
#ifndef _WIN32
  const auto shell = find_program("sh");
  ASSERT_TRUE(shell.has_value());
  EXPECT_TRUE(os::is_program(*shell));
#endif
  EXPECT_FALSE(os::is_program("."));
}

}  // namespace
}  // namespace kimberlite
