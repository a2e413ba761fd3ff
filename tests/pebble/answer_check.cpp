#include "pebble/answer_check.hpp"

#include <algorithm>

namespace kimberlite::testing {
namespace {

using nlohmann::json;

std::string_view stripped(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool is_of_type(const json& value, std::string_view type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  return type == "object" && value.is_object();
}

bool properties_follow(const json& value, const json& schema) {
  const json& properties = schema.at("properties");
  const json& required = schema.at("required");
  return std::ranges::all_of(required, [&](const json& key) { return value.contains(key); }) &&
         std::ranges::all_of(value.items(), [&](const auto& item) {
           return properties.contains(item.key()) && follows(item.value(), properties[item.key()]);
         });
}

}  // namespace

std::string_view judged_text(std::string_view generated) {
  constexpr std::string_view kChannel = "<|channel>", kEndChannel = "<channel|>";
  const std::string_view text = stripped(generated);
  const size_t end = text.find(kEndChannel);
  if (!text.starts_with(kChannel) || end == std::string_view::npos) return text;
  return stripped(text.substr(end + kEndChannel.size()));
}

bool follows(const json& value, const json& schema) {
  if (!is_of_type(value, schema.at("type").get<std::string>())) return false;
  if (schema.contains("enum") && std::ranges::count(schema["enum"], value) == 0) return false;
  if (value.is_array()) {
    return std::ranges::all_of(value,
                               [&](const json& item) { return follows(item, schema.at("items")); });
  }
  return !value.is_object() || properties_follow(value, schema);
}

Verdict judge(const json& check, std::string_view generated) {
  const std::string_view text = judged_text(generated);
  if (check.at("kind") == "exact") return {.right = text == check.at("text").get<std::string>()};
  const json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return {};
  return {.right = value == check.at("value"), .valid = follows(value, check.at("schema"))};
}

}  // namespace kimberlite::testing
