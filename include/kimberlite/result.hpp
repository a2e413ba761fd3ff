// Result<T>: a value, or an Error that names the thing that went wrong and both values.
//
// Everything that a user, a file or a driver can cause travels as a Result. The library never
// throws. Thread rule: values, like those of std::variant.
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace kimberlite {

/// What kind of thing failed. The command line maps these to exit codes.
enum class ErrorCode {
  invalid_argument,  // the caller asked for something that makes no sense
  io,                // the operating system refused to read or write
  bad_file,          // a file's contents are wrong
  unsupported,       // valid, but not something this build can do
  no_device,         // no Vulkan loader, or no usable device
  device,            // a Vulkan call failed
  device_lost,       // the device went away; the engine can be rebuilt
  out_of_memory,     // host or device memory, or a plan that does not fit
  context_full,      // the sequence needs more positions than the context has
  cancelled,         // stopped on request
};

struct Error {
  ErrorCode code;
  std::string message;  // names the thing and both values; no trailing newline
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() : error_{ErrorCode::invalid_argument, {}} {}
  Result(Error error) : error_(std::move(error)), ok_(false) {}

  [[nodiscard]] bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool ok_ = true;
};

using Status = Result<void>;

}  // namespace kimberlite
