#include <gtest/gtest.h>

#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/simulator/rank_figures.h"
#include "expert_placement/simulator/step_simulator.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

// Every token uses one of two experts, each of them half of the time, and ranks hold one each.
struct Coin {
  Coin() {
    rows = {1, 2, 1, {}, {}};
    for (int32_t row = 0; row < 400; ++row) {
      rows.chosen.push_back(static_cast<uint16_t>((row / 2) % 2));
      rows.sequence.push_back(row);
    }
    homes = round_robin_homes(rows, 2);
    spec.layers = 1;
    spec.hidden = 1;
    spec.expert_width = 1;
    input.rows = &rows;
    input.home_of_row = homes;
    input.table = &table;
    input.spec = &spec;
    input.cluster.ranks_per_node = {2};
    input.cluster.flops_per_s = 2.0 * static_cast<double>(spec.expert_parameters());
    input.cluster.weight_bytes_per_s = 1e18;
    input.cluster.intra_node = {0, 1e18};
  }
  double experts_seconds(double batch) {
    input.batch = batch;
    return simulate_step(input).experts_s;
  }
  RoutingRows rows;
  std::vector<int32_t> homes;
  PlacementTable table = PlacementTable::contiguous({0}, 2, 2);
  model::ModelSpec spec;
  SimulationInput input;
};

// In every step one of the ranks has the token, though each has it in half of them: half a token is
// what no rank ever waits for.
TEST(StepSimulator, AStepTakesAsLongAsTheFullestRankOfThatVeryStep) {
  Coin coin;
  EXPECT_NEAR(coin.experts_seconds(1), 1, 1e-9);
  // Of two tokens both are on one rank half of the time.
  EXPECT_NEAR(coin.experts_seconds(2), 1.5, 0.15);
  // Large steps come near to their even share from above.
  EXPECT_GT(coin.experts_seconds(400), 200);
  EXPECT_LT(coin.experts_seconds(400), 200 * 1.15);
}

TEST(StepSimulator, AnExchangeCostsItsLatencyTwiceALayer) {
  Coin coin;
  coin.input.cluster.intra_node = {1e-3, 1e18};
  EXPECT_NEAR(simulate_step(coin.input).exchange_s, 2e-3, 1e-9);
}

// Bytes on the wire: half of the rows find their expert at home.
TEST(StepSimulator, TheFullestLinkOfEachLegCounts) {
  Coin coin;
  coin.input.batch = 1;
  coin.input.cluster.intra_node = {0, 1};
  // One row of two bytes out and one back, or nothing.
  EXPECT_NEAR(simulate_step(coin.input).exchange_s, 0.5 * 4, 0.6);
}

TEST(StepSimulator, IsTheSameForTheSameInput) {
  const RoutingRows rows = random_rows(4, 16, 2, 600, 3);
  const std::vector<int32_t> homes = round_robin_homes(rows, 4);
  const PlacementTable table = random_table(4, 16, 4, 3, 5);
  model::ModelSpec spec;
  spec.layers = 4;
  spec.hidden = 64;
  spec.expert_width = 32;
  SimulationInput input;
  input.rows = &rows;
  input.home_of_row = homes;
  input.table = &table;
  input.spec = &spec;
  input.cluster.ranks_per_node = {2, 2};
  for (const Plan plan : {Plan::kFixed, Plan::kCoherent}) {
    input.plan = plan;
    const CountedStep counted(input);
    EXPECT_EQ(counted.at(input.cluster).total_s(), simulate_step(input).total_s());
    EXPECT_EQ(counted.at(input.cluster).traffic.dispatched,
              count_traffic(rows, table, plan, homes).dispatched);
    ClusterSpec slower = input.cluster;
    slower.inter_node.bytes_per_s /= 10;
    EXPECT_GT(counted.at(slower).exchange_s, counted.at(input.cluster).exchange_s);
  }
}

// Steps made up with known figures give them back.
TEST(RankFigures, AreFoundFromTheStepsOfOneRank) {
  const RoutingRows rows = random_rows(4, 16, 2, 600, 3);
  const std::vector<int32_t> homes(600, 0);
  const PlacementTable table = PlacementTable::contiguous(layer_numbers(4), 16, 1);
  model::ModelSpec spec;
  spec.layers = 4;
  spec.hidden = 256;
  spec.expert_width = 256;
  spec.heads = 4;
  spec.kv_heads = 2;
  spec.head_dim = 64;
  spec.vocab = 1000;
  SimulationInput input;
  input.rows = &rows;
  input.home_of_row = homes;
  input.table = &table;
  input.spec = &spec;
  input.cluster.ranks_per_node = {1};
  input.cluster.flops_per_s = 3e10;
  input.cluster.weight_bytes_per_s = 8e9;
  input.cluster.layer_overhead_s = 2e-5;
  std::vector<MeasuredStep> steps;
  for (const double batch : {1.0, 4.0, 64.0, 256.0}) {
    input.batch = batch;
    input.context = 64;
    steps.push_back({batch, 64, simulate_step(input).total_s()});
  }
  const ClusterSpec found = fit_rank(input, steps);
  EXPECT_NEAR(found.flops_per_s, 3e10, 3e9);
  EXPECT_NEAR(found.weight_bytes_per_s, 8e9, 8e8);
}

}  // namespace
}  // namespace conclave::placement
