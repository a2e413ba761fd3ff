// The chat loop of `kimberlite run` on a terminal.
#pragma once

#include <string>

#include "apps/conversation.hpp"

namespace kimberlite::cli {

/// Until /bye or Ctrl-D. Returns the exit code.
int chat(Session& session, Conversation conversation, GenerateOptions options, bool verbose);

}  // namespace kimberlite::cli
