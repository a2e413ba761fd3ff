// Rows of a packed table by device token id. Shader: embed.comp.
#pragma once

#include <string>

#include "graph/graph.hpp"
#include "kernels/packed_matrix.hpp"

namespace kimberlite::kernels {

/// The kernel of a type and class, for tests that go through its variants.
[[nodiscard]] const graph::KernelDesc& embed_kernel(formats::GgmlType type,
                                                    LinearClass linear_class);

/// y[c] = scale * table[token of column c]. columns: shaders::Column [n] as u32 [n, 4]; y: f32
/// [n, width]. Tokens outside the table count as token 0. One node for each shard; a shard writes
/// the rows of its own tokens.
void add_embed(graph::Graph& graph, const PackedMatrix& table, const graph::Tensor& columns,
               const graph::Tensor& y, float scale, const std::string& label);

}  // namespace kimberlite::kernels
