#include "coordinator/engine/plan_choice.h"

#include <gtest/gtest.h>

#include <cmath>

namespace conclave::coordinator {
namespace {

PlanCosts top(int32_t k, int32_t ranks) {
  PlanCosts costs;
  costs.ranks = ranks;
  costs.experts = 128;
  costs.top_k = k;
  costs.layers = costs.moe_layers = 24;
  costs.row_bytes = 4096;
  costs.state_bytes = 8192;
  costs.kv_bytes = 512;
  costs.exchange_seconds = 20e-6;
  costs.bytes_per_second = 1e9;
  return costs;
}

TEST(PlanChoiceTest, DistinctRanksOfUniformRoutingAreThoseOfTheFormula) {
  EXPECT_NEAR(distinct_ranks(2, 128, 8), 1.99, 0.01);
  EXPECT_NEAR(distinct_ranks(4, 128, 8), 3.63, 0.01);
  EXPECT_NEAR(distinct_ranks(16, 128, 8), 6.60, 0.01);
  EXPECT_NEAR(distinct_ranks(4, 8, 2), 1.86, 0.01);
  EXPECT_NEAR(distinct_ranks(1, 8, 2), 1, 1e-9);
}

TEST(PlanChoiceTest, OneExpertATokenSavesAnExchangeALayer) {
  PlanCosts costs = top(1, 4);
  costs.bytes_per_second = 1e12;
  EXPECT_NEAR(fixed_plan_seconds(costs), 48 * 20e-6, 1e-6);
  EXPECT_NEAR(coherent_plan_seconds(costs), 25 * 20e-6, 2e-6);
  EXPECT_TRUE(coherent_pays(costs));
}

TEST(PlanChoiceTest, LargeKeysAndValuesOnManyRanksMakeItALoss) {
  PlanCosts costs = top(1, 16);
  costs.kv_bytes = 8192;
  costs.bytes_per_second = 1e8;
  EXPECT_FALSE(coherent_pays(costs));
  costs.ranks = 1;
  EXPECT_FALSE(coherent_pays(costs));
}

TEST(PlanChoiceTest, RecordedTrafficReplacesUniformRouting) {
  PlanCosts costs = top(4, 4);
  costs.exchange_seconds = 0;
  EXPECT_FALSE(coherent_pays(costs));  // the state and the K/V cost more than is saved
  RecordedTraffic traffic = uniform_traffic(4, 128, 4);
  costs.recorded = traffic;
  const double fixed = fixed_plan_seconds(costs);
  EXPECT_NEAR(fixed, 24 * (traffic.fixed_out + traffic.fixed_back) * 4096 * 4 / 1e9, 1e-12);
  // Experts that lead to one another live together: tokens stay, and so do most of their rows.
  traffic.moves = 0.1;
  traffic.coherent_out = 0.4 * traffic.fixed_out;
  traffic.coherent_back = 0.4 * traffic.fixed_back;
  costs.recorded = traffic;
  EXPECT_EQ(fixed_plan_seconds(costs), fixed);
  EXPECT_TRUE(coherent_pays(costs));
}

}  // namespace
}  // namespace conclave::coordinator
