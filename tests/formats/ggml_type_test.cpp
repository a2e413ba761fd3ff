#include "formats/ggml_type.hpp"

#include <gtest/gtest.h>

#include <string>

namespace kimberlite::formats {
namespace {

TEST(GgmlType, RetiredAndUnknownIdsAreRefused) {
  for (const uint32_t id : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u, 43u, 44u, 1000u, 0xffffffffu}) {
    EXPECT_FALSE(find_ggml_type(id)) << id;
  }
  EXPECT_EQ(ggml_types().size(), 43u - 8u);
}

TEST(GgmlType, IdAndNameLeadToTheSameType) {
  for (const GgmlTraits& t : ggml_types()) {
    EXPECT_EQ(find_ggml_type(static_cast<uint32_t>(t.type)), t.type);
    EXPECT_EQ(find_ggml_type(t.name), t.type);
    EXPECT_EQ(&traits(t.type), &t);
  }
  EXPECT_EQ(find_ggml_type(std::string_view("q4_0")), GgmlType::q4_0);
  EXPECT_FALSE(find_ggml_type(std::string_view("q4_9")));
  EXPECT_FALSE(find_ggml_type(std::string_view("Q4_0")));
}

// Bytes of one row of 3840 or 256 elements, from the published bits per weight.
TEST(GgmlType, RowBytes) {
  EXPECT_EQ(row_bytes(GgmlType::f32, 3840), 15360u);
  EXPECT_EQ(row_bytes(GgmlType::bf16, 3840), 7680u);
  EXPECT_EQ(row_bytes(GgmlType::q4_0, 3840), 3840u * 45 / 80);
  EXPECT_EQ(row_bytes(GgmlType::q8_0, 3840), 3840u * 85 / 80);
  EXPECT_EQ(row_bytes(GgmlType::q4_k, 256), 144u);
  EXPECT_EQ(row_bytes(GgmlType::q6_k, 256), 210u);
  EXPECT_EQ(row_bytes(GgmlType::iq1_s, 256), 50u);
  EXPECT_EQ(row_bytes(GgmlType::nvfp4, 64), 36u);
  EXPECT_EQ(row_bytes(GgmlType::f32, 0), 0u);
  EXPECT_FALSE(row_bytes(GgmlType::q4_0, 33));
  EXPECT_FALSE(row_bytes(GgmlType::q6_k, 2112));
  EXPECT_FALSE(row_bytes(GgmlType::f64, UINT64_MAX));
}

}  // namespace
}  // namespace kimberlite::formats
