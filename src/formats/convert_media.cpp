// Released files and those that transformers writes name the parts of the vision embedder
// differently; both are read. Shapes here are in GGUF order, input first.
#include "formats/convert_media.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>

#include "base/utf8_path.hpp"
#include "formats/convert_config.hpp"
#include "formats/convert_drafter.hpp"
#include "formats/gguf_parse.hpp"
#include "formats/quant.hpp"

namespace kimberlite::formats {
namespace {

constexpr uint64_t kMaxPatch = 256;
constexpr uint64_t kMaxMerge = 16;
constexpr uint64_t kMaxPositions = 1 << 20;
constexpr uint64_t kDefaultMerge = 3;  // what readers take without a key
constexpr double kAudioEps = 1e-6;     // what readers take, whatever the key says
constexpr uint32_t kDummyImageSize = 224;
constexpr uint32_t kDummyMelBins = 128;
constexpr std::string_view kUnified = "gemma4_unified";
constexpr std::string_view kWithEncoders = "gemma4";
constexpr uint64_t kMaxProcessorBytes = 1 << 20;

/// Other names for a size must agree with it.
Status expect_same(const JsonObject& config, std::string_view key, std::string_view other,
                   uint64_t value) {
  KL_ASSIGN(const uint64_t found, config.u64_or(other, value, 0, UINT64_MAX));
  if (found == value) return {};
  return config.unsupported(
      fmt::format("{} is {}, {} is {}: expected the same", other, found, key, value));
}

Result<HfVisionConfig> read_vision(const JsonObject& vision) {
  HfVisionConfig c{};
  KL_ASSIGN(c.patch, vision.u64("patch_size", 1, kMaxPatch));
  KL_ASSIGN(c.merge, vision.u64("pooling_kernel_size", 1, kMaxMerge));
  KL_ASSIGN(c.width, vision.u64("mm_embed_dim", 1, kMaxWidth));
  KL_ASSIGN(c.n_positions, vision.u64("mm_posemb_size", 1, kMaxPositions));
  KL_ASSIGN(c.rms_eps, read_hf_eps(vision));
  KL_TRY(expect_same(vision, "patch_size * pooling_kernel_size", "model_patch_size", c.side()));
  KL_TRY(expect_same(vision, "mm_embed_dim", "output_proj_dims", c.width));
  return c;
}

Result<HfAudioConfig> read_audio(const JsonObject& audio) {
  HfAudioConfig c{};
  KL_ASSIGN(c.frame, audio.u64("audio_embed_dim", 1, kMaxWidth));
  KL_ASSIGN(c.rms_eps, read_hf_eps(audio));
  for (const char* key : {"hidden_size", "output_proj_dims", "audio_samples_per_token"}) {
    KL_TRY(expect_same(audio, "audio_embed_dim", key, c.frame));
  }
  if (c.rms_eps != kAudioEps) {
    return audio.unsupported(
        fmt::format("rms_norm_eps is {}, readers of gemma4ua take {}", c.rms_eps, kAudioEps));
  }
  return c;
}

/// Why a folder of this model_type has no projector.
Status check_model_type(const JsonObject& config, std::string_view model_type) {
  if (model_type == kUnified || model_type == kWithEncoders) return {};
  if (is_hf_drafter(model_type)) {
    return config.unsupported(
        fmt::format("model_type {} is a drafter, which has no projector", model_type));
  }
  return config.unsupported(fmt::format("model_type {} has no projector, expected {} or {}",
                                        printable(model_type), kUnified, kWithEncoders));
}

void write_vision(const HfMediaConfig& media, GgufWriter& writer) {
  const HfVisionConfig& c = *media.vision;
  writer.set_string("clip.vision.projector_type", "gemma4uv");
  write_hf_patches({c.patch, c.merge}, writer);
  write_hf_encoder("clip.vision", {.width = c.width, .hidden = media.hidden, .rms_eps = c.rms_eps},
                   writer);
}

void write_audio(const HfMediaConfig& media, GgufWriter& writer) {
  const HfAudioConfig& c = *media.audio;
  writer.set_string("clip.audio.projector_type", "gemma4ua");
  writer.set_u32("clip.audio.num_mel_bins", kDummyMelBins);
  write_hf_encoder("clip.audio", {.width = c.frame, .hidden = media.hidden, .rms_eps = c.rms_eps},
                   writer);
}

Status add_vision(const HfMediaConfig& media, Planner& planner) {
  constexpr std::string_view kPrefixes[] = {"model.vision_embedder.", "model.embed_vision.",
                                            "vision_embedder.", "embed_vision."};
  constexpr std::string_view kDense = "patch_dense.weight";
  const HfVisionConfig& c = *media.vision;
  std::string prefix = pick_hf_name(planner, kPrefixes, kDense);
  prefix.resize(prefix.size() - kDense.size());
  // The checkpoint has a pixel's colours side by side, the GGUF file a plane for each colour.
  const uint64_t n = c.n_values();
  const auto planar = [n](uint64_t i) {
    const uint64_t n_pixels = n / 3;
    const uint64_t colour = i % n / n_pixels;
    return i / n * n + i % n_pixels * 3 + colour;
  };
  // The checkpoint has a column's and a row's vector side by side, the GGUF file a table for each.
  const auto by_axis = [width = c.width, n_positions = c.n_positions](uint64_t i) {
    const uint64_t axis = i / (width * n_positions);
    const uint64_t position = i / width % n_positions;
    return (position * 2 + axis) * width + i % width;
  };
  const uint64_t values[] = {n}, matrix[] = {n, c.width}, table[] = {c.width, 2, c.n_positions};
  KL_TRY(planner.add_rearranged("v.patch_embd.weight", prefix + "patch_dense.weight", matrix,
                                {n, c.width}, planar,
                                planner.pick_matrix_type("v.patch_embd.weight", n)));
  KL_TRY(planner.add_vector("v.patch_embd.bias", prefix + "patch_dense.bias", c.width));
  for (const std::string part : {"weight", "bias"}) {
    KL_TRY(planner.add_rearranged("v.patch_norm.1." + part, prefix + "patch_ln1." + part, values,
                                  {n}, planar));
    KL_TRY(planner.add_vector("v.patch_norm.2." + part, prefix + "patch_ln2." + part, c.width));
    KL_TRY(planner.add_vector("v.patch_norm.3." + part, prefix + "pos_norm." + part, c.width));
  }
  KL_TRY(planner.add_rearranged("v.position_embd.weight", prefix + "pos_embedding", table,
                                {c.width, c.n_positions, 2}, by_axis, GgmlType::f16));
  return planner.add_matrix("mm.input_projection.weight", pick_hf_vision_projection(planner),
                            {c.width, media.hidden});
}

Status add_audio(const HfMediaConfig& media, Planner& planner) {
  constexpr std::string_view kProjections[] = {"model.embed_audio.embedding_projection.weight",
                                               "embed_audio.embedding_projection.weight"};
  return planner.add_matrix("mm.a.input_projection.weight", pick_hf_name(planner, kProjections),
                            {media.audio->frame, media.hidden});
}

}  // namespace

Result<double> read_hf_eps(const JsonObject& config) {
  KL_ASSIGN(const double eps, config.number_or("rms_norm_eps", 1e-6));
  if (!(eps > 0.0)) return config.error("rms_norm_eps", fmt::format("{} is not above 0", eps));
  return eps;
}

void write_hf_patches(const HfPatches& patches, GgufWriter& writer) {
  constexpr float kMean[] = {0.0f, 0.0f, 0.0f};
  constexpr float kStd[] = {1.0f, 1.0f, 1.0f};
  writer.set_u32("clip.vision.image_size", kDummyImageSize);
  writer.set_u32("clip.vision.patch_size", static_cast<uint32_t>(patches.patch));
  writer.set_array("clip.vision.image_mean", std::span<const float>(kMean));
  writer.set_array("clip.vision.image_std", std::span<const float>(kStd));
  if (patches.merge != kDefaultMerge) {
    writer.set_u32("clip.vision.projector.scale_factor", static_cast<uint32_t>(patches.merge));
  }
}

void write_hf_encoder(std::string_view prefix, const HfEncoder& encoder, GgufWriter& writer) {
  const auto set = [&](std::string_view key, uint64_t value) {
    writer.set_u32(fmt::format("{}.{}", prefix, key), static_cast<uint32_t>(value));
  };
  set("embedding_length", encoder.width);
  set("feed_forward_length", encoder.ffn);
  set("block_count", encoder.n_layers);
  set("projection_dim", encoder.hidden);
  set("attention.head_count", encoder.n_heads);
  writer.set_f32(fmt::format("{}.attention.layer_norm_epsilon", prefix),
                 static_cast<float>(encoder.rms_eps));
}

std::string pick_hf_name(const Planner& planner, std::span<const std::string_view> names,
                         std::string_view suffix) {
  for (const std::string_view name : names) {
    std::string full = fmt::format("{}{}", name, suffix);
    if (planner.has(full)) return full;
  }
  return fmt::format("{}{}", names.front(), suffix);
}

Status add_hf_bounds(const std::string& stem, const std::string& source_stem, Planner& planner) {
  for (const char* bound : {"input_min", "input_max", "output_min", "output_max"}) {
    const uint64_t one[] = {1};
    KL_ASSIGN(const SafetensorsTensor* source, planner.take(source_stem + bound, one));
    if (source->dtype->ggml) {
      float value = 0;
      dequantize_row(*source->dtype->ggml, source->data.data(), &value, 1);
      if (std::isinf(value)) continue;
    }
    KL_TRY(planner.add_vector(stem + bound, source_stem + bound, 1));
  }
  return {};
}

std::string pick_hf_vision_projection(const Planner& planner) {
  constexpr std::string_view kProjections[] = {
      "model.embed_vision.embedding_projection.weight",
      "model.embed_vision.multimodal_embedder.embedding_projection.weight",
      "embed_vision.embedding_projection.weight",
      "embed_vision.multimodal_embedder.embedding_projection.weight"};
  return pick_hf_name(planner, kProjections);
}

Result<HfMediaConfig> read_hf_media(const JsonObject& config) {
  KL_ASSIGN(const auto model_type, config.str("model_type"));
  KL_TRY(check_model_type(config, model_type));
  const bool with_encoders = model_type == kWithEncoders;
  HfMediaConfig c{};
  KL_ASSIGN(const auto text, config.object("text_config"));
  KL_ASSIGN(c.hidden, text.u64("hidden_size", 1, kMaxWidth));
  if (config.has("vision_config")) {
    KL_ASSIGN(const auto vision, config.object("vision_config"));
    if (with_encoders) {
      KL_ASSIGN(c.tower, read_hf_tower(vision));
    } else {
      KL_ASSIGN(c.vision, read_vision(vision));
    }
  }
  if (config.has("audio_config")) {
    KL_ASSIGN(const auto audio, config.object("audio_config"));
    if (with_encoders) {
      KL_ASSIGN(c.conformer, read_hf_conformer(audio));
    } else {
      KL_ASSIGN(c.audio, read_audio(audio));
    }
  }
  if (!c.vision && !c.tower && !c.has_sounds()) {
    return config.unsupported(
        "neither vision_config nor audio_config is there: the model has no projector");
  }
  return c;
}

void write_hf_media(const HfMediaConfig& c, GgufWriter& writer) {
  writer.set_string("general.architecture", "clip");
  writer.set_bool("clip.has_vision_encoder", c.token_side() != 0);
  writer.set_bool("clip.has_audio_encoder", c.has_sounds());
  if (c.vision) write_vision(c, writer);
  if (c.tower) write_hf_tower(*c.tower, c.hidden, writer);
  if (c.audio) write_audio(c, writer);
  if (c.conformer) write_hf_conformer(*c.conformer, c.hidden, writer);
}

Status write_hf_processor(const std::string& dir, const HfMediaConfig& c, GgufWriter& writer) {
  const std::string path = to_utf8(utf8_path(dir) / "processor_config.json");
  std::error_code failure;
  if (c.token_side() == 0 || !std::filesystem::is_regular_file(utf8_path(path), failure)) return {};
  KL_ASSIGN(const auto json, read_json_object(path, kMaxProcessorBytes));
  const JsonObject processor(json, path);
  if (!processor.has("image_processor")) return {};
  KL_ASSIGN(const auto images, processor.object("image_processor"));
  if (!images.has("max_soft_tokens")) return {};
  const uint64_t patch_pixels = c.token_side() * c.token_side();
  KL_ASSIGN(const auto n_tokens, images.u64("max_soft_tokens", 1, UINT32_MAX / patch_pixels));
  writer.set_u32("clip.vision.image_max_pixels", static_cast<uint32_t>(n_tokens * patch_pixels));
  return {};
}

Result<TensorPlan> plan_media_tensors(const HfMediaConfig& c, const Safetensors& files,
                                      GgmlType type) {
  Planner planner(files, type);
  if (std::ranges::none_of(files.tensors(), [](const SafetensorsTensor& tensor) {
        return is_media_tensor(tensor.name);
      })) {
    return Error{ErrorCode::bad_file,
                 fmt::format("none of the {} tensors is one of vision or audio: the checkpoint has "
                             "no projector",
                             files.tensors().size())};
  }
  if (c.vision) KL_TRY(add_vision(c, planner));
  if (c.tower) KL_TRY(add_hf_tower(*c.tower, c.hidden, planner));
  if (c.audio) KL_TRY(add_audio(c, planner));
  if (c.conformer) KL_TRY(add_hf_conformer(*c.conformer, c.hidden, planner));
  for (const SafetensorsTensor& tensor : files.tensors()) {
    if (planner.is_used(tensor.name)) continue;
    if (is_media_tensor(tensor.name)) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: not a tensor of the projector that the config describes",
                               printable(tensor.name))};
    }
    ++planner.plan().n_skipped;
  }
  return std::move(planner.plan());
}

}  // namespace kimberlite::formats
