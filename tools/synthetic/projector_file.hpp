// Writes a synthetic projector (mmproj) with hash weights: of pictures and sounds, with encoders or
// without.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "formats/ggml_type.hpp"
#include "synthetic/conformer_file.hpp"
#include "synthetic/shapes.hpp"

namespace kimberlite::synthetic {

/// An encoder of pictures.
struct TowerShape {
  uint32_t n_layers;
  uint32_t n_heads;
  uint32_t ffn;
  bool clips = false;  // linear layers have bounds
  bool standardises = false;

  static constexpr uint32_t kPatch = 16;
};

struct ProjectorShape {
  uint32_t target_hidden;  // of the model for which it makes embeddings
  uint32_t hidden;         // of a patch's embedding before the projection
  uint32_t n_positions;    // columns and rows that a picture may have: of patches of an encoder
  bool vision = true;
  bool audio = true;  // without an encoder
  std::optional<TowerShape> tower = std::nullopt;
  std::optional<ConformerShape> conformer = std::nullopt;

  static constexpr uint32_t kPatchValues = 48 * 48 * 3;
  static constexpr uint32_t kFrameSamples = 640;
};

/// Of tiny12, tiny-e2b (pictures), tiny26, 12b, e2b, e4b, 26b and 31b, as "tiny12-projector"; and
/// "tiny-e2b-sounds-projector".
std::optional<ProjectorShape> find_projector_shape(std::string_view name);

/// Every tensor, in the order of the file.
std::vector<TensorSpec> list_projector_tensors(const ProjectorShape& shape);

/// The values of one of them, before they are stored as any type.
std::vector<float> make_projector_values(uint64_t seed, const TensorSpec& tensor);

/// Writes `path` with matrices as `type` (f32, f16, bf16 or any other whose blocks divide their
/// rows); the table of positions is f16 where that is no float type. Errors: io.
Status write_projector(const ProjectorShape& shape, uint64_t seed, formats::GgmlType type,
                       const std::string& path);

/// The values of a picture's patches or a sound's frames that goldens are made with: of the hash
/// stream `name`, from 0 to 1, or from -1 to 1 for a `sound`.
std::vector<float> make_media(uint64_t seed, std::string_view name, uint64_t n, bool sound);

}  // namespace kimberlite::synthetic
