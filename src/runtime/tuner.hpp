// Times the ways that a model's passes have, on the device itself, before a session first runs
// them.
#pragma once

#include <functional>

#include "base/result.hpp"
#include "runtime/engine.hpp"
#include "runtime/kv_cache.hpp"
#include "runtime/passes.hpp"
#include "runtime/sequence.hpp"

namespace kimberlite::runtime {

/// Runs every pass that has work of which the engine does not know the fastest way, once for each
/// way with a time for each node, and tells the engine. What a pass does to cache and sequence is
/// as if it had not been: call it before there is anything in them. `progress` never falls and ends
/// with 1; it is not called where nothing is to be timed. Errors: out_of_memory, device.
Status tune_passes(Engine& engine, Passes& passes, KvCache& cache, Sequence& sequence,
                   const std::function<void(double)>& progress);

}  // namespace kimberlite::runtime
