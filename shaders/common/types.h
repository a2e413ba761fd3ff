// Scalar names shared by GLSL and C++. A push-constant struct in shaders/K.h uses only u32, i32 and
// f32 fields, so that its C++ layout equals std430.
#ifdef __cplusplus
#pragma once
#include <cstdint>
#include <type_traits>
namespace kimberlite::shaders {
using u32 = uint32_t;
using i32 = int32_t;
using f32 = float;
}  // namespace kimberlite::shaders
#define KL_STRUCTS_BEGIN namespace kimberlite::shaders {
#define KL_STRUCTS_END }
#define CHECK_PUSH(type, n_bytes)                                                   \
  static_assert(sizeof(type) == (n_bytes) && (n_bytes) <= 128 && alignof(type) == 4 && \
                std::is_trivially_copyable_v<type>);
#else
#define u32 uint
#define i32 int
#define f32 float
#define KL_STRUCTS_BEGIN
#define KL_STRUCTS_END
#define CHECK_PUSH(type, n_bytes)
#endif
