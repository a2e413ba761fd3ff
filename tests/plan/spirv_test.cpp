// find_local_size on modules assembled by hand, whole and damaged.
#include "vk/spirv.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

namespace kimberlite::vk {
namespace {

using Size = std::array<uint32_t, 3>;

/// A module of these instructions, each {opcode, operands...}.
std::vector<uint32_t> module_of(std::initializer_list<std::vector<uint32_t>> instructions) {
  std::vector<uint32_t> words = {0x07230203, 0x00010600, 0, 100, 0};
  for (std::vector<uint32_t> instruction : instructions) {
    instruction[0] |= static_cast<uint32_t>(instruction.size()) << 16;
    words.insert(words.end(), instruction.begin(), instruction.end());
  }
  return words;
}

TEST(Spirv, LiteralLocalSize) {
  EXPECT_EQ(find_local_size(module_of({{16, 1, 17, 64, 2, 1}}), {}), (Size{64, 2, 1}));
}

TEST(Spirv, LocalSizeIdFollowsTheConstants) {
  // id 5 is specialisation constant 3 with default 32; id 6 is the constant 1.
  const auto words =
      module_of({{331, 1, 38, 5, 6, 6}, {71, 5, 1, 3}, {50, 2, 5, 32}, {43, 2, 6, 1}});
  EXPECT_EQ(find_local_size(words, {}), (Size{32, 1, 1}));
  const uint32_t constants[] = {7, 7, 7, 128};
  EXPECT_EQ(find_local_size(words, constants), (Size{128, 1, 1}));
}

TEST(Spirv, TheBuiltInOverridesTheExecutionMode) {
  const auto words = module_of({{16, 1, 17, 1, 1, 1},
                                {71, 5, 1, 0},
                                {71, 9, 11, 25},
                                {50, 2, 5, 16},
                                {43, 2, 6, 1},
                                {51, 3, 9, 5, 6, 6}});
  const uint32_t constants[] = {96};
  EXPECT_EQ(find_local_size(words, constants), (Size{96, 1, 1}));
}

TEST(Spirv, DamagedModulesHaveNoSize) {
  auto words = module_of({{16, 1, 17, 64, 2, 1}});
  EXPECT_FALSE(find_local_size({}, {}));
  EXPECT_FALSE(find_local_size(std::span(words).first(8), {}));  // cut inside an instruction
  auto endless = words;
  endless[5] &= 0xffffu;  // an instruction of no words
  EXPECT_FALSE(find_local_size(endless, {}));
  words[0] = 0x03022307;  // the other byte order
  EXPECT_FALSE(find_local_size(words, {}));
  EXPECT_FALSE(find_local_size(module_of({{331, 1, 38, 5, 5, 5}}), {}));  // no such constant
}

}  // namespace
}  // namespace kimberlite::vk
