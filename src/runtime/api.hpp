// What the public classes hold. For the files that implement include/kimberlite.
#pragma once

#include <chrono>
#include <memory>

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

/// What `options` ask for; nullptr: no vocabulary, hence no end tokens.
runtime::GenerateRequest to_request(const GenerateOptions& options,
                                    const text::Tokenizer* tokenizer);

/// The runtime behind the public objects, for the free functions of tools.hpp.
struct Access {
  static runtime::Engine& engine(const Model& model) { return *model.state_->engine; }
  static runtime::Session& session(Session& session) { return *session.state_->session; }
};

}  // namespace kimberlite
