#include "expert_placement/objective/traffic.h"

#include <gtest/gtest.h>

#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/single_copy_table.h"
#include "expert_placement/objective/step_time.h"
#include "expert_placement/patterns/pattern_search.h"
#include "expert_placement/patterns/pattern_state.h"
#include "expert_placement/replicas/replica_search.h"
#include "expert_placement/replicas/replica_state.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

TEST(Traffic, EqualsAnIndependentCountOnRandomTraces) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const auto ranks = static_cast<int32_t>(1 + seed % 5);
    const RoutingRows rows = random_rows(4, 12, 1 + static_cast<int32_t>(seed % 4), 200, seed);
    const PlacementTable table =
        random_table(4, 12, ranks, static_cast<int32_t>(seed % 3) * 4, seed);
    const std::vector<int32_t> homes = round_robin_homes(rows, ranks);
    for (Plan plan : {Plan::kFixed, Plan::kCoherent}) {
      const Traffic fast = count_traffic(rows, table, plan, homes);
      const SlowCount slow = slow_count(rows, table, plan, homes);
      EXPECT_EQ(fast.crossings, slow.crossings);
      EXPECT_EQ(fast.dispatched, slow.dispatched);
      EXPECT_EQ(fast.returned, slow.returned);
      EXPECT_EQ(fast.returned_rows, slow.returned_rows);
      EXPECT_EQ(std::accumulate(fast.load.begin(), fast.load.end(), int64_t{0}),
                rows.rows() * 4 * rows.top_k);
      EXPECT_EQ(std::accumulate(fast.dispatched_between.begin(), fast.dispatched_between.end(),
                                int64_t{0}),
                fast.dispatched);
    }
  }
}

TEST(Traffic, TopOneCoherentNeedsOneExchangeForEachCrossing) {
  const RoutingRows rows = random_rows(5, 8, 1, 300, 1);
  const PlacementTable table = random_table(5, 8, 4, 0, 1);
  const Traffic traffic = count_traffic(rows, table, Plan::kCoherent, round_robin_homes(rows, 4));
  EXPECT_EQ(traffic.returned, 0);
  EXPECT_EQ(traffic.dispatched, traffic.moves);
  EXPECT_LE(traffic.dispatched - traffic.crossings,
            rows.rows());  // the first layer's way from home
}

TEST(Traffic, ProfileAndRowsAgreeWithoutReplicas) {
  const RoutingRows rows = random_rows(4, 10, 2, 400, 2);
  const RoutingProfile profile = profile_of(rows);
  const PlacementTable table = random_table(4, 10, 3, 0, 9);
  const Traffic traffic = count_traffic(rows, table, Plan::kFixed, round_robin_homes(rows, 3));
  EXPECT_NEAR(crossing_share(profile, table).ranks, traffic.crossing_share(), 1e-12);
  const std::vector<double> of_profile = profile_balance(profile, table),
                            of_rows = traffic.balance();
  for (size_t layer = 0; layer < of_rows.size(); ++layer)
    EXPECT_NEAR(of_profile[layer], of_rows[layer], 1e-12);
  const std::vector<int32_t> nodes = {0, 0, 1};
  const CrossingShare share = crossing_share(profile, table, nodes);
  EXPECT_LT(share.nodes, share.ranks);
}

TEST(Traffic, ReplicasOnEveryRankLeaveNothingToCross) {
  const RoutingRows rows = random_rows(3, 4, 2, 100, 3);
  const std::vector<std::vector<std::vector<int32_t>>> everywhere(
      3, std::vector<std::vector<int32_t>>(4, {0, 1}));
  const PlacementTable table = *PlacementTable::from_holders(layer_numbers(3), 4, 2, everywhere);
  EXPECT_EQ(crossing_share(profile_of(rows), table).ranks, 0);
  EXPECT_EQ(count_traffic(rows, table, Plan::kFixed, round_robin_homes(rows, 2))
                .messages_per_token_layer(),
            0);
}

