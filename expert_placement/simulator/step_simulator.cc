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
void add_kv_publish(const SimulationInput& input, const ClusterSpec& cluster, double kv_bytes,
                    SimulatedStep* step) {
  const double ranks = cluster.ranks();
  const double received = input.batch * kv_bytes * (ranks - 1) / ranks;
  const bool far = cluster.nodes() > 1;
  const LinkClass& link = far ? cluster.inter_node : cluster.intra_node;
  step->kv_publish_s =
      ranks > 1 ? link.latency_s * std::ceil(std::log2(ranks)) + received / link.bytes_per_s : 0;
  (far ? step->bytes_between_nodes : step->bytes_in_nodes) += received * ranks;
}

}  // namespace

CountedStep::CountedStep(const SimulationInput& input) : input_(input) {
  traffic_ = count_traffic(*input.rows, *input.table, input.plan, input.home_of_row);
  for (int32_t rank = 0; rank < input.cluster.ranks(); ++rank)
    node_of_.push_back(input.cluster.node_of(rank));
  if (input.rows->rows() == 0) return;
  SampledSteps::Input samples;
  samples.rows = input.rows;
  samples.home_of_row = input.home_of_row;
  samples.table = input.table;
  samples.node_of = node_of_;
  samples.plan = input.plan;
  samples.tokens = std::max<int64_t>(1, std::llround(input.batch));
  // A moving token takes its float32 residual along, in ladder models a pending output as well.
  samples.move_rows = 4.0 * (input.spec->ladder_residual ? 2 : 1) / input.weight_bytes;
  samples_.emplace(samples);
}

SimulatedStep CountedStep::at(const ClusterSpec& cluster) const {
  const model::ModelSpec& spec = *input_.spec;
  SimulatedStep step;
  step.traffic = traffic_;
  const double ranks = cluster.ranks(), layers = spec.layers;
  const auto moe_layers = static_cast<double>(input_.rows->layers);
  // The fullest rank has one token more than an uneven share.
  const double tokens = std::ceil(input_.batch / ranks);
  const double kv_bytes_layer = 2.0 * spec.kv_heads * spec.head_dim * input_.weight_bytes;
  const double attention = attention_parameters(spec);
  step.attention_s =
      layers * work(cluster,
                    attention * input_.weight_bytes + tokens * input_.context * kv_bytes_layer,
                    2 * tokens * (attention + 2.0 * input_.context * spec.heads * spec.head_dim));
  // One coordinator plans for all ranks, so its share does not shrink with more of them.
  step.overhead_s = layers * cluster.layer_overhead_s + cluster.step_overhead_s +
                    input_.batch * cluster.token_overhead_s;
  const double head = static_cast<double>(spec.vocab) * spec.hidden;
  step.head_s = work(cluster, head * input_.weight_bytes, 2 * head * tokens);
  const double shared = 3.0 * spec.hidden * spec.shared_expert_width;
  const double dense = 3.0 * spec.hidden * spec.dense_width;
  step.experts_s =
      moe_layers * work(cluster, shared * input_.weight_bytes, 2 * shared * tokens) +
      (layers - moe_layers) * work(cluster, dense * input_.weight_bytes, 2 * dense * tokens);
  ExpertCost cost;
  cost.row_bytes = spec.hidden * input_.weight_bytes;
  cost.weight_bytes = static_cast<double>(spec.expert_parameters()) * input_.weight_bytes;
  cost.flops = 2 * static_cast<double>(spec.expert_parameters());
  if (samples_) {
    const SampledSteps::Seconds seconds = samples_->seconds(cluster, cost);
    step.experts_s += seconds.experts;
    step.exchange_s = seconds.dispatch + seconds.combine;
  }
  const double scale = traffic_.rows > 0 ? input_.batch / static_cast<double>(traffic_.rows) : 0;
  add_bytes(step.traffic, scale, cost.row_bytes, cluster, &step);
  if (input_.plan == Plan::kCoherent)
    add_kv_publish(input_, cluster, kv_bytes_layer * layers, &step);
  step.kv_bytes_per_token = kv_bytes_layer * layers * (input_.plan == Plan::kCoherent ? ranks : 1);
  for (double balance : step.traffic.balance())
    step.worst_balance = std::max(step.worst_balance, balance);
  return step;
}

SimulatedStep simulate_step(const SimulationInput& input) {
  return CountedStep(input).at(input.cluster);
}

}  // namespace conclave::placement
