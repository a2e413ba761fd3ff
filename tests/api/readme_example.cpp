// Opens a model, asks it something, prints the answer as it comes.
#include <iostream>

#include "kimberlite/kimberlite.hpp"

int fail(const kimberlite::Error& error) {
  std::cerr << error.message << "\n";
  return 1;
}

int main(int argc, char** argv) {
  auto model = kimberlite::Model::open(argc > 1 ? argv[1] : "model.gguf", {});
  if (!model) return fail(model.error());
  auto session = (*model)->new_session({});
  if (!session) return fail(session.error());
  auto prompt = (*model)->encode_chat({{kimberlite::Role::user, "Hello"}});
  if (!prompt) return fail(prompt.error());
  auto read = (*session)->sync(*prompt);
  if (!read) return fail(read.error());

  kimberlite::GenerateOptions options;
  options.max_tokens = 32;
  auto result = (*session)->generate(options, [](const kimberlite::TokenEvent& event) {
    std::cout << event.text << std::flush;
    return true;  // false stops
  });
  if (!result) return fail(result.error());
  std::cout << "\n" << result->tokens.size() << " tokens\n";
}
