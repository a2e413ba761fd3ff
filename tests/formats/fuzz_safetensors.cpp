// libFuzzer entry for the safetensors reader.
#include <cstddef>
#include <cstdint>

#include "base/result.hpp"
#include "formats/safetensors.hpp"

using kimberlite::formats::Safetensors;
using kimberlite::formats::SafetensorsTensor;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = Safetensors::parse(std::as_bytes(std::span(data, size)));
  if (!file.ok()) {
    KL_CHECK(!file.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  uint64_t sum = 0;
  for (const SafetensorsTensor& tensor : file->tensors()) {
    for (const std::byte b : tensor.data) sum += static_cast<uint64_t>(b);
    uint64_t n = 1;
    for (const uint64_t extent : tensor.shape) n *= extent;
    KL_CHECK(n == tensor.n_elements(), "the shape and the bytes agree");
  }
  volatile uint64_t keep = sum;
  (void)keep;
  return 0;
}
