#include "expert_placement/objective/step_time.h"

#include <algorithm>
#include <cmath>

namespace conclave::placement {

double leg_time(const std::vector<int64_t>& rows_between, double scale, double row_bytes,
                const ClusterSpec& cluster) {
  const int32_t ranks = cluster.ranks();
  std::vector<int32_t> node_of;
  for (int32_t rank = 0; rank < ranks; ++rank) node_of.push_back(cluster.node_of(rank));
  const auto count = static_cast<size_t>(ranks);
  double slowest = 0;
  for (size_t rank = 0; rank < count; ++rank) {
    double out[2] = {0, 0}, in[2] = {0, 0};  // rows inside the node, between nodes
    for (size_t other = 0; other < count; ++other) {
      const size_t far = node_of[rank] != node_of[other];
      out[far] += static_cast<double>(rows_between[rank * count + other]);
      in[far] += static_cast<double>(rows_between[other * count + rank]);
    }
    const auto seconds = [&](const double* rows) {
      const double near_bytes = rows[0] * scale * row_bytes,
                   far_bytes = rows[1] * scale * row_bytes;
      return (near_bytes > 0
                  ? cluster.intra_node.latency_s + near_bytes / cluster.intra_node.bytes_per_s
                  : 0) +
             (far_bytes > 0
                  ? cluster.inter_node.latency_s + far_bytes / cluster.inter_node.bytes_per_s
                  : 0);
    };
    slowest = std::max({slowest, seconds(out), seconds(in)});
  }
  return slowest;
}

double activated_experts(const RoutingProfile& profile, const PlacementTable& table, int32_t layer,
                         int32_t rank, double tokens) {
  double activated = 0;
  for (int32_t expert : table.experts_of(layer, rank)) {
    const double share = profile.tokens() > 0
                             ? profile.loads(layer)[static_cast<size_t>(expert)] / profile.tokens()
                             : 0;
    const auto copies = static_cast<double>(table.holders(layer, expert).size());
    activated += 1 - std::pow(1 - std::min(1.0, share / copies), tokens);
  }
  return activated;
}

LayerTime layer_time(const Traffic& traffic, const RoutingProfile& profile,
                     const PlacementTable& table, const ClusterSpec& cluster,
                     const ExpertCost& cost) {
  LayerTime time;
  if (traffic.rows == 0) return time;
  const double scale = cost.batch_tokens / (static_cast<double>(traffic.rows) * traffic.layers);
  time.dispatch = leg_time(traffic.dispatched_between, scale, cost.row_bytes, cluster);
  time.combine = leg_time(traffic.returned_rows_between, scale, cost.row_bytes, cluster);
  const auto ranks = static_cast<size_t>(traffic.ranks);
  const double per_row = cost.batch_tokens / static_cast<double>(traffic.rows);
  for (int32_t layer = 0; layer < traffic.layers; ++layer) {
    double slowest = 0;
    for (size_t rank = 0; rank < ranks; ++rank) {
      const double pairs =
          static_cast<double>(traffic.load[static_cast<size_t>(layer) * ranks + rank]) * per_row;
      const double active =
          activated_experts(profile, table, layer, static_cast<int32_t>(rank), cost.batch_tokens);
      slowest = std::max({slowest, pairs * cost.flops / cluster.flops_per_s,
                          active * cost.weight_bytes / cluster.weight_bytes_per_s});
    }
    time.experts += slowest / traffic.layers;
  }
  return time;
}

}  // namespace conclave::placement
