// Every check that the container itself allows, in file order. A count is never trusted as an
// allocation size: it is bounded by the bytes left, and tables grow as elements arrive.
#include "formats/gguf_parse.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "base/numeric.hpp"

namespace kimberlite::formats {
namespace {

// The least bytes that one key (length, type, value) and one tensor info can take.
constexpr uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& origin)
      : bytes_(bytes), origin_(origin) {}

  Result<ParsedGguf> parse() {
    KL_TRY(parse_counts());
    for (uint64_t i = 0; i < n_entries_; ++i) KL_TRY(parse_entry());
    KL_TRY(read_alignment());
    for (uint64_t i = 0; i < n_tensors_; ++i) KL_TRY(parse_tensor());
    KL_TRY(place_tensors());
    return std::move(out_);
  }

 private:
  [[nodiscard]] uint64_t n_left() const { return bytes_.size() - pos_; }

  [[nodiscard]] Error fail(uint64_t offset, std::string_view what,
                           ErrorCode code = ErrorCode::bad_file) const {
    return {code, fmt::format("{}: byte {}: {}", origin_, offset, what)};
  }

  Result<std::span<const std::byte>> take(uint64_t n_bytes, std::string_view what) {
    if (n_bytes > n_left()) {
      return fail(pos_,
                  fmt::format("{} needs {} bytes, the file has {} left", what, n_bytes, n_left()));
    }
    const auto taken = bytes_.subspan(pos_, n_bytes);
    pos_ += n_bytes;
    return taken;
  }

  template <typename T>
  Result<T> number(std::string_view what) {
    KL_ASSIGN(const auto taken, take(sizeof(T), what));
    return load<T>(taken.data());
  }

  Result<std::string_view> text(uint64_t limit, std::string_view what) {
    const uint64_t start = pos_;
    KL_ASSIGN(const auto n_bytes, number<uint64_t>(what));
    if (n_bytes > limit) {
      return fail(start, fmt::format("{} has {} bytes, allowed are {}", what, n_bytes, limit));
    }
    KL_ASSIGN(const auto taken, take(n_bytes, what));
    return std::string_view(reinterpret_cast<const char*>(taken.data()), taken.size());
  }

  Status parse_counts();
  Status parse_entry();
  Result<GgufValue> parse_value(std::string_view what, uint32_t type_id);
  Status parse_array(std::string_view what, GgufValue& value);
  Status check_bools(std::string_view what, const GgufValue& value) const;
  Status read_alignment();
  Status parse_tensor();
  Status parse_shape(std::string_view what, TensorInfo& tensor);
  Result<uint64_t> tensor_bytes(std::string_view what, const TensorInfo& tensor) const;
  Status place_tensors();

  std::span<const std::byte> bytes_;
  const std::string& origin_;  // Borrowed from the caller of parse_gguf.
  uint64_t pos_ = 0;
  uint64_t n_entries_ = 0;
  uint64_t n_tensors_ = 0;
  std::vector<uint64_t> tensor_offsets_;  // as in the file: from the start of the data
  std::vector<uint64_t> tensor_bytes_;
  ParsedGguf out_;
};

Status Parser::parse_counts() {
  KL_ASSIGN(const auto magic, take(sizeof(kGgufMagic), "the magic"));
  if (std::memcmp(magic.data(), kGgufMagic, sizeof(kGgufMagic)) != 0) {
    return fail(0, fmt::format("not a GGUF file: it begins with \"{}\", expected \"GGUF\"",
                               printable({reinterpret_cast<const char*>(magic.data()), 4})));
  }
  KL_ASSIGN(out_.version, number<uint32_t>("the version"));
  if (out_.version != 0 && (out_.version & 0xffffu) == 0) {
    return fail(4, "the file is big-endian; only little-endian GGUF is supported",
                ErrorCode::unsupported);
  }
  if (out_.version != 2 && out_.version != kGgufVersion) {
    return fail(4, fmt::format("GGUF version {}, supported are 2 and 3", out_.version),
                ErrorCode::unsupported);
  }
  const auto count = [&](std::string_view what, uint64_t limit,
                         uint64_t min_bytes) -> Result<uint64_t> {
    const uint64_t at = pos_;
    KL_ASSIGN(const auto n, number<uint64_t>(what));
    if (n > limit) return fail(at, fmt::format("{} is {}, allowed are {}", what, n, limit));
    if (n > n_left() / min_bytes) {
      return fail(at,
                  fmt::format("{} is {}, but the file has only {} bytes left", what, n, n_left()));
    }
    return n;
  };
  KL_ASSIGN(n_tensors_, count("the tensor count", kMaxTensors, kMinTensorBytes));
  KL_ASSIGN(n_entries_, count("the key count", kMaxKeys, kMinEntryBytes));
  return {};
}

Status Parser::parse_entry() {
  const uint64_t start = pos_;
  const size_t index = out_.entries.size();
  KL_ASSIGN(const auto key, text(kMaxKeyBytes, fmt::format("the name of key {}", index)));
  if (key.empty()) return fail(start, fmt::format("key {} has an empty name", index));
  const std::string what = fmt::format("key {}", printable(key));
  if (!out_.entry_index.emplace(key, index).second) {
    return fail(start, fmt::format("{} appears twice", what));
  }
  KL_ASSIGN(const auto type_id, number<uint32_t>(what));
  KL_ASSIGN(const auto value, parse_value(what, type_id));
  out_.entries.push_back({key, value});
  return {};
}

