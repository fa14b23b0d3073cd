#include "coordinator/engine/plan_choice.h"

#include <algorithm>

namespace conclave::coordinator {
namespace {

RecordedTraffic traffic_of(const PlanCosts& costs) {
  return costs.recorded ? *costs.recorded
                        : uniform_traffic(costs.ranks, costs.experts, costs.top_k);
}

double seconds(const PlanCosts& costs, double exchanges, double bytes_per_token) {
  const double rate = std::max(costs.bytes_per_second, 1.0);
  return exchanges * costs.exchange_seconds + bytes_per_token * costs.tokens_per_rank / rate;
}

}  // namespace

double distinct_ranks(int32_t ranks, int32_t experts, int32_t top_k) {
  if (ranks < 1 || experts < 1) return 0;
  const double here = static_cast<double>(experts) / ranks;
  double none = 1;  // no expert of the token is on a given rank
  for (int32_t i = 0; i < top_k; ++i) {
    none *= std::max(0.0, (experts - here - i) / (experts - i));
  }
  return ranks * (1 - none);
}

RecordedTraffic uniform_traffic(int32_t ranks, int32_t experts, int32_t top_k) {
  RecordedTraffic traffic;
  if (ranks < 2) return traffic;
  const double remote = static_cast<double>(ranks - 1) / ranks;
  const double distinct = distinct_ranks(ranks, experts, top_k);
  traffic.fixed_out = distinct * remote;
  traffic.fixed_back = top_k * remote;
  traffic.moves = remote;
  traffic.coherent_out = remote + std::max(0.0, distinct - 1) * remote;
  traffic.coherent_back = (top_k - 1) * remote;
  return traffic;
}

// A row to each remote rank, and the unsummed rows of all remote experts back.
double fixed_plan_seconds(const PlanCosts& costs) {
  if (costs.ranks < 2) return 0;
  const RecordedTraffic traffic = traffic_of(costs);
  return seconds(costs, 2.0 * costs.moe_layers,
                 costs.moe_layers * (traffic.fixed_out + traffic.fixed_back) * costs.row_bytes);
}

// Rows out as before; the state where the leader is remote; back the rows of all experts that are
// not with the leader; and once a step the K/V of every layer to every other rank.
double coherent_plan_seconds(const PlanCosts& costs) {
  if (costs.ranks < 2) return 0;
  const RecordedTraffic traffic = traffic_of(costs);
  const double exchanges = (costs.top_k > 1 ? 2.0 : 1.0) * costs.moe_layers + 1;
  const double bytes =
      costs.moe_layers * ((traffic.coherent_out + traffic.coherent_back) * costs.row_bytes +
                          traffic.moves * costs.state_bytes) +
      costs.layers * (costs.ranks - 1) * costs.kv_bytes;
  return seconds(costs, exchanges, bytes);
}

bool coherent_pays(const PlanCosts& costs) {
  return costs.ranks > 1 && costs.moe_layers > 0 &&
         coherent_plan_seconds(costs) < fixed_plan_seconds(costs);
}

}  // namespace conclave::coordinator
