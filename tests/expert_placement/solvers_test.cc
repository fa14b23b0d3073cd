// Chain solvers against brute force and against each other.
#include <gtest/gtest.h>

#include <memory>

#include "expert_placement/bounds/chain_bounds.h"
#include "expert_placement/exact/exact_chain.h"
#include "expert_placement/flow/balanced_assignment.h"
#include "expert_placement/flow/min_cost_flow.h"
#include "expert_placement/flow/topology_flow.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/ilp/chain_programs.h"
#include "expert_placement/ilp/mip_wire.h"
#include "expert_placement/ilp/pattern_programs.h"
#include "expert_placement/ilp/replica_programs.h"
#include "expert_placement/objective/single_copy_table.h"
#include "expert_placement/solver/single_copies.h"
#include "expert_placement/sweeps/chain_search.h"
#include "expert_placement/sweeps/local_search.h"
#include "expert_placement/sweeps/recombine.h"
#include "expert_placement/sweeps/repair.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

ChainInstance tiny(int32_t layers, int32_t experts, int32_t ranks, double cap, uint64_t seed) {
  return instance_of(profile_of(random_rows(layers, experts, 2, 120, seed)), ranks, cap);
}

TEST(Flow, FindsTheCheapestWayAndSaysWhenThereIsNone) {
  FlowProblem problem{
      4, {{0, 1, 2, 1}, {0, 2, 2, 3}, {1, 3, 1, 1}, {2, 3, 2, 1}, {1, 2, 1, 0}}, {3, 0, 0, -3}};
  const FlowSolution solution = min_cost_flow(problem);
  ASSERT_TRUE(solution.feasible);
  EXPECT_EQ(solution.cost, 2 + 2 + 4);
  problem.supply = {4, 0, 0, -4};
  EXPECT_FALSE(min_cost_flow(problem).feasible);
}

TEST(Flow, BalancedAssignmentEqualsBruteForce) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 20; ++round) {
    std::vector<double> profit;
    for (int i = 0; i < 5 * 3; ++i) profit.push_back(static_cast<double>(random() % 20));
    const std::vector<int32_t> capacity = {2, 1, 3};
    double best = -1;
    for (int code = 0; code < 243; ++code) {
      std::vector<int32_t> used(3, 0);
      double sum = 0;
      for (int item = 0, rest = code; item < 5; ++item, rest /= 3)
        ++used[static_cast<size_t>(rest % 3)],
            sum += profit[static_cast<size_t>(item * 3 + rest % 3)];
      if (used[0] <= 2 && used[1] <= 1 && used[2] <= 3) best = std::max(best, sum);
    }
    const std::vector<int32_t> bins = assign_balanced(profit, capacity);
    double sum = 0;
    for (size_t item = 0; item < 5; ++item)
      sum += profit[item * 3 + static_cast<size_t>(bins[item])];
    EXPECT_EQ(sum, best);
  }
}

TEST(Flow, TopologyPlacementEqualsBruteForce) {
  std::mt19937_64 random(2);
  std::vector<double> cost;
  for (int i = 0; i < 2 * 3 * 2; ++i) cost.push_back(static_cast<double>(random() % 9));
  const auto found = place_by_topology({2, 3, 2, cost, 2, 3});
  ASSERT_TRUE(found.ok()) << found.status();
  double best = 1e9;
  for (int code = 0; code < 64; ++code) {
    int in[2][2] = {{0, 0}, {0, 0}};
    double sum = 0;
    for (int item = 0; item < 6; ++item) {
      const int rank = code >> item & 1;
      ++in[item / 3][rank];
      sum += cost[static_cast<size_t>(item * 2 + rank)];
    }
    if (in[0][0] <= 2 && in[0][1] <= 2 && in[1][0] <= 2 && in[1][1] <= 2 &&
        in[0][0] + in[1][0] <= 3 && in[0][1] + in[1][1] <= 3)
      best = std::min(best, sum);
  }
  EXPECT_EQ(found->cost, best);
  EXPECT_FALSE(place_by_topology({2, 3, 2, cost, 1, 3}).ok());
}

