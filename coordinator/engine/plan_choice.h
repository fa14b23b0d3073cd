#ifndef CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_
#define CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_

// Which plan a decode step should run: predicted seconds of communication, from sizes of the model
// and figures of the transport that ranks measured when they started. Pure functions.

#include <cstdint>

namespace conclave::coordinator {

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
  // Share of layer-to-layer steps after which a token's leading expert is on its rank; below 0: as
  // with experts placed at random, 1 / ranks.
  double leader_stays = -1;
};

// Distinct ranks that serve a token of uniform routing: G (1 - C(E - E/G, k) / C(E, k)).
double distinct_ranks(int32_t ranks, int32_t experts, int32_t top_k);

// Seconds of exchange of one decode step on one rank.
double fixed_plan_seconds(const PlanCosts& costs);
double coherent_plan_seconds(const PlanCosts& costs);
bool coherent_pays(const PlanCosts& costs);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_PLAN_CHOICE_H_