Result<GgufValue> Parser::parse_value(std::string_view what, uint32_t type_id) {
  const auto type = static_cast<GgufType>(type_id);
  GgufValue value{type, type, 1, {}, pos_};
  if (type == GgufType::array) {
    KL_TRY(parse_array(what, value));
  } else if (type == GgufType::string) {
    KL_ASSIGN(const auto content, text(kMaxStringBytes, what));
    value.data = std::as_bytes(std::span(content));
    value.offset = pos_ - content.size();
  } else if (const uint32_t n_bytes = scalar_bytes(type); n_bytes != 0) {
    KL_ASSIGN(value.data, take(n_bytes, what));
  } else {
    return fail(pos_ - 4, fmt::format("{}: value type {} does not exist", what, type_id));
  }
  KL_TRY(check_bools(what, value));
  return value;
}

Status Parser::parse_array(std::string_view what, GgufValue& value) {
  const uint64_t start = pos_;
  KL_ASSIGN(const auto element_id, number<uint32_t>(what));
  value.element = static_cast<GgufType>(element_id);
  const uint32_t element_bytes = scalar_bytes(value.element);
  if (value.element == GgufType::array) {
    return fail(start, fmt::format("{}: arrays of arrays are not supported", what));
  }
  if (element_bytes == 0 && value.element != GgufType::string) {
    return fail(start, fmt::format("{}: array element type {} does not exist", what, element_id));
  }
  KL_ASSIGN(value.count, number<uint64_t>(what));
  // A string costs at least its length word.
  const uint64_t min_bytes = element_bytes != 0 ? element_bytes : sizeof(uint64_t);
  if (value.count > kMaxArrayCount || value.count > n_left() / min_bytes) {
    return fail(start + 4, fmt::format("{}: an array of {} elements of at least {} bytes, the "
                                       "file has {} bytes left",
                                       what, value.count, min_bytes, n_left()));
  }
  value.offset = pos_;
  if (element_bytes != 0) {
    KL_ASSIGN(value.data, take(value.count * element_bytes, what));
    return {};
  }
  // Half a million merges come this way: no allocation and no formatting unless it fails.
  for (uint64_t i = 0; i < value.count; ++i) {
    uint64_t n_bytes = 0;
    if (n_left() >= sizeof(n_bytes)) n_bytes = load<uint64_t>(bytes_.data() + pos_);
    if (n_left() < sizeof(n_bytes) || n_bytes > kMaxStringBytes ||
        n_bytes > n_left() - sizeof(n_bytes)) {
      return fail(pos_, fmt::format("{}: element {} of {} needs {} bytes after its length, the "
                                    "file has {} bytes left with the length",
                                    what, i, value.count, n_bytes, n_left()));
    }
    pos_ += sizeof(n_bytes) + n_bytes;
  }
  value.data = bytes_.subspan(value.offset, pos_ - value.offset);
  return {};
}

// A bool is loaded as such later, which is only defined for 0 and 1.
Status Parser::check_bools(std::string_view what, const GgufValue& value) const {
  if (value.element != GgufType::boolean) return {};
  const auto bad = std::ranges::find_if(value.data, [](std::byte b) { return b > std::byte{1}; });
  if (bad == value.data.end()) return {};
  const auto index = static_cast<uint64_t>(bad - value.data.begin());
  return fail(value.offset + index,
              fmt::format("{}: a bool is {}, expected 0 or 1", what, static_cast<unsigned>(*bad)));
}

Status Parser::read_alignment() {
  const auto found = out_.entry_index.find("general.alignment");
  if (found == out_.entry_index.end()) return {};
  const GgufValue& value = out_.entries[found->second].value;
  if (value.type != GgufType::u32) {
    return fail(value.offset, fmt::format("key general.alignment: expected u32, found {}",
                                          gguf_type_name(value.type)));
  }
  const auto alignment = load<uint32_t>(value.data.data());
  if (!std::has_single_bit(alignment) || alignment < kMinAlignment || alignment > kMaxAlignment) {
    return fail(value.offset,
                fmt::format("key general.alignment: {}, expected a power of two from {} to {}",
                            alignment, kMinAlignment, kMaxAlignment));
  }
  out_.alignment = alignment;
  return {};
}

