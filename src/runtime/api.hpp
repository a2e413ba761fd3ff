// What the public classes hold. For the files that implement include/kimberlite.
#pragma once

#include <chrono>
#include <memory>

#include "kimberlite/media.hpp"
#include "kimberlite/tools.hpp"
#include "runtime/engine.hpp"
#include "runtime/session.hpp"

namespace kimberlite {

struct Model::State {
  std::unique_ptr<runtime::Engine> engine;
};

struct Session::State {
  std::unique_ptr<runtime::Session> session;
};

struct MediaPrompt::State {
  runtime::Prompt prompt;
};

text::Role text_role(Role role);

/// In the order of the snapshots; none is chosen.
std::vector<DeviceInfo> describe_devices(std::span<const vk::DeviceSnapshot> snapshots);

/// The model's chat format. Errors: unsupported (no vocabulary, or one without turns).
Result<const text::ChatFormat*> find_chat(const runtime::Engine& engine);

/// What `options` ask for; nullptr: no vocabulary, hence no end tokens.
runtime::GenerateRequest to_request(const GenerateOptions& options,
                                    const text::Tokenizer* tokenizer);

/// The runtime behind the public objects, for the free functions of tools.hpp.
struct Access {
  static runtime::Engine& engine(const Model& model) { return *model.state_->engine; }
  static runtime::Session& session(Session& session) { return *session.state_->session; }
  static const runtime::Prompt& prompt(const MediaPrompt& prompt) { return prompt.state_->prompt; }
  static MediaPrompt make_prompt(runtime::Prompt prompt);
};

}  // namespace kimberlite
