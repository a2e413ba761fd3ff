#version 450
// Logits of the whole vocabulary from those of the clusters that a sparse head has computed:
//
//   logits[c, t] = parts[c, j, rows[t] % n_rows] where clusters[c, j] = rows[t] / n_rows,
//                  the lowest float where no j has it
//
//   parts     f32 [n, n_used, n_rows]   of each chosen cluster
//   clusters  u32 [n, n_used]           which are chosen; all different
//   rows      u32 [n_vocab]             row of each token in the head, cluster by cluster
//   logits    f32 [n, n_vocab]
//
// Grid: x = runs of kClusterTokens tokens, y = column. No arithmetic. Source: transformers,
// models/gemma4_assistant, Gemma4AssistantMaskedEmbedder.
#extension GL_GOOGLE_include_directive : require

#include "cluster_logits.h"

layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Push { ClusterLogitsPush p; };
layout(binding = 0, std430) readonly buffer Parts { float parts[]; };
layout(binding = 1, std430) readonly buffer Clusters { uint clusters[]; };
layout(binding = 2, std430) readonly buffer Rows { uint rows[]; };
layout(binding = 3, std430) writeonly buffer Logits { float logits[]; };

const uint kNone = 0xffffffffu;
const float kLowest = -3.402823466e38;

shared uint places[kMaxClusters];  // number of each cluster among the chosen ones

void main() {
  const uint column = gl_WorkGroupID.y;
  for (uint i = gl_LocalInvocationIndex; i < p.n_clusters; i += gl_WorkGroupSize.x) {
    places[i] = kNone;
  }
  barrier();
  for (uint j = gl_LocalInvocationIndex; j < p.n_used; j += gl_WorkGroupSize.x) {
    places[min(clusters[column * p.n_used + j], p.n_clusters - 1)] = column * p.n_used + j;
  }
  barrier();
  const uint first = gl_WorkGroupID.x * kClusterTokens;
  const uint end = min(first + kClusterTokens, p.n_vocab);
  for (uint t = first + gl_LocalInvocationIndex; t < end; t += gl_WorkGroupSize.x) {
    const uint place = places[rows[t] / p.n_rows];
    float logit = kLowest;
    if (place != kNone) logit = parts[place * p.n_rows + rows[t] % p.n_rows];
    logits[column * p.n_vocab + t] = logit;
  }
}
