// Fills the tensors of a weight table from the file: reads, repacks, uploads. Internal to model.
#pragma once

#include "model/weight_table.hpp"
#include "model/weights.hpp"

namespace kimberlite::model {

/// What loading will allocate. Pure.
WeightPlan plan_table(const WeightTable& table, const vk::Caps& caps, uint32_t n_layers,
                      uint32_t n_gpu_layers);

/// Gives every tensor of the table its place in one of the arenas and its values; releases the
/// file's pages on the way. Errors: out_of_memory, device, cancelled.
Status load_table(WeightTable& table, const formats::GgufFile& file, vk::Device& device,
                  const LoadOptions& options, vk::Arena& device_arena, vk::Arena& host_arena);

}  // namespace kimberlite::model
