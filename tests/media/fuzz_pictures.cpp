// libFuzzer entry for the decoders of pictures and the resizing behind them.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.hpp"
#include "media/image_rows.hpp"
#include "media/resize.hpp"

namespace kimberlite::media {
namespace {

/// Takes pictures that are decoded within a moment, and counts their rows.
class SmallPictures final : public RowSink {
 public:
  Status begin(const ImageHeader& header) override {
    if (uint64_t{header.width} * header.height > 1'000'000) {
      return Error{ErrorCode::unsupported, "too large to fuzz"};
    }
    n_rows_ = header.height;
    resizer_.emplace(header, 96, 48);
    return {};
  }
  void row(const uint8_t* rgb) override {
    KL_CHECK(n_rows_ > 0, "no more rows than the header says");
    --n_rows_;
    resizer_->row(rgb);
  }
  [[nodiscard]] uint32_t n_missing() const { return n_rows_; }

 private:
  uint32_t n_rows_ = 0;
  std::optional<Resizer> resizer_;
};

}  // namespace
}  // namespace kimberlite::media

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kimberlite::media;
  SmallPictures sink;
  const auto status = decode_rows(std::as_bytes(std::span(data, size)), "fuzz", sink);
  if (status.ok()) {
    KL_CHECK(sink.n_missing() == 0, "a picture without an error is whole");
  } else {
    KL_CHECK(!status.error().message.empty(), "an error says what is wrong");
  }
  return 0;
}
