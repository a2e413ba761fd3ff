// The golden container: a JSON header and one blob of little-endian arrays.
#include "support/golden.hpp"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <span>

#include "base/numeric.hpp"

namespace kimberlite::testing {
namespace {

using nlohmann::json;

Result<std::string> read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error{ErrorCode::io, fmt::format("{}: cannot be opened", path)};
  return std::string(std::istreambuf_iterator<char>(file), {});
}

template <typename T>
std::vector<double> widen(std::string_view bytes) {
  std::vector<double> values(bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<double>(load<T>(bytes.data() + i * sizeof(T)));
  }
  return values;
}

struct ValueType {
  size_t n_bytes;
  std::vector<double> (*widen_all)(std::string_view);
};
const std::map<std::string, ValueType> kTypes = {{"float32", {4, widen<float>}},
                                                 {"float64", {8, widen<double>}},
                                                 {"uint8", {1, widen<uint8_t>}},
                                                 {"uint16", {2, widen<uint16_t>}}};

Result<GoldenArray> read_array(const std::string& name, const json& entry, std::string_view blob) {
  GoldenArray array;
  array.shape = entry.at("shape").get<std::vector<size_t>>();
  const auto& [n_value_bytes, widen_all] = kTypes.at(entry.at("type").get<std::string>());
  size_t n_bytes = n_value_bytes;
  for (const size_t extent : array.shape) n_bytes *= extent;
  const auto offset = entry.at("offset").get<size_t>();
  if (offset > blob.size() || n_bytes > blob.size() - offset) {
    return Error{ErrorCode::bad_file, fmt::format("{}: needs {} bytes at {}, the file has {}", name,
                                                  n_bytes, offset, blob.size())};
  }
  const std::string_view bytes = blob.substr(offset, n_bytes);
  array.values = widen_all(bytes);
  return array;
}

std::vector<float> slice(const std::vector<double>& values, size_t start, size_t count) {
  KL_CHECK(start + count <= values.size(), "a row beyond the end of a golden array");
  std::vector<float> row(count);
  for (size_t i = 0; i < count; ++i) row[i] = static_cast<float>(values[start + i]);
  return row;
}

}  // namespace

std::vector<float> GoldenArray::row(size_t index) const {
  KL_CHECK(!shape.empty() && index < shape[0], "a row that the golden array lacks");
  const size_t width = values.size() / shape[0];
  return slice(values, index * width, width);
}

std::vector<float> GoldenArray::row(size_t i, size_t j) const {
  KL_CHECK(shape.size() >= 2 && i < shape[0] && j < shape[1], "a row the golden array lacks");
  const size_t width = values.size() / (shape[0] * shape[1]);
  return slice(values, (i * shape[1] + j) * width, width);
}

Result<Golden> Golden::load(std::string_view name) {
  const std::string stem = fmt::format("{}/tests/golden/{}", KIMBERLITE_SOURCE_DIR, name);
  KL_ASSIGN(const std::string text, read_all(stem + ".json"));
  Golden golden;
  golden.name = name;
  golden.header = json::parse(text, nullptr, false);
  const json& header = golden.header;
  if (!header.is_object()) {
    return Error{ErrorCode::bad_file, fmt::format("{}.json: not a JSON object", stem)};
  }
  std::string blob;
  const json arrays = header.value("arrays", json::object());
  if (!arrays.empty()) {
    KL_ASSIGN(blob, read_all(stem + ".bin"));
  }
  for (const auto& [key, entry] : arrays.items()) {
    KL_ASSIGN(GoldenArray array, read_array(key, entry, blob));
    golden.arrays.emplace(key, std::move(array));
  }
  if (!header.contains("shape")) return golden;
  golden.seed = header.at("seed").get<uint64_t>();
  golden.tokens = header.at("tokens").get<std::vector<int32_t>>();
  golden.greedy = header.at("greedy").get<std::vector<int32_t>>();
  golden.positions = header.at("positions").get<std::vector<size_t>>();
  golden.n_vocab = header.at("shape").at("vocab").get<size_t>();
  golden.min_margin = header.at("measured").at("min_margin").get<float>();
  golden.noise = header.at("measured").at("eager_against_float64").get<float>();
  return golden;
}

const GoldenArray& Golden::array(std::string_view key) const {
  const auto found = arrays.find(key);
  KL_CHECK(found != arrays.end(), "the golden file lacks this array");
  return found->second;
}

const GoldenArray& Golden::typed_logits(std::string_view type) const {
  return array(fmt::format("logits.{}", type));
}

}  // namespace kimberlite::testing
