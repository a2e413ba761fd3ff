// Ctrl-C: stops the work in hand where there is some that can be stopped, else ends the program.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace kimberlite::cli {

/// Once, from main(). Until a scope exists, Ctrl-C exits with 130.
void install_interrupt_handler();

/// While it lives, the first Ctrl-C calls `stop` (again and again, from another thread, so that it
/// also hits work that begins a moment later); the second one exits. One at a time.
class InterruptScope {
 public:
  explicit InterruptScope(std::function<void()> stop);
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  [[nodiscard]] bool interrupted() const;

 private:
  void watch();

  std::function<void()> stop_;
  std::atomic<bool> done_ = false;
  std::thread watcher_;
};

}  // namespace kimberlite::cli
