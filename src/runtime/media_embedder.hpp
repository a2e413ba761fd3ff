// Embeddings of pictures and sounds: passes of a projector over patches and frames, and the last
// results by content, so that a picture is not computed again for each turn about it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <span>

#include "base/result.hpp"
#include "graph/executable.hpp"
#include "runtime/picture_encoder.hpp"
#include "runtime/projector.hpp"
#include "runtime/prompt.hpp"
#include "runtime/sound_encoder.hpp"
#include "vk/memory.hpp"

namespace kimberlite::runtime {

class Engine;

class MediaEmbedder {
 public:
  /// Both must outlive the embedder; the projector is loaded before the first call.
  MediaEmbedder(Engine& engine, const Projector& projector)
      : engine_(&engine),
        projector_(&projector),
        encoder_(engine, projector),
        sounds_(engine, projector) {}

  /// A picture of n_x * n_y patches, row by row: [n_y * n_x, 3 * side * side] in 0 to 1, a plane
  /// for each colour. Errors: unsupported (the projector has no vision), invalid_argument (sizes,
  /// with both values), out_of_memory, device.
  Result<std::shared_ptr<const SoftTokens>> embed_picture(uint32_t n_x, uint32_t n_y,
                                                          std::span<const float> patches);

  /// A sound: frames [n, 640] of 16,000 samples a second, or mel frames [n, 128] of up to 30 s
  /// where the projector has an encoder of sounds. Errors: as embed_picture.
  Result<std::shared_ptr<const SoftTokens>> embed_sound(std::span<const float> frames);

  /// How many pictures and sounds were computed so far: not found by their content.
  [[nodiscard]] uint64_t n_computed() const { return n_computed_; }

 private:
  enum class Kind : uint8_t { picture, sound };
  /// Rows that a pass computes, and whether of patches.
  struct Key {
    Kind kind;
    uint32_t n_rows;
    auto operator<=>(const Key&) const = default;
  };
  /// The values of one picture or sound.
  struct Source {
    Kind kind;
    std::span<const float> values;
    uint32_t n = 0;
    uint32_t width = 0;  // values of a row
    uint32_t n_x = 0;    // patches of a picture's row
  };
  Result<std::shared_ptr<const SoftTokens>> embed_mel(std::span<const float> frames);
  Result<std::shared_ptr<const SoftTokens>> embed(const Source& source);
  Status compute(const Source& source, std::span<float> out);
  Status run(const Source& source, uint32_t first, uint32_t n, std::span<float> out);
  Result<const graph::Executable*> get(const Key& key);
  Status make_buffers();
  [[nodiscard]] graph::Tensor rows_of(const vk::Buffer& buffer, uint32_t n, uint64_t width) const;
  void write_places(const Source& source, uint32_t first, uint32_t n_rows);
  void keep(std::shared_ptr<const SoftTokens> soft);

  Engine* engine_;  // Borrowed from its owner, like the next.
  const Projector* projector_;
  PictureEncoder encoder_;  // where the projector has one
  SoundEncoder sounds_;     // the same
  std::unique_ptr<vk::Buffer> values_;
  std::unique_ptr<vk::Buffer> places_;  // Columns of x, then of y
  std::unique_ptr<vk::Buffer> out_;
  std::map<Key, std::unique_ptr<graph::Executable>> executables_;
  std::deque<std::shared_ptr<const SoftTokens>> kept_;  // the newest first
  uint64_t n_computed_ = 0;
};

}  // namespace kimberlite::runtime
