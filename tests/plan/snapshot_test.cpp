// Snapshots as JSON: nothing lost, nothing accepted that is not one.
#include <gmock/gmock.h>

#include "plan/devices.hpp"

namespace kimberlite::vk {
namespace {

using ::testing::HasSubstr;

TEST(Snapshot, EveryFieldSurvivesTheRoundTrip) {
  for (const char* name : kDeviceNames) {
    const DeviceSnapshot snapshot = load_device(name);
    EXPECT_FALSE(snapshot.name.empty());
    const std::string json = snapshot_to_json(snapshot);
    const auto again = snapshot_from_json(json);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(snapshot_to_json(*again), json) << name;
    // Not only self-consistent: what the file says has arrived.
    EXPECT_THAT(device_json(name), HasSubstr('"' + again->name + '"'));
    EXPECT_EQ(again->heaps.size(), snapshot.heaps.size());
  }
}

TEST(Snapshot, FieldsOfAKnownDevice) {
  const DeviceSnapshot snapshot = load_device("rx_7800_xt_radv");
  EXPECT_EQ(snapshot.type, DeviceType::discrete);
  EXPECT_EQ(snapshot.vendor_id, 0x1002u);
  EXPECT_EQ(api_version_text(snapshot.api_version), "1.3.289");
  EXPECT_EQ(snapshot.limits.max_grid[0], 4294967295u);
  EXPECT_EQ(snapshot.limits.n_compute_units, 60u);
  EXPECT_FLOAT_EQ(snapshot.limits.timestamp_period_ns, 10.0f);
  EXPECT_EQ(snapshot.subgroup.min_size, 32u);
  EXPECT_TRUE(snapshot.features.dot_4x8_signed_accelerated);
  EXPECT_TRUE(snapshot.memory_types[7].special);
  EXPECT_FALSE(snapshot.queue_families[1].graphics);
  EXPECT_TRUE(snapshot.has_extension("VK_EXT_memory_budget"));
  EXPECT_FALSE(snapshot.has_extension("VK_EXT_memory"));
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

void expect_bad(const std::string& text, const std::string& message) {
  const auto snapshot = snapshot_from_json(text);
  ASSERT_FALSE(snapshot.ok()) << message;
  EXPECT_EQ(snapshot.error().code, ErrorCode::bad_file);
  EXPECT_THAT(snapshot.error().message, HasSubstr(message));
}

TEST(Snapshot, RefusesWhatIsNoSnapshotAndNamesTheField) {
  const std::string good = device_json("h100");
  expect_bad("", "not a JSON object");
  expect_bad("{\"name\": ", "not a JSON object");
  expect_bad("[]", "not a JSON object");
  expect_bad(replaced(good, "\"max_push_bytes\"", "\"max_pull_bytes\""),
             "limits.max_push_bytes is missing");
  expect_bad(replaced(good, "\"vendor_id\": 4318", "\"vendor_id\": -1"),
             "vendor_id: expected an unsigned number");
  expect_bad(replaced(good, "\"vendor_id\": 4318", "\"vendor_id\": 4294967296"),
             "vendor_id: expected a 32-bit number");
  expect_bad(replaced(good, "\"type\": \"discrete\"", "\"type\": \"quantum\""),
             "type: expected a device type");
  expect_bad(replaced(good, "\"heap\": 1", "\"heap\": 9"),
             "memory_types[0].heap: is 9, there are 2 heaps");
  expect_bad(replaced(good, "\"float16\": true", "\"float16\": 1"),
             "features.float16: expected true or false");
}

}  // namespace
}  // namespace kimberlite::vk
