// Work on whole files that takes a while: a progress line, and Ctrl-C.
#pragma once

#include <utility>

#include "apps/common.hpp"
#include "apps/interrupt.hpp"

namespace kimberlite::cli {

/// Calls work(options) with options.progress drawn on the terminal and options.cancelled true from
/// the first Ctrl-C on; the line is gone when this returns.
template <typename Options, typename Work>
auto run_long_work(Options options, Work&& work) {
  ProgressLine line;
  const InterruptScope scope([] {});
  options.progress = line.callback();
  options.cancelled = [&scope] { return scope.interrupted(); };
  return std::forward<Work>(work)(std::as_const(options));
}

}  // namespace kimberlite::cli
