// nlohmann-json with the exceptions off and the limits on.
#include "formats/json_reader.hpp"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "base/mapped_file.hpp"
#include "formats/gguf_parse.hpp"

namespace kimberlite::formats {
namespace {

// A tokenizer.json is four levels deep; each level costs the parser memory.
constexpr int kMaxDepth = 64;

// Counts brackets outside strings before anything is allocated for them.
bool is_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> parse_json_object(std::span<const std::byte> bytes, const std::string& origin) {
  const auto* begin = reinterpret_cast<const char*>(bytes.data());
  if (is_too_deep({begin, bytes.size()})) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: JSON nested deeper than {} levels", origin, kMaxDepth)};
  }
  std::string problem;
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open, by depth
  const auto callback = [&](int depth, Json::parse_event_t event, Json& parsed) {
    const auto level = static_cast<size_t>(depth);
    if (event == Json::parse_event_t::object_start) {
      keys.resize(level + 1);
    } else if (event == Json::parse_event_t::key) {
      // The depth of a key is one more than that of its object's start.
      if (!keys[level - 1].insert(parsed.get_ref<const std::string&>()).second && problem.empty()) {
        problem =
            fmt::format("key {} appears twice", printable(parsed.get_ref<const std::string&>()));
      }
    } else if (event == Json::parse_event_t::object_end) {
      keys.resize(level);
    }
    return true;
  };
  Json json = Json::parse(begin, begin + bytes.size(), callback, false);
  if (!problem.empty()) return Error{ErrorCode::bad_file, origin + ": " + problem};
  if (json.is_discarded()) return Error{ErrorCode::bad_file, origin + ": not valid JSON"};
  if (!json.is_object()) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: expected a JSON object, found {}", origin, json.type_name())};
  }
  return json;
}

Result<Json> read_json_object(const std::string& path, uint64_t max_bytes) {
  KL_ASSIGN(const auto file, MappedFile::open(path));
  if (file.bytes().size() > max_bytes) {
    return Error{ErrorCode::bad_file,
                 fmt::format("{}: {} bytes, allowed are {}", path, file.bytes().size(), max_bytes)};
  }
  return parse_json_object(file.bytes(), path);
}

std::string shown(const Json& value) {
  if (value.is_structured()) return value.type_name();
  return value.is_string() ? printable(value.get_ref<const std::string&>()) : value.dump();
}

const Json* JsonObject::find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

Error JsonObject::error(std::string_view key, std::string_view what) const {
  return {ErrorCode::bad_file, fmt::format("{}: {}: {}", origin_, printable(key), what)};
}

Error JsonObject::unsupported(std::string_view what) const {
  return {ErrorCode::unsupported, fmt::format("{}: {}", origin_, what)};
}

Error JsonObject::mistyped(std::string_view key, std::string_view expected) const {
  const Json* member = find(key);
  if (member == nullptr) return error(key, fmt::format("missing, expected {}", expected));
  return error(key, fmt::format("expected {}, found {}", expected, shown(*member)));
}

Result<uint64_t> JsonObject::u64(std::string_view key, uint64_t min, uint64_t max) const {
  const Json* member = find(key);
  if (member == nullptr || !member->is_number_unsigned() || member->get<uint64_t>() < min ||
      member->get<uint64_t>() > max) {
    return mistyped(key, fmt::format("an integer from {} to {}", min, max));
  }
  return member->get<uint64_t>();
}

Result<uint64_t> JsonObject::u64_or(std::string_view key, uint64_t otherwise, uint64_t min,
                                    uint64_t max) const {
  return has(key) ? u64(key, min, max) : otherwise;
}

Result<double> JsonObject::number_or(std::string_view key, double otherwise) const {
  const Json* member = find(key);
  if (member == nullptr) return otherwise;
  if (!member->is_number()) return mistyped(key, "a number");
  return member->get<double>();
}

Result<bool> JsonObject::boolean_or(std::string_view key, bool otherwise) const {
  const Json* member = find(key);
  if (member == nullptr) return otherwise;
  if (!member->is_boolean()) return mistyped(key, "true or false");
  return member->get<bool>();
}

Result<std::string> JsonObject::str(std::string_view key) const {
  const Json* member = find(key);
  if (member == nullptr || !member->is_string()) return mistyped(key, "a string");
  return member->get_ref<const std::string&>();
}

Result<std::string> JsonObject::str_or(std::string_view key, std::string_view otherwise) const {
  return has(key) ? str(key) : std::string(otherwise);
}

Result<JsonObject> JsonObject::object(std::string_view key) const {
  const Json* member = find(key);
  if (member == nullptr || !member->is_object()) return mistyped(key, "an object");
  return JsonObject(*member, fmt::format("{}: {}", origin_, printable(key)));
}

}  // namespace kimberlite::formats
