#include "expert_placement/simulator/step_simulator.h"

#include <algorithm>
#include <cmath>

namespace conclave::placement {
namespace {

// Weights of one layer's attention.
double attention_parameters(const model::ModelSpec& spec) {
  const double q = static_cast<double>(spec.heads) * spec.head_dim,
               kv = static_cast<double>(spec.kv_heads) * spec.head_dim;
  return static_cast<double>(spec.hidden) * (2 * q + 2 * kv);
}

// Work that must read `bytes` and compute `flops`: whichever takes longer.
double work(const ClusterSpec& cluster, double bytes, double flops) {
  return std::max(bytes / cluster.weight_bytes_per_s, flops / cluster.flops_per_s);
}

void add_bytes(const Traffic& traffic, double scale, double row_bytes, const ClusterSpec& cluster,
               SimulatedStep* step) {
  const auto ranks = static_cast<size_t>(traffic.ranks);
  for (size_t from = 0; from < ranks; ++from) {
    const int32_t node = cluster.node_of(static_cast<int32_t>(from));
    for (size_t to = 0; to < ranks; ++to) {
      const double rows = static_cast<double>(traffic.dispatched_between[from * ranks + to] +
                                              traffic.returned_rows_between[from * ranks + to]);
      (cluster.node_of(static_cast<int32_t>(to)) == node ? step->bytes_in_nodes
                                                         : step->bytes_between_nodes) +=
          rows * scale * row_bytes;
    }
  }
}

// An all-gather of the step's K/V: every rank receives what the others made.
void add_kv_publish(const SimulationInput& input, double kv_bytes, SimulatedStep* step) {
  const double ranks = input.cluster.ranks();
  const double received = input.batch * kv_bytes * (ranks - 1) / ranks;
  const bool far = input.cluster.nodes() > 1;
  const LinkClass& link = far ? input.cluster.inter_node : input.cluster.intra_node;
  step->kv_publish_s =
      ranks > 1 ? link.latency_s * std::ceil(std::log2(ranks)) + received / link.bytes_per_s : 0;
  (far ? step->bytes_between_nodes : step->bytes_in_nodes) += received * ranks;
}

}  // namespace

SimulatedStep simulate_step(const SimulationInput& input) {
  const model::ModelSpec& spec = *input.spec;
  const ClusterSpec& cluster = input.cluster;
  SimulatedStep step;
  step.traffic = count_traffic(*input.rows, *input.table, input.plan, input.home_of_row);
  const double ranks = cluster.ranks(), layers = spec.layers;
  const auto moe_layers = static_cast<double>(input.rows->layers);
  // The fullest rank has one token more than an uneven share.
  const double tokens = std::ceil(input.batch / ranks);
  const double kv_bytes_layer = 2.0 * spec.kv_heads * spec.head_dim * input.weight_bytes;
  const double attention = attention_parameters(spec);
  step.attention_s =
      layers * work(cluster,
                    attention * input.weight_bytes + tokens * input.context * kv_bytes_layer,
                    2 * tokens * (attention + 2.0 * input.context * spec.heads * spec.head_dim));
  step.overhead_s = layers * cluster.layer_overhead_s + cluster.step_overhead_s;
  const double head = static_cast<double>(spec.vocab) * spec.hidden;
  step.head_s = work(cluster, head * input.weight_bytes, 2 * head * tokens);
  ExpertCost cost;
  cost.row_bytes = spec.hidden * input.weight_bytes;
  cost.weight_bytes = static_cast<double>(spec.expert_parameters()) * input.weight_bytes;
  cost.flops = 2 * static_cast<double>(spec.expert_parameters());
  cost.batch_tokens = input.batch;
  const LayerTime layer = layer_time(step.traffic, *input.profile, *input.table, cluster, cost);
  const double shared = 3.0 * spec.hidden * spec.shared_expert_width;
  const double dense = 3.0 * spec.hidden * spec.dense_width;
  step.experts_s =
      moe_layers *
          (layer.experts + work(cluster, shared * input.weight_bytes, 2 * shared * tokens)) +
      (layers - moe_layers) * work(cluster, dense * input.weight_bytes, 2 * dense * tokens);
  step.exchange_s = moe_layers * (layer.dispatch + layer.combine);
  const double scale =
      input.rows->rows() > 0 ? input.batch / static_cast<double>(input.rows->rows()) : 0;
  add_bytes(step.traffic, scale, cost.row_bytes, cluster, &step);
  if (input.plan == Plan::kCoherent) add_kv_publish(input, kv_bytes_layer * layers, &step);
  step.kv_bytes_per_token = kv_bytes_layer * layers * (input.plan == Plan::kCoherent ? ranks : 1);
  for (double balance : step.traffic.balance())
    step.worst_balance = std::max(step.worst_balance, balance);
  return step;
}

}  // namespace conclave::placement
