// Push constants of cluster_logits.comp.
#include "common/types.h"
KL_STRUCTS_BEGIN
const u32 kMaxClusters = 2048;
const u32 kClusterTokens = 4096;  // of a workgroup

struct ClusterLogitsPush {
  u32 n_clusters;
  u32 n_used;   // clusters of a column
  u32 n_rows;   // of a cluster
  u32 n_vocab;
};
CHECK_PUSH(ClusterLogitsPush, 16)
KL_STRUCTS_END
