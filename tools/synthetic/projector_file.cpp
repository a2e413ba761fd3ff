#include "synthetic/projector_file.hpp"

#include "formats/convert_media.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/quant.hpp"
#include "synthetic/hash_weights.hpp"

namespace kimberlite::synthetic {
namespace {

using formats::GgmlType;

constexpr double kEps = 1e-6;

GgmlType stored_type(const TensorSpec& tensor, GgmlType type) {
  if (!tensor.is_matrix) return GgmlType::f32;
  const bool is_table = tensor.name.starts_with("v.position_embd");
  return is_table && formats::traits(type).block_elems > 1 ? GgmlType::f16 : type;
}

formats::HfMediaConfig config_of(const ProjectorShape& shape) {
  formats::HfMediaConfig config{};
  config.hidden = shape.target_hidden;
  if (shape.vision) {
    config.vision = formats::HfVisionConfig{.patch = 16,
                                            .merge = 3,
                                            .width = shape.hidden,
                                            .n_positions = shape.n_positions,
                                            .rms_eps = kEps};
  }
  if (shape.audio) {
    config.audio = formats::HfAudioConfig{.frame = ProjectorShape::kFrameSamples, .rms_eps = kEps};
  }
  return config;
}

}  // namespace

std::optional<ProjectorShape> find_projector_shape(std::string_view name) {
  if (name == "tiny12-projector") return ProjectorShape{96, 64, 24};
  if (name == "12b-projector") return ProjectorShape{3840, 3840, 1120};
  return std::nullopt;
}

std::vector<TensorSpec> list_projector_tensors(const ProjectorShape& shape) {
  std::vector<TensorSpec> tensors;
  const auto add = [&](std::string name, std::vector<uint64_t> ne) {
    const bool is_matrix = ne.size() >= 2;
    tensors.push_back({name, std::move(ne), false, is_matrix, name});
  };
  const uint64_t hidden = shape.hidden;
  const uint64_t values = ProjectorShape::kPatchValues;
  if (shape.vision) {
    add("v.patch_embd.weight", {values, hidden});
    add("v.patch_embd.bias", {hidden});
    for (const auto& [norm, n] : {std::pair{"1", values}, {"2", hidden}, {"3", hidden}}) {
      for (const char* part : {".weight", ".bias"}) {
        add(std::string("v.patch_norm.") + norm + part, {n});
      }
    }
    add("v.position_embd.weight", {hidden, shape.n_positions, 2});
    add("mm.input_projection.weight", {hidden, shape.target_hidden});
  }
  if (shape.audio) {
    add("mm.a.input_projection.weight", {ProjectorShape::kFrameSamples, shape.target_hidden});
  }
  return tensors;
}

Status write_projector(const ProjectorShape& shape, uint64_t seed, GgmlType type,
                       const std::string& path) {
  formats::GgufWriter writer;
  formats::write_hf_media(config_of(shape), writer);
  writer.set_string("general.type", "mmproj");
  writer.set_string("general.name", "synthetic projector");
  const std::vector<TensorSpec> tensors = list_projector_tensors(shape);
  for (const TensorSpec& tensor : tensors) {
    KL_TRY(writer.add_tensor(tensor.name, stored_type(tensor, type), tensor.ne));
  }
  const auto source = [&](size_t index, const formats::ByteSink& sink) -> Status {
    const TensorSpec& tensor = tensors[index];
    std::vector<float> values(tensor.n_elements());
    fill_values(HashStream(seed, tensor.name), affine(tensor.name, tensor.ne[0], false), 0, values);
    const GgmlType stored = stored_type(tensor, type);
    std::vector<std::byte> bytes(*formats::row_bytes(stored, values.size()));
    formats::quantize_row(stored, values.data(), bytes.data(), values.size());
    return sink(bytes);
  };
  return writer.write(path, source, {});
}

std::vector<float> make_media(uint64_t seed, std::string_view name, uint64_t n, bool sound) {
  std::vector<float> values(n);
  const Affine map = sound ? Affine{0.0f, 1.0f} : Affine{0.5f, 0.5f};
  fill_values(HashStream(seed, name), map, 0, values);
  return values;
}

}  // namespace kimberlite::synthetic
