// Arena::plan: how ranges are packed into buffers of bounded size.
#include <gmock/gmock.h>

#include "vk/memory.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::ElementsAre;

Caps small_caps() {
  Caps caps;
  caps.max_arena_bytes = 1024;
  caps.storage_alignment = 64;
  return caps;
}

TEST(Arena, PacksInOrderAndRoundsEveryRangeUp) {
  EXPECT_THAT(Arena::plan({1, 64, 65}, small_caps()), ElementsAre(64 + 64 + 128));
  EXPECT_THAT(Arena::plan({}, small_caps()), ElementsAre());
  EXPECT_THAT(Arena::plan({0}, small_caps()), ElementsAre(64));
}

TEST(Arena, StartsANewBufferWhereARangeDoesNotFit) {
  EXPECT_THAT(Arena::plan({512, 512, 512}, small_caps()), ElementsAre(1024, 512));
  // In order: the small one does not go back into the first buffer.
  EXPECT_THAT(Arena::plan({960, 512, 64}, small_caps()), ElementsAre(960, 576));
}

TEST(Arena, ARangeLongerThanABufferStandsAlone) {
  EXPECT_THAT(Arena::plan({64, 2048, 64}, small_caps()), ElementsAre(64, 2048, 64));
}

}  // namespace
}  // namespace kimberlite::vk
