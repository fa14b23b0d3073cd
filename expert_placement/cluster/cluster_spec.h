#ifndef CONCLAVE_EXPERT_PLACEMENT_CLUSTER_CLUSTER_SPEC_H_
#define CONCLAVE_EXPERT_PLACEMENT_CLUSTER_CLUSTER_SPEC_H_

// The machines of a worker group and the links between them, as far as placement cares.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace conclave::placement {

// One message of b bytes takes latency_s + b / bytes_per_s.
struct LinkClass {
  double latency_s = 0;
  double bytes_per_s = 0;
  bool operator==(const LinkClass&) const = default;
};

// Ranks are numbered node by node. Plain value; figures are per rank.
struct ClusterSpec {
  std::vector<int32_t> ranks_per_node;  // [nodes], each >= 1
  LinkClass intra_node{20e-6, 5e9};
  LinkClass inter_node{50e-6, 1e9};
  double flops_per_s = 2e11;         // of an expert's matrix products
  double weight_bytes_per_s = 2e10;  // reading weights
  double layer_overhead_s = 0;       // of a layer, whatever the batch: calls, norms, routing
  double step_overhead_s = 0;        // of a step: its plan on the way, its results back
  double token_overhead_s = 0;       // and of each of its tokens, all ranks': planning, journal
  uint64_t memory_bytes = 0;         // for expert weights; 0: not limited

  // G ranks on N nodes as evenly as it goes. INVALID_ARGUMENT if N > G or either < 1.
  static absl::StatusOr<ClusterSpec> even(int32_t ranks, int32_t nodes);
  // {"version":1,"nodes":[{"ranks":4},...],"intra_node":{"latency_s","bytes_per_s"},"inter_node":{...},
  //  "rank":{"flops_per_s","weight_bytes_per_s","layer_overhead_s","step_overhead_s",
  //  "token_overhead_s","memory_bytes"}}; all but nodes optional.
  static absl::StatusOr<ClusterSpec> from_json(std::string_view text, std::string_view source);
  static absl::StatusOr<ClusterSpec> load(const std::string& path);
  std::string to_json() const;

  int32_t nodes() const { return static_cast<int32_t>(ranks_per_node.size()); }
  int32_t ranks() const;
  int32_t node_of(int32_t rank) const;
  const LinkClass& link(int32_t from, int32_t to) const {
    return node_of(from) == node_of(to) ? intra_node : inter_node;
  }
};

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_CLUSTER_CLUSTER_SPEC_H_
