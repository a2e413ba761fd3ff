// How an answer of Pebble is judged: the rules of tools/pebble/checks.py, so that the engine and
// transformers are scored alike.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace kimberlite::testing {

struct Verdict {
  bool right = false;
  bool valid = false;  // of a JSON answer: it follows the schema
};

/// What was generated, control tokens by name and the one that ended it left out, less a thought at
/// its beginning and white space around.
std::string_view judged_text(std::string_view generated);

/// The part of JSON Schema that Pebble's prompts use; keys not listed are not allowed.
bool follows(const nlohmann::json& value, const nlohmann::json& schema);

/// `check`: {"kind": "exact", "text"} or {"kind": "json", "schema", "value"}.
Verdict judge(const nlohmann::json& check, std::string_view generated);

}  // namespace kimberlite::testing
