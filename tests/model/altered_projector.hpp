// Projectors' files with changes, for what must be refused.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"

namespace kimberlite::testing {

struct Change {
  std::function<void(formats::GgufWriter&)> keys = {};  // sets them anew
  std::string dropped_key = {};
  std::string dropped_tensor = {};
  std::map<std::string, std::vector<float>> vectors = {};  // f32 tensors, new or in place of others
};

[[nodiscard]] Change with_u32(const std::string& key, uint32_t value);  // of "clip.KEY"
[[nodiscard]] Change with_text(const std::string& key, const std::string& value);
[[nodiscard]] Change with_flag(const std::string& key, bool value);  // of "clip.KEY"

/// A tiny projector with the change, in memory.
class AlteredProjector {
 public:
  explicit AlteredProjector(const Change& change, std::string_view shape = "tiny12-projector");
  [[nodiscard]] formats::GgufFile file() const;
  /// Of reading the configuration and of planning the weights, whichever comes first.
  [[nodiscard]] std::string error() const;

 private:
  void write(const formats::GgufFile& file, const Change& change);

  std::vector<std::byte> bytes_;
};

}  // namespace kimberlite::testing
