// GGUF writer: values are encoded when they are set, so that writing is a plain copy.
#include "formats/gguf_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/numeric.hpp"
#include "base/os.hpp"
#include "base/utf8_path.hpp"
#include "formats/gguf_types.hpp"

namespace kimberlite::formats {
namespace {

template <typename T>
void append(std::string& out, T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  out.append(bytes, sizeof(T));
}

void append_string(std::string& out, std::string_view text) {
  append<uint64_t>(out, text.size());
  out.append(text);
}

template <typename T>
void append_array(std::string& out, GgufType element, std::span<const T> values) {
  append<uint32_t>(out, static_cast<uint32_t>(element));
  append<uint64_t>(out, values.size());
  if constexpr (std::is_arithmetic_v<T>) {
    out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  } else {
    for (const T& text : values) append_string(out, text);
  }
}

std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

Error size_error(const std::string& name, uint64_t declared, uint64_t got) {
  return {ErrorCode::invalid_argument,
          fmt::format("tensor {}: declared {} bytes, the source gave {}{}", name, declared,
                      got > declared ? "at least " : "", got)};
}

}  // namespace

Status check_output(const std::string& path, bool overwrite) {
  if (path.empty()) return Error{ErrorCode::invalid_argument, "the output has no name"};
  std::error_code ignored;  // what cannot be asked about cannot be written, which write() reports
  const auto found = std::filesystem::status(utf8_path(path), ignored);
  if (!std::filesystem::exists(found)) return {};
  // The finished file takes its place: a folder cannot be replaced, a device would be gone.
  if (!std::filesystem::is_regular_file(found)) {
    return Error{ErrorCode::invalid_argument, path + ": is there and not a regular file"};
  }
  if (!overwrite) return Error{ErrorCode::invalid_argument, path + ": exists already"};
  return {};
}

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  KL_CHECK(std::has_single_bit(alignment) && alignment >= kMinAlignment, "GGUF alignment");
  if (alignment != kGgufDefaultAlignment) set_u32("general.alignment", alignment);
}

std::string& GgufWriter::value(std::string_view key, uint32_t type) {
  const auto [entry, is_new] = values_.try_emplace(std::string(key));
  if (is_new) keys_.emplace_back(key);
  entry->second.clear();
  append<uint32_t>(entry->second, type);
  return entry->second;
}

#define KL_GGUF_SCALAR(method, cpp_type, gguf_type)                              \
  void GgufWriter::method(std::string_view key, cpp_type v) {                    \
    append<cpp_type>(value(key, static_cast<uint32_t>(GgufType::gguf_type)), v); \
  }
#define KL_GGUF_ARRAY(element_type, gguf_type)                                                \
  void GgufWriter::set_array(std::string_view key, std::span<const element_type> v) {         \
    append_array(value(key, static_cast<uint32_t>(GgufType::array)), GgufType::gguf_type, v); \
  }
KL_GGUF_SCALAR(set_u16, uint16_t, u16)
KL_GGUF_SCALAR(set_u32, uint32_t, u32)
KL_GGUF_SCALAR(set_i32, int32_t, i32)
KL_GGUF_SCALAR(set_u64, uint64_t, u64)
KL_GGUF_SCALAR(set_f32, float, f32)
KL_GGUF_SCALAR(set_bool, bool, boolean)
KL_GGUF_ARRAY(uint32_t, u32)
KL_GGUF_ARRAY(int32_t, i32)
KL_GGUF_ARRAY(float, f32)
KL_GGUF_ARRAY(std::string, string)
KL_GGUF_ARRAY(std::string_view, string)
#undef KL_GGUF_SCALAR
#undef KL_GGUF_ARRAY

void GgufWriter::set_string(std::string_view key, std::string_view v) {
  append_string(value(key, static_cast<uint32_t>(GgufType::string)), v);
}

void GgufWriter::set_array(std::string_view key, const std::vector<bool>& v) {
  const std::vector<uint8_t> bytes(v.begin(), v.end());
  append_array<uint8_t>(value(key, static_cast<uint32_t>(GgufType::array)), GgufType::boolean,
                        bytes);
}

void GgufWriter::set_value(std::string_view key, const GgufValue& v) {
  std::string& out = value(key, static_cast<uint32_t>(v.type));
  if (v.type == GgufType::array) append<uint32_t>(out, static_cast<uint32_t>(v.element));
  if (v.type == GgufType::array) append<uint64_t>(out, v.count);
  if (v.type == GgufType::string) append<uint64_t>(out, v.data.size());
  out.append(reinterpret_cast<const char*>(v.data.data()), v.data.size());
}

Status GgufWriter::add_tensor(std::string_view name, GgmlType type, std::span<const uint64_t> ne) {
  const auto refuse = [&](std::string what) {
    return Error{ErrorCode::invalid_argument, fmt::format("tensor {}: {}", name, what)};
  };
  if (name.empty() || name.size() > kMaxTensorNameBytes) {
    return refuse(fmt::format("the name has {} bytes, allowed are 1 to {}", name.size(),
                              kMaxTensorNameBytes));
  }
  if (ne.empty() || ne.size() > kMaxDims) {
    return refuse(fmt::format("{} dimensions, allowed are 1 to {}", ne.size(), kMaxDims));
  }
  std::optional<uint64_t> n_bytes = row_bytes(type, ne[0]);
  for (size_t i = 1; i < ne.size() && n_bytes; ++i) n_bytes = checked_mul(*n_bytes, ne[i]);
  std::optional<uint64_t> end = n_bytes ? checked_add(data_bytes_, *n_bytes) : std::nullopt;
  if (end) end = checked_align_up(*end, alignment_);
  if (!end) {
    return refuse(
        fmt::format("rows of {} elements are no whole number of {} blocks of {}, or the "
                    "size overflows",
                    ne[0], traits(type).name, traits(type).block_elems));
  }
  if (!tensor_index_.emplace(name, tensors_.size()).second) return refuse("declared twice");
  tensors_.push_back({std::string(name), type, {ne.begin(), ne.end()}, data_bytes_, *n_bytes});
  data_bytes_ = *end;
  return {};
}

