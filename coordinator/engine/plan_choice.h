#ifndef CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_
#define CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_

// Which plan a decode step should run: predicted seconds of communication, from sizes of the model
// and figures of the transport that ranks measured when they started. Pure functions.

#include <cstdint>
#include <optional>

namespace conclave::coordinator {

// What recorded routing sends under a placement table, per token and MoE layer: rows out to other
// ranks, unsummed rows back, and tokens that change rank.
struct RecordedTraffic {
  double fixed_out = 0;
  double fixed_back = 0;
  double coherent_out = 0;
  double coherent_back = 0;
  double moves = 0;
};

struct PlanCosts {
  int32_t ranks = 1;
  int32_t experts = 0;
  int32_t top_k = 0;
  int32_t layers = 0;
  int32_t moe_layers = 0;
  double row_bytes = 0;         // one activation row on the wire
  double state_bytes = 0;       // what moves with a token: float32 residual rows
  double kv_bytes = 0;          // K and V of one token in one layer, as published
  double tokens_per_rank = 4;   // of a decode step
  double exchange_seconds = 0;  // latency of one exchange
  double bytes_per_second = 0;  // of one rank's sending
  std::optional<RecordedTraffic> recorded;  // absent: uniform routing, experts placed at random
};

// Distinct ranks that serve a token of uniform routing: G (1 - C(E - E/G, k) / C(E, k)).
double distinct_ranks(int32_t ranks, int32_t experts, int32_t top_k);

// What uniform routing and a random placement would send.
RecordedTraffic uniform_traffic(int32_t ranks, int32_t experts, int32_t top_k);

// Seconds of exchange of one decode step on one rank.
double fixed_plan_seconds(const PlanCosts& costs);
double coherent_plan_seconds(const PlanCosts& costs);
bool coherent_pays(const PlanCosts& costs);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_
