// libFuzzer entry for the GGUF reader: whatever the bytes are, parsing either fails or gives views
// that can be read to their last byte.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.hpp"
#include "formats/gguf.hpp"

using kimberlite::formats::GgufEntry;
using kimberlite::formats::GgufFile;
using kimberlite::formats::TensorInfo;

namespace {

template <typename Numbers>
uint64_t touch(const Numbers& numbers) {
  uint64_t sum = 0;
  if (numbers.ok()) {
    for (const auto number : *numbers) sum += static_cast<uint64_t>(number != 0);
  }
  return sum;
}

uint64_t touch_bytes(std::span<const std::byte> bytes) {
  uint64_t sum = 0;
  for (const std::byte b : bytes) sum += static_cast<uint64_t>(b);
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = GgufFile::parse(std::as_bytes(std::span(data, size)));
  if (!file.ok()) {
    KL_CHECK(!file.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  uint64_t sum = 0;
  for (const GgufEntry& entry : file->entries()) {
    sum += touch(file->u32_array(entry.key)) + touch(file->i32_array(entry.key)) +
           touch(file->f32_array(entry.key)) + touch(file->bool_array(entry.key));
    if (const auto strings = file->str_array(entry.key); strings.ok()) {
      for (const auto text : *strings) sum += touch_bytes(std::as_bytes(std::span(text)));
    }
    if (const auto text = file->str(entry.key); text.ok()) sum += text->size();
    sum += file->u32_per_layer(entry.key, 3).ok() ? 1 : 0;
    sum += file->u32(entry.key).ok() + file->f32(entry.key).ok() + file->boolean(entry.key).ok();
  }
  for (const TensorInfo& tensor : file->tensors()) {
    sum += touch_bytes(tensor.data) + tensor.n_elements();
    KL_CHECK(file->find_tensor(tensor.name) == &tensor, "every tensor is found by its name");
  }
  volatile uint64_t keep = sum;
  (void)keep;
  return 0;
}
