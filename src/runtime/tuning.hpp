// Which of several ways to compute the same bits is the fastest on a device: measured once, kept in
// a file beside the pipeline cache. What is chosen never changes a token.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "graph/kernel_desc.hpp"

namespace kimberlite::runtime {

/// A policy that is another one but for the ways that were the fastest.
class Tuning final : public graph::VariantPolicy {
 public:
  /// `variants` must outlive it.
  explicit Tuning(const graph::VariantPolicy& variants) : variants_(&variants) {}

  [[nodiscard]] bool allows(std::string_view kernel, std::string_view variant) const override {
    return variants_->allows(kernel, variant);
  }
  /// The first way where none was set, or one that is no longer there.
  [[nodiscard]] size_t choose(std::string_view work,
                              std::span<const std::string> ways) const override;
  [[nodiscard]] bool knows(std::string_view work) const { return fastest_.contains(work); }
  void set(const std::string& work, const std::string& way) { fastest_[work] = way; }
  [[nodiscard]] size_t size() const { return fastest_.size(); }
  /// Everything that sessions of this engine do was looked at: none needs to look again.
  [[nodiscard]] bool is_complete() const { return is_complete_; }
  void complete() { is_complete_ = true; }

  /// Takes over what the file holds, unless it is absent, damaged or has another key.
  void read(const std::string& path, const std::string& key);
  /// Replaces the file in one step. Errors: io.
  Status write(const std::string& path, const std::string& key) const;

 private:
  const graph::VariantPolicy* variants_;                     // Borrowed from the engine.
  std::map<std::string, std::string, std::less<>> fastest_;  // by work
  bool is_complete_ = false;
};

}  // namespace kimberlite::runtime