TEST(BalanceLayer, IsNearTheBestAndKeepsSlots) {
  const BalancedLayer layer = balance_layer({9, 7, 6, 5, 4, 1}, {2, 2, 2});
  EXPECT_EQ(layer.most, 11);
  std::vector<int32_t> held(3, 0);
  for (int32_t rank : layer.rank_of) ++held[static_cast<size_t>(rank)];
  EXPECT_EQ(held, (std::vector<int32_t>{2, 2, 2}));
}

TEST(ChainState, JudgesSwapsAsTheObjectiveCounts) {
  for (double near : {0.0, 0.6}) {
    ChainInstance instance = tiny(4, 10, 4, 1.4, 3);
    instance.node_of = {0, 0, 1, 1};
    instance.same_node_value = near;
    ChainState state(instance, balanced_assignment(instance));
    std::mt19937_64 random(3);
    for (int step = 0; step < 300; ++step) {
      const auto layer = static_cast<int32_t>(random() % 4),
                 a = static_cast<int32_t>(random() % 10);
      const auto b = static_cast<int32_t>(random() % static_cast<uint64_t>(state.padded()));
      if (state.rank(layer, a) == state.rank(layer, b)) continue;
      const double kept = kept_weight(instance, state.assignment()), excess = state.excess();
      const double gain = state.swap_gain(layer, a, b), more = state.swap_excess(layer, a, b);
      state.swap(layer, a, b);
      ASSERT_NEAR(kept_weight(instance, state.assignment()) - kept, gain, 1e-6);
      ASSERT_NEAR(state.excess() - excess, more, 1e-4);
    }
    EXPECT_TRUE(obeys_slots(instance, state.assignment()));
  }
}

TEST(Exact, EqualsBruteForceAndBoundsHold) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const ChainInstance instance = tiny(3, 4, 2, seed % 2 == 0 ? 9 : 1.2, seed);
    const double best = best_kept(instance);
    const auto exact = solve_by_states(instance, 100, SearchClock(30));
    ASSERT_TRUE(exact.has_value());
    EXPECT_DOUBLE_EQ(kept_weight(instance, *exact), best);
    EXPECT_EQ(excess_load(instance, *exact), 0);
    const SearchClock clock(30);
    const auto pair = pair_bound(instance, clock), star = star_bound(instance, 1000, clock);
    ASSERT_TRUE(pair && star);
    EXPECT_GE(*pair, best - 1e-6);
    EXPECT_GE(*star, best - 1e-6);
    EXPECT_LE(*star, *pair * (1 + 1e-4));
    EXPECT_DOUBLE_EQ(kept_weight(instance, search_chain(instance, balanced_assignment(instance),
                                                        SearchClock(5), 1, {2e5})),
                     best);
  }
}

TEST(Exact, OneExpertPerRankIsAssignmentAfterAssignment) {
  const ChainInstance instance = tiny(3, 4, 4, 9, 11);
  const auto exact = solve_one_expert_per_rank(instance);
  ASSERT_TRUE(exact.has_value());
  EXPECT_DOUBLE_EQ(kept_weight(instance, *exact), best_kept(instance));
  EXPECT_FALSE(solve_one_expert_per_rank(tiny(3, 4, 2, 9, 11)).has_value());
}

TEST(Exact, EightExpertsAreSolvedAndSearchReachesThem) {
  const ChainInstance instance = tiny(6, 8, 2, 1.3, 12);
  const auto exact = solve_by_states(instance, 13000, SearchClock(60));
  ASSERT_TRUE(exact.has_value());
  const Assignment found =
      search_chain(instance, balanced_assignment(instance), SearchClock(10), 2, {2e5});
  EXPECT_LE(kept_weight(instance, found), kept_weight(instance, *exact) + 1e-9);
  EXPECT_GE(kept_weight(instance, found), 0.99 * kept_weight(instance, *exact));
  EXPECT_FALSE(solve_by_states(instance, 10, SearchClock(60)).has_value());
}

