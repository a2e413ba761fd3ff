// What a drafter (an "assistant" of transformers) has beside the layers of a text model. Internal
// to formats.
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "formats/convert_config.hpp"
#include "formats/convert_planner.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/json_reader.hpp"

namespace kimberlite::formats {

/// Whether a config.json with this model_type describes a drafter.
bool is_hf_drafter(std::string_view model_type);

/// Reads and range-checks a drafter's config.json.
Result<HfTextConfig> read_hf_drafter(const JsonObject& config);

/// Sets the keys that only drafters have.
void write_hf_drafter(const HfTextConfig& config, GgufWriter& writer);

/// The projections into and out of the drafter and, where it has one, its sparse head.
Status add_drafter_ends(const HfTextConfig& config, Planner& planner);

}  // namespace kimberlite::formats