TEST(Homes, AreBalancedAndNoWorseThanRoundRobin) {
  const RoutingRows rows = random_rows(4, 16, 2, 640, 4);  // 40 sequences
  const PlacementTable table = random_table(4, 16, 4, 0, 4);
  const std::vector<int32_t> homes = matched_homes(rows, rows, table);
  std::vector<int32_t> sequences(4, 0);
  for (size_t row = 0; row < homes.size(); row += 16) {
    ++sequences[static_cast<size_t>(homes[row])];
    for (size_t i = 0; i < 16; ++i) EXPECT_EQ(homes[row + i], homes[row]);
  }
  for (int32_t count : sequences) EXPECT_EQ(count, 10);
  EXPECT_LE(count_traffic(rows, table, Plan::kFixed, homes).dispatched,
            count_traffic(rows, table, Plan::kFixed, round_robin_homes(rows, 4)).dispatched);
  const RowsByPosition split = split_at_position(rows, 4);
  EXPECT_EQ(split.before.rows(), 160);
  EXPECT_EQ(split.after.rows(), 480);
}

TEST(PatternState, JudgesSwapsAsTheEvaluatorCounts) {
  const RoutingRows rows =
      random_rows(3, 10, 3, 240, 5);  // 10 experts on 4 ranks: two free slots in a layer
  const ChainInstance instance = instance_of(profile_of(rows), 4, 1.5);
  const std::vector<int32_t> homes = round_robin_homes(rows, 4);
  std::mt19937_64 random(5);
  for (Plan plan : {Plan::kFixed, Plan::kCoherent}) {
    PatternState state(instance, rows, plan, homes, balanced_assignment(instance));
    const auto counted = [&] {
      const Traffic traffic =
          count_traffic(rows, single_copy_table(instance, state.assignment()), plan, homes);
      return traffic.dispatched + traffic.returned;
    };
    ASSERT_EQ(state.messages(), counted());
    for (int step = 0; step < 300; ++step) {
      const auto layer = static_cast<int32_t>(random() % 3),
                 a = static_cast<int32_t>(random() % 10);
      const auto b = static_cast<int32_t>(random() % static_cast<uint64_t>(state.padded()));
      if (state.rank(layer, a) == state.rank(layer, b)) continue;
      const int64_t before = state.messages(), cost = state.swap_cost(layer, a, b);
      EXPECT_LE(state.quick_swap_cost(layer, a, b), cost);
      state.swap(layer, a, b);
      ASSERT_EQ(state.messages() - before, cost) << "step " << step;
    }
    EXPECT_EQ(state.messages(), counted());
    EXPECT_TRUE(obeys_slots(instance, state.assignment()));
  }
}

TEST(PatternSearch, IsNeverWorseThanItsStartAndDeterministic) {
  const RoutingRows rows = random_rows(4, 12, 3, 480, 6);
  const ChainInstance instance = instance_of(profile_of(rows), 3, 1.3);
  const Assignment start = balanced_assignment(instance);
  for (Plan plan : {Plan::kFixed, Plan::kCoherent}) {
    PatternSearchOptions options;
    options.plan = plan;
    options.proposals_per_second = 3e3;
    const auto messages = [&](const Assignment& a) {
      const PlacementTable table = single_copy_table(instance, a);
      return count_traffic(rows, table, plan, matched_homes(rows, rows, table))
          .messages_per_token_layer();
    };
    const Assignment found = search_patterns(instance, rows, start, SearchClock(20), options);
    EXPECT_LT(messages(found), messages(start));
    EXPECT_EQ(excess_load(instance, found), 0);
    EXPECT_EQ(search_patterns(instance, rows, start, SearchClock(20), options).rank_of,
              found.rank_of);
  }
}