TEST(IntegerProgram, TravelsWhole) {
  const ChainInstance instance = tiny(3, 4, 2, 1.3, 20);
  MipModel model = whole_chain_program(instance), copy;
  model.start.assign(model.columns.size(), 0.5);
  double seconds = 0;
  const std::vector<double> numbers = encode_model(model, 7);
  ASSERT_TRUE(decode_model(numbers, &copy, &seconds));
  EXPECT_EQ(seconds, 7);
  EXPECT_EQ(encode_model(copy, 7), numbers);
  for (size_t length = 0; length < numbers.size(); length += 5) {
    MipModel part;
    EXPECT_FALSE(decode_model({numbers.begin(), numbers.begin() + static_cast<int64_t>(length)},
                              &part, &seconds));
  }
}

TEST(IntegerProgram, APlacementIsAPointThatObeysEveryRow) {
  const ChainInstance instance = tiny(3, 6, 3, 9, 25);
  const Assignment start = balanced_assignment(instance);
  const MipModel program = whole_chain_program(instance);
  const std::vector<double> point = point_of(instance, start);
  ASSERT_EQ(point.size(), program.columns.size());
  double gain = 0;
  for (size_t i = 0; i < point.size(); ++i) {
    EXPECT_LE(point[i], program.columns[i].upper) << "column " << i;
    gain += point[i] * program.columns[i].gain;
  }
  EXPECT_NEAR(gain, kept_weight(instance, start), 1e-9);
  for (const auto& row : program.rows) {
    double sum = 0;
    for (const auto& [column, value] : row.entries)
      sum += value * point[static_cast<size_t>(column)];
    EXPECT_LE(sum, row.upper + 1e-6);
    EXPECT_GE(sum, row.lower - 1e-6);
  }
}

TEST(IntegerProgram, EqualsBruteForceOnTinyInstances) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  for (uint64_t seed = 0; seed < 3; ++seed) {
    const ChainInstance instance = tiny(3, 4, 2, 1.3, 20 + seed);
    MipModel program = whole_chain_program(instance);
    if (seed > 0) program.start = point_of(instance, balanced_assignment(instance));
    const MipResult result = solve_mip(program, 20);
    ASSERT_EQ(result.status, MipStatus::kOptimal);
    const Assignment found = read_assignment(instance, result.values);
    EXPECT_NEAR(result.objective, best_kept(instance), 1e-6);
    EXPECT_NEAR(kept_weight(instance, found), result.objective, 1e-6);
    EXPECT_EQ(excess_load(instance, found), 0);
  }
}

TEST(IntegerProgram, OneLayerUnderCapAndBudgetEqualsBruteForce) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const ChainInstance instance = tiny(3, 6, 2, 1.2, 30);
  const Assignment start = balanced_assignment(instance);
  const ChainState state(instance, start);
  for (int64_t moves : {0, 2, 6}) {
    double best = -1;
    for (int code = 0; code < 64; ++code) {
      Assignment tried = start;
      int64_t moved = 0;
      for (int32_t e = 0; e < 6; ++e)
        tried.at(1, e) = code >> e & 1, moved += tried.at(1, e) != start.at(1, e);
      if (moved <= moves && obeys_slots(instance, tried) && excess_load(instance, tried) == 0)
        best = std::max(best, kept_weight(instance, tried));
    }
    const MipResult result =
        solve_mip(one_layer_program(state, 1, LayerBudget{start.rank_of.data() + 6, moves}), 20);
    ASSERT_EQ(result.status, MipStatus::kOptimal);
    EXPECT_NEAR(result.objective, best, 1e-6)
        << moves;  // a middle layer's attraction is all that is kept
  }
}