Status Parser::parse_tensor() {
  const uint64_t start = pos_;
  const size_t index = out_.tensors.size();
  TensorInfo tensor{};
  KL_ASSIGN(tensor.name, text(kMaxTensorNameBytes, fmt::format("the name of tensor {}", index)));
  if (tensor.name.empty()) return fail(start, fmt::format("tensor {} has an empty name", index));
  const std::string what = fmt::format("tensor {}", printable(tensor.name));
  if (!out_.tensor_index.emplace(tensor.name, index).second) {
    return fail(start, fmt::format("{} appears twice", what));
  }
  KL_TRY(parse_shape(what, tensor));
  const uint64_t type_at = pos_;
  KL_ASSIGN(const auto type_id, number<uint32_t>(what));
  const auto type = find_ggml_type(type_id);
  if (!type) {
    return fail(type_at,
                fmt::format("{}: tensor type {} is not known or was retired", what, type_id),
                ErrorCode::unsupported);
  }
  tensor.type = *type;
  KL_ASSIGN(const auto n_bytes, tensor_bytes(what, tensor));
  const uint64_t offset_at = pos_;
  KL_ASSIGN(const auto offset, number<uint64_t>(what));
  if (offset % out_.alignment != 0) {
    return fail(offset_at, fmt::format("{}: offset {} is no multiple of the alignment {}", what,
                                       offset, out_.alignment));
  }
  tensor_offsets_.push_back(offset);
  tensor_bytes_.push_back(n_bytes);
  out_.tensors.push_back(tensor);
  return {};
}

Status Parser::parse_shape(std::string_view what, TensorInfo& tensor) {
  const uint64_t start = pos_;
  KL_ASSIGN(tensor.n_dims, number<uint32_t>(what));
  if (tensor.n_dims == 0 || tensor.n_dims > kMaxDims) {
    return fail(start, fmt::format("{}: {} dimensions, allowed are 1 to {}", what, tensor.n_dims,
                                   kMaxDims));
  }
  tensor.ne = {1, 1, 1, 1};
  // The product is taken over the dimensions that are not zero, so that a zero cannot hide two
  // others that overflow as soon as somebody multiplies them alone.
  std::optional<uint64_t> product = 1;
  for (uint32_t i = 0; i < tensor.n_dims; ++i) {
    KL_ASSIGN(tensor.ne[i], number<uint64_t>(what));
    product = checked_mul(*product, std::max<uint64_t>(tensor.ne[i], 1));
    if (!product || *product > INT64_MAX) {
      return fail(start,
                  fmt::format("{}: the dimensions up to {} overflow 63 bits", what, tensor.ne[i]));
    }
  }
  return {};
}

Result<uint64_t> Parser::tensor_bytes(std::string_view what, const TensorInfo& tensor) const {
  const GgmlTraits& t = traits(tensor.type);
  if (tensor.ne[0] % t.block_elems != 0) {
    return fail(pos_, fmt::format("{}: rows of {} elements, {} needs a multiple of {}", what,
                                  tensor.ne[0], t.name, t.block_elems));
  }
  std::optional<uint64_t> n_bytes = row_bytes(tensor.type, tensor.ne[0]);
  if (n_bytes) n_bytes = checked_mul(*n_bytes, tensor.n_rows());
  if (!n_bytes) {
    return fail(pos_, fmt::format("{}: {} elements of {} overflow 64 bits of bytes", what,
                                  tensor.n_elements(), t.name));
  }
  return *n_bytes;
}

// Gaps and any order are accepted, as long as every tensor lies in the file and none overlap.
Status Parser::place_tensors() {
  const auto data_start = checked_align_up(pos_, out_.alignment);
  if (!data_start) return fail(pos_, "the start of the data overflows");
  out_.data_start = *data_start;
  for (size_t i = 0; i < out_.tensors.size(); ++i) {
    TensorInfo& tensor = out_.tensors[i];
    const auto begin = checked_add(*data_start, tensor_offsets_[i]);
    const auto end = begin ? checked_add(*begin, tensor_bytes_[i]) : std::nullopt;
    if (!end || *end > bytes_.size()) {
      return fail(
          begin.value_or(UINT64_MAX),
          fmt::format("tensor {}: {} bytes at data offset {}, but the file has {} bytes in "
                      "all; is it truncated?",
                      printable(tensor.name), tensor_bytes_[i], tensor_offsets_[i], bytes_.size()));
    }
    tensor.offset = *begin;
    tensor.data = bytes_.subspan(*begin, tensor_bytes_[i]);
  }
  std::vector<const TensorInfo*> by_offset;
  for (const TensorInfo& tensor : out_.tensors) {
    if (!tensor.data.empty()) by_offset.push_back(&tensor);
  }
  std::ranges::sort(by_offset, {}, &TensorInfo::offset);
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const TensorInfo& before = *by_offset[i - 1];
    const uint64_t end = before.offset + before.data.size();
    if (end > by_offset[i]->offset) {
      return fail(by_offset[i]->offset,
                  fmt::format("tensor {} begins inside tensor {}, which ends at byte {}",
                              printable(by_offset[i]->name), printable(before.name), end));
    }
  }
  return {};
}

}  // namespace

Result<ParsedGguf> parse_gguf(std::span<const std::byte> bytes, const std::string& origin) {
  return Parser(bytes, origin).parse();
}

std::string printable(std::string_view text) {
  constexpr size_t kMaxShown = 80;
  std::string out;
  for (const char c : text.substr(0, kMaxShown)) {
    if (c >= 0x20 && c <= 0x7e) {
      out += c;
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (text.size() > kMaxShown) out += "...";
  return out;
}

}  // namespace kimberlite::formats
