// What child_process_test runs: prints its arguments, fails loudly, prints for ever or sleeps.
#include <chrono>
#include <cstdio>
#include <string_view>
#include <thread>

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  if (what == "arguments") {
    for (int i = 2; i < argc; ++i) std::printf("[%s]\n", argv[i]);
    return 0;
  }
  if (what == "fail") {
    for (int i = 0; i < 100'000; ++i) std::fputs("no! ", stderr);
    return 3;
  }
  if (what == "print") {
    while (std::puts("more and more") >= 0) continue;
    return 0;
  }
  std::this_thread::sleep_for(std::chrono::hours(1));
  return 0;
}