TEST(IntegerProgram, LayersKeepTheBudgetOfAllLayers) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const ChainInstance instance = tiny(3, 6, 2, 1.3, 31);
  const Assignment start = balanced_assignment(instance);
  for (int64_t moves : {0, 2, 4}) {
    ChainState state(instance, start);
    improve_layers(SearchClock(20), 5, &state, MoveBudget{&start, moves});
    const Assignment found = state.assignment();
    int64_t moved = 0;
    for (size_t i = 0; i < found.rank_of.size(); ++i) moved += found.rank_of[i] != start.rank_of[i];
    EXPECT_LE(moved, moves);
    if (moves == 0) {
      EXPECT_EQ(found.rank_of, start.rank_of);
    } else {
      EXPECT_GT(kept_weight(instance, found), kept_weight(instance, start));
    }
  }
}

TEST(IntegerProgram, PatternsSendLessAndKeepLimits) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const RoutingRows rows = random_rows(3, 10, 3, 240, 33);  // two free slots in a layer of 4 ranks
  const ChainInstance instance = instance_of(profile_of(rows), 4, 1.3);
  for (Plan plan : {Plan::kFixed, Plan::kCoherent}) {
    PatternState state(instance, rows, plan, round_robin_homes(rows, 4),
                       balanced_assignment(instance));
    const int64_t before = state.messages();
    EXPECT_GT(improve_patterns(SearchClock(60), 5, &state), 0);
    EXPECT_LT(state.messages(), before);
    EXPECT_TRUE(obeys_slots(instance, state.assignment()));
    EXPECT_EQ(excess_load(instance, state.assignment()), 0);
  }
}

// Without copies the program of a layer with replicas is the plain one.
TEST(IntegerProgram, ALayerWithCopiesKeepsAtLeastWhatSingleCopiesKeep) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const RoutingProfile profile = profile_of(random_rows(3, 6, 2, 200, 34));
  const ChainInstance instance = instance_of(profile, 2, 9);
  const Assignment start = balanced_assignment(instance);
  const PlacementTable table = single_copy_table(instance, start);
  const ReplicaLayer input{&profile, &table, 1, instance.cap[1], nullptr, -1};
  const MipResult found = solve_mip(replica_layer_program(input), 20);
  const MipResult plain = solve_mip(one_layer_program(ChainState(instance, start), 1), 20);
  ASSERT_EQ(found.status, MipStatus::kOptimal);
  ASSERT_EQ(plain.status, MipStatus::kOptimal);
  EXPECT_NEAR(found.objective, plain.objective, 1e-6);
  // A second copy of each expert: whatever arrives stays.
  const PlacementTable twice = table.with_layer(1, std::vector<std::vector<int32_t>>(6, {0, 1}));
  const ReplicaLayer copies{&profile, &twice, 1, instance.cap[1], nullptr, -1};
  const MipResult more = solve_mip(replica_layer_program(copies), 20);
  ASSERT_EQ(more.status, MipStatus::kOptimal);
  EXPECT_GT(more.objective, found.objective);
  for (const auto& holders : read_holders(copies, more.values)) EXPECT_EQ(holders.size(), 2u);
  // Nothing may arrive that was not there: the layer stays as it is.
  const ReplicaLayer still{&profile, &table, 1, instance.cap[1], &table, 0};
  const MipResult none = solve_mip(replica_layer_program(still), 20);
  ASSERT_EQ(none.status, MipStatus::kOptimal);
  const auto holders = read_holders(still, none.values);
  for (int32_t e = 0; e < 6; ++e)
    EXPECT_EQ(holders[static_cast<size_t>(e)], std::vector<int32_t>{start.at(1, e)});
}

TEST(IntegerProgram, TheWatchdogEndsWhatCbcWouldNot) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const ChainInstance instance = instance_of(profile_of(random_rows(6, 16, 2, 800, 1)), 4, 1.2);
  const SearchClock clock(600);
  const MipResult result = solve_mip(whole_chain_program(instance), 0.2);
  EXPECT_NE(result.status, MipStatus::kOptimal);
  EXPECT_EQ(solve_mip(whole_chain_program(instance), 0).status, MipStatus::kNothing);
}

