// Buffers and arenas on a device: every kind of memory, both copy paths, refusals by name.
#include <gmock/gmock.h>

#include <numeric>

#include "base/numeric.hpp"
#include "vk/fixture.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::HasSubstr;

std::vector<uint32_t> counting(size_t n) {
  std::vector<uint32_t> values(n);
  std::iota(values.begin(), values.end(), 1u);
  return values;
}

class MemoryTest : public VkTest {};

TEST_F(MemoryTest, EveryKindHoldsWhatWasWritten) {
  for (size_t kind = 0; kind < kMemoryKinds; ++kind) {
    const Buffer buffer = make_buffer(4096, static_cast<MemoryKind>(kind));
    write(buffer, counting(1024));
    EXPECT_EQ(read<uint32_t>(buffer), counting(1024)) << "kind " << kind;
    const bool host_kind = static_cast<MemoryKind>(kind) != MemoryKind::device;
    EXPECT_TRUE(!host_kind || buffer.mapped() != nullptr);
  }
}

TEST_F(MemoryTest, OffsetsWithinARange) {
  const Buffer buffer = make_buffer(4096);
  write(buffer, std::vector<uint32_t>(1024, 0));
  const BufferRange range{&buffer, 1024, 256};
  const uint32_t value = 77;
  ASSERT_TRUE(write_range(*device_, range, &value, 4, 8).ok());
  uint32_t back = 0;
  ASSERT_TRUE(read_range(*device_, range, &back, 4, 8).ok());
  EXPECT_EQ(back, 77u);
  EXPECT_EQ(read<uint32_t>(buffer)[(1024 + 8) / 4], 77u);
  const Status outside = write_range(*device_, range, &value, 4, 254);
  ASSERT_FALSE(outside.ok());
  EXPECT_THAT(outside.error().message, HasSubstr("4 bytes at offset 254 of a range of 256 bytes"));
}

TEST_F(MemoryTest, SizesBeyondOneArenaAreRefusedByName) {
  const uint64_t limit = device_->caps().max_arena_bytes;
  const auto refused = Buffer::make(*device_, limit + 1, MemoryKind::device, "too big");
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("buffer too big: "));
  EXPECT_THAT(refused.error().message, HasSubstr(std::to_string(limit)));
  EXPECT_FALSE(Buffer::make(*device_, 0, MemoryKind::device, "empty").ok());
}

TEST_F(MemoryTest, OutOfMemoryNamesBufferBytesAndHeap) {
  expects_messages_ = true;  // a buffer beyond the device's largest is asked for on purpose
  DevicePlan plan = device_->plan();
  const uint64_t n_bytes = uint64_t{1} << 47;
  plan.caps.max_arena_bytes = n_bytes;
  auto device = Device::make(*instance_, 0, plan);
  ASSERT_TRUE(device.ok()) << device.error().message;
  const auto refused = Buffer::make(**device, n_bytes, MemoryKind::device, "kv cache 3");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::out_of_memory);
  EXPECT_THAT(refused.error().message, HasSubstr("buffer kv cache 3: 140737488355328 bytes"));
  EXPECT_THAT(refused.error().message, HasSubstr("heap 0 has "));
  EXPECT_EQ((*device)->counters().allocated_bytes, 0u);
}

TEST_F(MemoryTest, CountersFollowAllocations) {
  const Device::Counters before = device_->counters();
  {
    const Buffer one = make_buffer(1 * kMiB);
    Buffer two = make_buffer(2 * kMiB);
    const Buffer moved = std::move(two);
    EXPECT_EQ(device_->counters().allocated_bytes, before.allocated_bytes + 3 * kMiB);
  }
  const Device::Counters after = device_->counters();
  EXPECT_EQ(after.allocations, before.allocations + 2);
  EXPECT_EQ(after.allocated_bytes, before.allocated_bytes);
  EXPECT_GE(after.peak_allocated_bytes, before.allocated_bytes + 3 * kMiB);
}

TEST_F(MemoryTest, UnifiedMemoryIsMapped) {
  const Buffer buffer = make_buffer(4096);
  EXPECT_EQ(buffer.mapped() != nullptr, device_->caps().unified_memory);
}

/// The same device with small arenas and without mapped device memory: as on a discrete card.
class SplitMemoryTest : public MemoryTest {
 protected:
  SplitMemoryTest() {
    options_.max_arena_bytes = 20 * kMiB;
    discrete_ = true;
  }
};

TEST_F(SplitMemoryTest, StagingCopiesInPieces) {
  const Buffer buffer = make_buffer(18 * kMiB);  // more than one staging buffer
  ASSERT_EQ(buffer.mapped(), nullptr);
  const auto values = counting(18 * kMiB / 4);
  write(buffer, values);
  EXPECT_TRUE(read<uint32_t>(buffer) == values);
}

TEST_F(SplitMemoryTest, ArenasFollowTheirPlan) {
  Arena arena(*device_, MemoryKind::device, "weights");
  const std::vector<uint64_t> sizes = {12 * kMiB, 100, 7 * kMiB, 9 * kMiB, 3};
  const auto ranges = arena.allocate(sizes);
  ASSERT_TRUE(ranges.ok()) << ranges.error().message;
  const auto planned = Arena::plan(sizes, device_->caps());
  ASSERT_EQ(planned.size(), 2u);
  EXPECT_EQ(arena.n_bytes(), planned[0] + planned[1]);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const BufferRange& range = (*ranges)[i];
    EXPECT_EQ(range.n_bytes, sizes[i]);
    EXPECT_EQ(range.offset_bytes % device_->caps().storage_alignment, 0u);
    EXPECT_LE(range.offset_bytes + range.n_bytes, range.buffer->n_bytes());
    for (size_t j = 0; j < i; ++j) {
      const BufferRange& other = (*ranges)[j];
      EXPECT_TRUE(other.buffer != range.buffer ||
                  other.offset_bytes + other.n_bytes <= range.offset_bytes);
    }
  }
  EXPECT_EQ((*ranges)[0].buffer->name(), "weights 0");
}

TEST_F(SplitMemoryTest, AnArenaThatFailsLeavesNothingBehind) {
  Arena arena(*device_, MemoryKind::device, "weights");
  const uint64_t before = device_->counters().allocated_bytes;
  EXPECT_FALSE(arena.allocate({10 * kMiB, 21 * kMiB}).ok());
  EXPECT_EQ(arena.n_bytes(), 0u);
  EXPECT_EQ(device_->counters().allocated_bytes, before);
}

}  // namespace
}  // namespace kimberlite::vk
