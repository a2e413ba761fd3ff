#include "apps/interrupt.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>

#include "apps/common.hpp"

namespace kimberlite::cli {
namespace {

// A signal handler has nothing but globals, and may only touch lock-free atomics. No work is done
// in it: InterruptScope polls.
std::atomic<bool> in_scope = false;
std::atomic<bool> pending = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_interrupt(int) {
  if (!in_scope || pending) std::_Exit(kExitInterrupted);
  pending = true;
  std::signal(SIGINT, on_interrupt);  // Windows forgets the handler when it is called
}

}  // namespace

void install_interrupt_handler() { std::signal(SIGINT, on_interrupt); }

InterruptScope::InterruptScope(std::function<void()> stop) : stop_(std::move(stop)) {
  pending = false;
  in_scope = true;
  watcher_ = std::thread([this] { watch(); });
}

InterruptScope::~InterruptScope() {
  done_ = true;
  watcher_.join();
  in_scope = false;
}

bool InterruptScope::interrupted() const { return pending; }

void InterruptScope::watch() {
  while (!done_) {
    if (pending) stop_();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace kimberlite::cli