// Experts in groups that stay together through all layers, most of the time.
ChainInstance grouped(int32_t layers, int32_t experts, int32_t groups, int32_t ranks,
                      uint64_t seed) {
  std::mt19937_64 random(seed);
  const int32_t of_group = experts / groups;
  RoutingRows rows{layers, experts, 1, {}, {}};
  for (int32_t row = 0; row < 4000; ++row) {
    rows.sequence.push_back(row / 32);
    const auto group = static_cast<int32_t>(random() % static_cast<uint64_t>(groups));
    for (int32_t layer = 0; layer < layers; ++layer) {
      const auto expert = static_cast<int32_t>(random() % static_cast<uint64_t>(of_group));
      const bool strays = random() % 8 == 0;
      rows.chosen.push_back(static_cast<uint16_t>(
          strays ? random() % static_cast<uint64_t>(experts)
                 : static_cast<uint64_t>(group + groups * ((expert + layer) % of_group))));
    }
  }
  return instance_of(profile_of(rows), ranks, 1.3);
}

TEST(ChainState, ResetLeavesNothingBehind) {
  ChainInstance instance = tiny(4, 10, 4, 1.4, 5);
  // Weights that are no whole numbers: sums depend on the order in which they were made.
  for (size_t i = 0; i < instance.weights.size(); ++i)
    instance.weights[i] *= 1 + 0.1 / static_cast<double>(i + 3);
  const Assignment start = balanced_assignment(instance);
  const ChainState fresh(instance, start);
  ChainState used(instance, start);
  for (int32_t a = 0; a < 5; ++a) used.swap(a % 4, a, a + 5);
  used.reset(start);
  EXPECT_EQ(used.excess(), fresh.excess());
  EXPECT_EQ(used.assignment().rank_of, start.rank_of);
  for (int32_t layer = 0; layer < 4; ++layer) {
    for (int32_t expert = 0; expert < 10; ++expert) {
      for (int32_t rank = 0; rank < 4; ++rank)
        EXPECT_EQ(used.attraction(layer, expert, rank), fresh.attraction(layer, expert, rank));
    }
  }
}

TEST(LocalSearch, AnnealingMovesFreeExpertsOnly) {
  const ChainInstance instance = tiny(4, 11, 3, 9, 6);  // a free slot in each layer
  const Assignment start = balanced_assignment(instance);
  FreeExperts free(4);
  free[1] = {0, 2, 3, 5, 7, 8};
  free[3] = {1, 4};
  ChainState state(instance, start);
  AnnealOptions options;
  options.proposals = 5000;
  anneal(options, free, SearchClock(60), &state);
  const Assignment found = state.assignment();
  EXPECT_NE(found.rank_of, start.rank_of);
  EXPECT_TRUE(obeys_slots(instance, found));
  for (int32_t layer = 0; layer < 4; ++layer) {
    const auto& may = free[static_cast<size_t>(layer)];
    for (int32_t expert = 0; expert < 11; ++expert) {
      if (std::find(may.begin(), may.end(), expert) == may.end()) {
        EXPECT_EQ(found.at(layer, expert), start.at(layer, expert)) << layer << " " << expert;
      }
    }
  }
  const AnnealOptions more{5000};
  anneal(more, FreeExperts(4), SearchClock(60), &state);
  EXPECT_EQ(state.assignment().rank_of, found.rank_of);
}

TEST(LocalSearch, PolishLeavesNoSwapThatGains) {
  const ChainInstance instance = tiny(5, 12, 3, 1.3, 8);
  ChainState state(instance, balanced_assignment(instance));
  polish(SearchClock(60), &state);
  for (int32_t layer = 0; layer < 5; ++layer) {
    for (int32_t a = 0; a < 12; ++a) {
      for (int32_t b = a + 1; b < state.padded(); ++b) {
        if (state.rank(layer, a) != state.rank(layer, b) && state.swap_excess(layer, a, b) <= 0) {
          EXPECT_LE(state.swap_gain(layer, a, b), 1e-6) << layer << ": " << a << ", " << b;
        }
      }
    }
  }
}

