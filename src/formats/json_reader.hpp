// JSON from files that may be hostile: bounded size and depth, no duplicate keys, no exceptions,
// and typed access that names the file, the key and what was found. Internal to formats.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace kimberlite::formats {

using Json = nlohmann::json;

/// One JSON object filling all of `bytes` (trailing blanks allowed). `origin` names it in messages.
Result<Json> parse_json_object(std::span<const std::byte> bytes, const std::string& origin);

/// The same from a file of at most `max_bytes`.
Result<Json> read_json_object(const std::string& path, uint64_t max_bytes);

/// A value for a message: a number, a bool, a string made printable, or "array" and "object".
std::string shown(const Json& value);

/// Typed members of one object. A null counts as missing. The ..._or functions take a default for
/// a missing member; a member of another type is always an error.
class JsonObject {
 public:
  /// `object` must be an object that outlives this; `origin` is a path such as "config.json".
  JsonObject(const Json& object, std::string origin)
      : object_(object), origin_(std::move(origin)) {}

  /// The member, or null where it is missing or null.
  [[nodiscard]] const Json* find(std::string_view key) const;
  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }

  [[nodiscard]] Result<uint64_t> u64(std::string_view key, uint64_t min, uint64_t max) const;
  [[nodiscard]] Result<uint64_t> u64_or(std::string_view key, uint64_t otherwise, uint64_t min,
                                        uint64_t max) const;
  [[nodiscard]] Result<double> number_or(std::string_view key, double otherwise) const;
  [[nodiscard]] Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  [[nodiscard]] Result<std::string> str(std::string_view key) const;
  [[nodiscard]] Result<std::string> str_or(std::string_view key, std::string_view otherwise) const;
  [[nodiscard]] Result<JsonObject> object(std::string_view key) const;

  /// "origin: key: what", a bad_file.
  [[nodiscard]] Error error(std::string_view key, std::string_view what) const;
  /// "origin: what", an unsupported.
  [[nodiscard]] Error unsupported(std::string_view what) const;
  [[nodiscard]] const Json& json() const { return object_; }
  [[nodiscard]] const std::string& origin() const { return origin_; }

 private:
  [[nodiscard]] Error mistyped(std::string_view key, std::string_view expected) const;

  const Json& object_;  // Borrowed from the caller.
  std::string origin_;
};

}  // namespace kimberlite::formats
