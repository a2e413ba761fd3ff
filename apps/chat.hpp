// The chat loop of `kimberlite run` on a terminal.
#pragma once

#include <string>

#include "apps/conversation.hpp"

namespace kimberlite::cli {

struct ChatOptions {
  GenerateOptions generate;
  uint32_t budget = kOwnBudget;  // tokens of a picture, for read_picture
  bool verbose = false;
};

/// Until /bye or Ctrl-D. `media` goes with the first message. Returns the exit code.
int chat(const Model& model, Session& session, Conversation conversation, std::vector<Part> media,
         ChatOptions options);

}  // namespace kimberlite::cli