TEST(Recombine, AlignsRanksThatCanTradePlaces) {
  ChainInstance instance = tiny(4, 9, 3, 9, 7);
  const Assignment model = balanced_assignment(instance);
  Assignment other = model;
  for (int32_t& rank : other.rank_of) rank = (rank + 1) % 3;
  std::swap(other.at(2, 0), other.at(2, 1));
  const Assignment unnamed = other;
  const double kept = kept_weight(instance, other);
  align_ranks(instance, model, &other);
  const FreeExperts free = differing(instance, model, other);
  const bool apart = model.at(2, 0) != model.at(2, 1);
  EXPECT_EQ(count(free), apart ? 2 : 0);
  EXPECT_EQ(free[2], apart ? (std::vector<int32_t>{0, 1}) : std::vector<int32_t>());
  EXPECT_EQ(kept_weight(instance, other), kept);
  // A rank with more slots keeps its name, and so does every rank whose node matters.
  Assignment uneven = unnamed;
  instance.slots = {3, 3, 4};
  align_ranks(instance, model, &uneven);
  EXPECT_TRUE(obeys_slots(instance, uneven));
  for (size_t i = 0; i < uneven.rank_of.size(); ++i)
    EXPECT_EQ(uneven.rank_of[i] == 2, unnamed.rank_of[i] == 2);
  instance.same_node_value = 0.5;
  Assignment on_nodes = unnamed;
  align_ranks(instance, model, &on_nodes);
  EXPECT_EQ(on_nodes.rank_of, unnamed.rank_of);
}

TEST(RepairLoads, HealsBothKindsOfState) {
  const RoutingRows rows = random_rows(3, 12, 2, 300, 9);
  ChainInstance instance = instance_of(profile_of(rows), 3, 1.15);
  // Sorted by load, a third of the experts to a rank: as uneven as it gets.
  Assignment start{12, std::vector<int32_t>(36)};
  for (int32_t layer = 0; layer < 3; ++layer) {
    std::vector<int32_t> order = layer_numbers(12);
    std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return instance.load(layer, a) < instance.load(layer, b);
    });
    for (int32_t i = 0; i < 12; ++i) start.at(layer, order[static_cast<size_t>(i)]) = i / 4;
  }
  ASSERT_GT(excess_load(instance, start), 0);
  ChainState chain(instance, start);
  EXPECT_TRUE(repair(&chain));
  EXPECT_EQ(excess_load(instance, chain.assignment()), 0);
  EXPECT_TRUE(obeys_slots(instance, chain.assignment()));
  PatternState pattern(instance, rows, Plan::kFixed, round_robin_homes(rows, 3), start);
  EXPECT_TRUE(repair_loads([](int32_t, int32_t, int32_t) { return 1.0; }, 1, &pattern));
  EXPECT_EQ(excess_load(instance, pattern.assignment()), 0);
  EXPECT_TRUE(obeys_slots(instance, pattern.assignment()));
  // What obeys the caps is left alone.
  const std::vector<int32_t> before = chain.assignment().rank_of;
  EXPECT_TRUE(repair(&chain));
  EXPECT_EQ(chain.assignment().rank_of, before);
  // A cap that no placement reaches: as near as swaps come, and no claim that it is kept.
  for (int32_t layer = 0; layer < 3; ++layer) {
    const auto first = instance.loads.begin() + 12 * layer;
    instance.cap[static_cast<size_t>(layer)] = std::accumulate(first, first + 12, 0.0) / 3 - 0.5;
  }
  ChainState hopeless(instance, start);
  EXPECT_FALSE(repair(&hopeless));
  EXPECT_LT(hopeless.excess(), excess_load(instance, start));
}