std::string GgufWriter::header() const {
  std::string out(kGgufMagic, sizeof(kGgufMagic));
  append<uint32_t>(out, kGgufVersion);
  append<uint64_t>(out, tensors_.size());
  append<uint64_t>(out, keys_.size());
  for (const std::string& key : keys_) {
    append_string(out, key);
    out += values_.at(key);
  }
  for (const Tensor& tensor : tensors_) {
    append_string(out, tensor.name);
    append<uint32_t>(out, static_cast<uint32_t>(tensor.ne.size()));
    for (const uint64_t n : tensor.ne) append<uint64_t>(out, n);
    append<uint32_t>(out, static_cast<uint32_t>(tensor.type));
    append<uint64_t>(out, tensor.offset);
  }
  out.resize(align_up<uint64_t>(out.size(), alignment_));
  return out;
}

Status GgufWriter::write_to(const ByteSink& sink, const TensorSource& source,
                            const WriteProgress& progress) const {
  KL_TRY(sink(as_bytes(header())));
  const std::string padding(alignment_, '\0');
  uint64_t n_total = 0;
  for (const Tensor& tensor : tensors_) n_total += tensor.n_bytes;
  uint64_t n_done = 0;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const Tensor& tensor = tensors_[i];
    uint64_t n_pushed = 0;
    const ByteSink counted = [&](std::span<const std::byte> bytes) -> Status {
      if (bytes.size() > tensor.n_bytes - n_pushed) {
        return size_error(tensor.name, tensor.n_bytes, n_pushed + bytes.size());
      }
      KL_TRY(sink(bytes));
      n_pushed += bytes.size();
      n_done += bytes.size();
      if (progress && !progress(n_done, n_total)) {
        return Error{ErrorCode::cancelled, "writing was cancelled"};
      }
      return {};
    };
    KL_TRY(source(i, counted));
    if (n_pushed != tensor.n_bytes) return size_error(tensor.name, tensor.n_bytes, n_pushed);
    const uint64_t n_padding = align_up<uint64_t>(tensor.n_bytes, alignment_) - tensor.n_bytes;
    KL_TRY(sink(as_bytes(std::string_view(padding).substr(0, n_padding))));
  }
  return {};
}

Status GgufWriter::replace(const std::string& path,
                           const std::function<Status(const std::string&, std::ofstream&)>& fill) {
  KL_TRY(check_output(path, /*overwrite=*/true));
  const std::string partial = path + ".partial";
  errno = 0;
  std::ofstream file(utf8_path(partial), std::ios::binary | std::ios::trunc);
  if (!file) {
    return Error{ErrorCode::io, fmt::format("{}: cannot create: {}", partial,
                                            std::generic_category().message(errno))};
  }
  Status status = fill(partial, file);
  file.close();
  if (status.ok() && !file) status = Error{ErrorCode::io, partial + ": cannot finish writing"};
  if (status.ok()) status = os::replace_file(partial, path);
  if (!status.ok()) {
    std::error_code ignored;  // the first error is the one to report
    std::filesystem::remove(utf8_path(partial), ignored);
  }
  return status;
}

Status GgufWriter::write(const std::string& path, const TensorSource& source,
                         const WriteProgress& progress) const {
  return replace(path, [&](const std::string& partial, std::ofstream& file) {
    const ByteSink sink = [&](std::span<const std::byte> bytes) -> Status {
      file.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
      if (!file) return Error{ErrorCode::io, partial + ": cannot write; is the disk full?"};
      return {};
    };
    return write_to(sink, source, progress);
  });
}

Status GgufWriter::write_hollow(const std::string& path, const TensorSource& source) const {
  return replace(path, [&](const std::string& partial, std::ofstream& file) -> Status {
    const std::string head = header();
    file << head;
    for (size_t i = 0; i < tensors_.size(); ++i) {
      std::string bytes;
      KL_TRY(source(i, [&](std::span<const std::byte> next) -> Status {
        bytes.append(reinterpret_cast<const char*>(next.data()), next.size());
        return {};
      }));
      if (bytes.empty()) continue;
      if (bytes.size() != tensors_[i].n_bytes) {
        return size_error(tensors_[i].name, tensors_[i].n_bytes, bytes.size());
      }
      file.seekp(static_cast<std::streamoff>(head.size() + tensors_[i].offset));
      file << bytes;
    }
    file.flush();
    if (!file) return Error{ErrorCode::io, partial + ": cannot write; is the disk full?"};
    std::error_code failed;
    std::filesystem::resize_file(utf8_path(partial), head.size() + data_bytes_, failed);
    if (failed) return Error{ErrorCode::io, partial + ": cannot resize: " + failed.message()};
    return {};
  });
}

}  // namespace kimberlite::formats
