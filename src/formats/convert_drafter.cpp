// The layers are those of a text model without keys and values: plan_tensors has them.
#include "formats/convert_drafter.hpp"

#include <fmt/format.h>

#include <vector>

#include "base/numeric.hpp"

namespace kimberlite::formats {
namespace {

/// What the text configuration could say, no drafter has, and a GGUF file of one cannot express.
Status refuse_other_layers(const JsonObject& config, const HfTextConfig& c) {
  if (c.per_layer != 0) {
    return config.unsupported(
        fmt::format("hidden_size_per_layer_input is {}, a drafter has 0", c.per_layer));
  }
  if (c.n_experts != 0) {
    return config.unsupported(fmt::format("num_experts is {}, a drafter has none", c.n_experts));
  }
  KL_ASSIGN(const auto tied, config.boolean_or("tie_word_embeddings", true));
  if (!tied || !c.tied_embeddings) {
    return config.unsupported("tie_word_embeddings is false, a drafter's head is its embedding");
  }
  if (c.n_shared_kv != c.n_layers) {
    return config.unsupported(fmt::format(
        "num_kv_shared_layers is {} of {} layers, a drafter has no keys and values of its own",
        c.n_shared_kv, c.n_layers));
  }
  return {};
}

Status read_sparse_head(const JsonObject& config, HfTextConfig& c) {
  KL_ASSIGN(const bool ordered, config.boolean_or("use_ordered_embeddings", false));
  if (!ordered) return {};
  KL_ASSIGN(c.n_centroids, config.u64("num_centroids", 1, c.n_vocab));
  KL_ASSIGN(c.centroid_top_k, config.u64("centroid_intermediate_top_k", 1, c.n_centroids));
  if (c.n_vocab % c.n_centroids != 0) {
    return config.error("num_centroids", fmt::format("vocab_size {} is no multiple of {}",
                                                     c.n_vocab, c.n_centroids));
  }
  return {};
}

/// The ordering as i32: a permutation of the token ids, cluster by cluster.
Result<std::vector<int32_t>> read_ordering(const SafetensorsTensor& source) {
  const uint64_t n = source.n_elements();
  const uint64_t width = source.dtype->n_bytes;
  std::vector<int32_t> ids(n);
  std::vector<bool> seen(n);
  for (uint64_t i = 0; i < n; ++i) {
    const std::byte* entry = &source.data[i * width];
    const int64_t id = width == sizeof(int64_t) ? load<int64_t>(entry) : load<int32_t>(entry);
    if (id < 0 || static_cast<uint64_t>(id) >= n) {
      return Error{ErrorCode::bad_file, fmt::format("{}: entry {} is {}, expected a token id below "
                                                    "{}",
                                                    source.name, i, id, n)};
    }
    if (seen[static_cast<uint64_t>(id)]) {
      return Error{ErrorCode::bad_file,
                   fmt::format("{}: entry {} has token id {} a second time", source.name, i, id)};
    }
    seen[static_cast<uint64_t>(id)] = true;
    ids[i] = static_cast<int32_t>(id);
  }
  return ids;
}

Status add_ordering(const HfTextConfig& c, Planner& planner) {
  const uint64_t ne[] = {c.n_vocab};
  KL_ASSIGN(const SafetensorsTensor* source, planner.take("masked_embedding.token_ordering", ne));
  if (source->dtype->name != "I64" && source->dtype->name != "I32") {
    return Error{ErrorCode::unsupported, fmt::format("{}: dtype {}, convert reads I64 and I32",
                                                     source->name, source->dtype->name)};
  }
  KL_ASSIGN(auto ids, read_ordering(*source));
  planner.add({"masked_embd_ordering",
               GgmlType::i32,
               {c.n_vocab},
               source,
               [ids = std::move(ids)](const ByteSink& sink) {
                 return sink(std::as_bytes(std::span(ids)));
               }});
  return {};
}

}  // namespace

bool is_hf_drafter(std::string_view model_type) {
  return model_type == "gemma4_assistant" || model_type == "gemma4_unified_assistant";
}

Result<HfTextConfig> read_hf_drafter(const JsonObject& config) {
  KL_ASSIGN(const auto text, config.object("text_config"));
  KL_ASSIGN(HfTextConfig c, read_hf_text_config(text, true));
  KL_ASSIGN(c.target_hidden, config.u64("backbone_hidden_size", 1, kMaxWidth));
  if (c.target_hidden == c.hidden) {
    return config.error("backbone_hidden_size",
                        fmt::format("{} is the drafter's own hidden_size; readers of drafters "
                                    "expect two widths",
                                    c.target_hidden));
  }
  // transformers fills in what is missing or 0.
  if (c.n_shared_kv == 0) c.n_shared_kv = c.n_layers;
  KL_TRY(refuse_other_layers(config, c));
  KL_TRY(read_sparse_head(config, c));
  c.softcap = 0.0;  // transformers has none for drafters, whatever the text config says
  return c;
}

void write_hf_drafter(const HfTextConfig& c, GgufWriter& writer) {
  const auto set = [&](std::string_view key, uint64_t value) {
    writer.set_u32(fmt::format("{}.{}", c.architecture(), key), static_cast<uint32_t>(value));
  };
  set("embedding_length_out", c.target_hidden);
  set("nextn_predict_layers", c.n_layers);
  if (c.n_centroids != 0) set("centroid_top_k", c.centroid_top_k);
}

Status add_drafter_ends(const HfTextConfig& c, Planner& planner) {
  KL_TRY(planner.add_matrix("nextn.pre_projection.weight", "pre_projection.weight",
                            {2 * c.target_hidden, c.hidden}));
  KL_TRY(planner.add_matrix("nextn.post_projection.weight", "post_projection.weight",
                            {c.hidden, c.target_hidden}));
  if (c.n_centroids == 0) return {};
  KL_TRY(planner.add_matrix("masked_embd_centroids.weight", "masked_embedding.centroids.weight",
                            {c.hidden, c.n_centroids}));
  return add_ordering(c, planner);
}

}  // namespace kimberlite::formats