TEST(ChainSearch, PutsWholeGroupsTogether) {
  const int32_t groups = 8;
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    const ChainInstance instance = grouped(8, 32, groups, 2, seed);
    Assignment planted{32, {}};
    for (int32_t layer = 0; layer < 8; ++layer) {
      for (int32_t expert = 0; expert < 32; ++expert)
        planted.rank_of.push_back(expert % groups < groups / 2 ? 0 : 1);
    }
    ASSERT_EQ(excess_load(instance, planted), 0);
    const Assignment found =
        search_chain(instance, balanced_assignment(instance), SearchClock(600), seed, {2e4});
    EXPECT_GE(kept_weight(instance, found), kept_weight(instance, planted));
    // Groups, not single experts, change sides: none is torn apart.
    for (int32_t expert = 0; expert < 32; ++expert)
      EXPECT_EQ(found.at(0, expert), found.at(7, expert % groups)) << expert;
  }
}

TEST(ChainSearch, EqualsBruteForceOnTinyInstances) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const ChainInstance instance =
        seed % 2 == 0 ? tiny(3, 4, 2, 1.3, 60 + seed) : tiny(2, 5, 3, 1.4, 60 + seed);
    const Assignment found =
        search_chain(instance, balanced_assignment(instance), SearchClock(600), seed, {1e4});
    EXPECT_DOUBLE_EQ(kept_weight(instance, found), best_kept(instance));
  }
}

TEST(ChainSearch, TheSameTableWhicheverThreadMadeWhich) {
  ChainInstance instance = tiny(6, 20, 4, 1.2, 70);
  for (size_t i = 0; i < instance.weights.size(); ++i)
    instance.weights[i] *= 1 + 0.1 / static_cast<double>(i + 3);
  const Assignment start = balanced_assignment(instance);
  const auto found = [&](const ChainSearchOptions& options) {
    return search_chain(instance, start, SearchClock(200), 3, options).rank_of;
  };
  const std::vector<int32_t> once = found({3e3, 4});
  for (int again = 0; again < 3; ++again) EXPECT_EQ(found({3e3, 4}), once);
  EXPECT_EQ(found({12e3, 1}), once);  // as much work in all, by one thread
}

TEST(ChainSearch, EndsWithItsClock) {
  const ChainInstance instance = tiny(12, 48, 4, 1.2, 71);
  const Assignment start = balanced_assignment(instance);
  // A clock that ticks when looked at: how long a look takes on this machine does not matter.
  for (const double ticks : {1.0, 20.0, 400.0}) {
    auto time = std::make_shared<double>(0);
    const SearchClock clock(ticks, {}, [time] { return *time += 1; });
    const Assignment found = search_chain(instance, start, clock, 1, {1e9});
    EXPECT_GE(kept_weight(instance, found), kept_weight(instance, start));
    EXPECT_EQ(excess_load(instance, found), 0);
    EXPECT_TRUE(obeys_slots(instance, found));
    EXPECT_LE(*time, ticks + 40);
  }
}

TEST(ChainSearch, IsNeverWorseThanItsStartDeterministicAndKeepsLimits) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const ChainInstance instance = tiny(5, 12 + static_cast<int32_t>(seed), 3, 1.15, 40 + seed);
    const Assignment start = balanced_assignment(instance);
    // So long that even with a sanitizer on a busy machine the iterations come first.
    const SearchClock patient(2000);
    const Assignment found = search_chain(instance, start, patient, seed, {2e4, 2});
    EXPECT_GE(kept_weight(instance, found), kept_weight(instance, start));
    EXPECT_EQ(excess_load(instance, found), 0);
    EXPECT_TRUE(obeys_slots(instance, found));
    EXPECT_EQ(search_chain(instance, start, patient, seed, {2e4, 2}).rank_of, found.rank_of);
  }
}

TEST(TwoStages, KeepsMoreInsideNodesThanTheStart) {
  ChainInstance instance = tiny(4, 16, 4, 1.3, 50);
  instance.node_of = {0, 0, 1, 1};
  instance.same_node_value = 0.8;
  const Assignment start = balanced_assignment(instance);
  const Assignment found = search_two_stages(instance, start, SearchClock(3), 1);
  EXPECT_GT(kept_weight(instance, found), kept_weight(instance, start));
  EXPECT_TRUE(obeys_slots(instance, found));
  EXPECT_EQ(excess_load(instance, found), 0);
}

}  // namespace
}  // namespace conclave::placement