TEST(ReplicaState, JudgesEditsAsTheEvaluatorCounts) {
  const RoutingRows rows = random_rows(4, 8, 2, 200, 7);
  const RoutingProfile profile = profile_of(rows);
  const std::vector<int32_t> homes = round_robin_homes(rows, 3);
  const PlacementTable start = PlacementTable::contiguous(layer_numbers(4), 8, 3);
  ReplicaLimits limits{5, 6, {}, std::vector<double>(4, 1e9)};
  for (int32_t layer = 0; layer < 4; ++layer)
    limits.loads.insert(limits.loads.end(), profile.loads(layer).begin(),
                        profile.loads(layer).end());
  for (const auto& [objective, plan] : {std::pair{Objective::kTransitions, Plan::kFixed},
                                        {Objective::kMessages, Plan::kFixed},
                                        {Objective::kMessages, Plan::kCoherent}}) {
    ReplicaState state(rows, objective, plan, homes, limits, start);
    const auto counted = [&, objective = objective, plan = plan] {
      const Traffic traffic = count_traffic(rows, state.table(layer_numbers(4)), plan, homes);
      return objective == Objective::kTransitions ? traffic.crossings
                                                  : traffic.dispatched + traffic.returned;
    };
    ASSERT_EQ(state.cost(), counted());
    std::mt19937_64 random(8);
    int accepted = 0;
    for (int step = 0; step < 400; ++step) {
      const ReplicaState::Edit edits[] = {{static_cast<int32_t>(random() % 8),
                                           static_cast<int32_t>(random() % 3), random() % 2 == 0},
                                          {static_cast<int32_t>(random() % 8),
                                           static_cast<int32_t>(random() % 3), random() % 2 == 0}};
      const size_t count = edits[0].expert == edits[1].expert ? 1 : 1 + random() % 2;
      const auto trial = state.attempt(static_cast<int32_t>(random() % 4), {edits, count},
                                       random() % 2 == 0 ? 5 : 1000);
      accepted += trial.accepted;
      ASSERT_EQ(state.cost(), counted()) << "step " << step;
    }
    EXPECT_GT(accepted, 50);
    EXPECT_LE(state.table(layer_numbers(4)).slots_per_rank(), 5);
    for (int32_t rank = 0; rank < 3; ++rank) EXPECT_LE(state.extra(rank), 6);
  }
}

TEST(ReplicaSearch, UsesMemoryWellAndKeepsLimits) {
  const RoutingRows rows = random_rows(4, 12, 2, 400, 9);
  const RoutingProfile profile = profile_of(rows);
  const ChainInstance instance = instance_of(profile, 3, 1.5);
  const PlacementTable start = single_copy_table(instance, balanced_assignment(instance));
  ReplicaState state(rows, Objective::kTransitions, Plan::kFixed, round_robin_homes(rows, 3),
                     {5, 2, instance.loads, instance.cap}, start);
  const int64_t before = state.cost();
  search_replicas(SearchClock(20), 1, 100, &state);
  EXPECT_LT(state.cost(), before);
  EXPECT_EQ(state.excess(), 0);
  EXPECT_LE(state.table(layer_numbers(4)).slots_per_rank(), 5);
  for (int32_t rank = 0; rank < 3; ++rank) EXPECT_LE(state.extra(rank), 2);
}

TEST(StepTime, CountsLinksAndTheFullestRank) {
  ClusterSpec cluster = *ClusterSpec::even(4, 2);
  cluster.intra_node = {1e-6, 100};
  cluster.inter_node = {1e-5, 10};
  std::vector<int64_t> rows(16, 0);
  rows[0 * 4 + 1] = 3;  // inside a node
  EXPECT_DOUBLE_EQ(leg_time(rows, 2, 5, cluster), 1e-6 + 30.0 / 100);
  rows[0 * 4 + 2] = 1;  // to the other node
  EXPECT_DOUBLE_EQ(leg_time(rows, 2, 5, cluster), 1e-6 + 30.0 / 100 + 1e-5 + 10.0 / 10);
  RoutingProfile profile = *RoutingProfile::create({{0}, 4, 1});
  profile.add_tokens(10);
  profile.add_load(0, 0, 10);
  const PlacementTable table = PlacementTable::contiguous({0}, 4, 4);
  EXPECT_DOUBLE_EQ(activated_experts(profile, table, 0, 0, 3), 1);
  EXPECT_DOUBLE_EQ(activated_experts(profile, table, 0, 1, 3), 0);
}

}  // namespace
}  // namespace conclave::placement
