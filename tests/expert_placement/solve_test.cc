#include "expert_placement/solve.h"

#include <gtest/gtest.h>

#include <ctime>

#include "expert_placement/baselines/baselines.h"
#include "expert_placement/ilp/mip.h"
#include "expert_placement/objective/held_out.h"
#include "expert_placement/objective/traffic.h"
#include "expert_placement/report/html_report.h"
#include "expert_placement/sweeps/search_clock.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

Problem problem_for(const RoutingProfile& profile, int32_t ranks, double seconds = 1) {
  Problem problem;
  problem.profile = &profile;
  problem.cluster = *ClusterSpec::even(ranks, 1);
  problem.time_limit_s = seconds;
  problem.cost = {128, 1000, 2000, 32};
  return problem;
}

void expect_valid(const Problem& problem, const Solution& solution) {
  const RoutingProfile& profile = *problem.profile;
  const int32_t ranks = problem.cluster.ranks(), slots = (profile.experts() + ranks - 1) / ranks;
  EXPECT_LE(solution.table.slots_per_rank(),
            slots + problem.replicas + (problem.replica_share > 0 ? 2 : 0));
  ASSERT_EQ(solution.table.layers(), profile.layers());
  for (int32_t layer = 0; layer < profile.layers(); ++layer) {
    for (int32_t expert = 0; expert < profile.experts(); ++expert)
      EXPECT_GE(solution.table.holders(layer, expert).size(), 1u);
    EXPECT_LE(solution.balance[static_cast<size_t>(layer)],
              solution.balance_cap[static_cast<size_t>(layer)] * (1 + 1e-6));
  }
  EXPECT_EQ(solution.table.profile_id(), profile.id());
  if (solution.lower_bound) {
    EXPECT_LE(*solution.lower_bound, solution.objective_after * (1 + 1e-6) + 1e-12);
  }
}

TEST(Solve, EveryObjectiveGivesAValidTableNoWorseThanBaselines) {
  const RoutingProfile profile = profile_of(random_rows(4, 13, 3, 480, 1));
  for (Objective objective : {Objective::kTransitions, Objective::kMessages, Objective::kTime}) {
    for (Plan plan : {Plan::kFixed, Plan::kCoherent}) {
      Problem problem = problem_for(profile, 3, 0.6);
      problem.objective = objective;
      problem.plan = plan;
      const auto solution = solve(problem);
      ASSERT_TRUE(solution.ok()) << solution.status();
      expect_valid(problem, *solution);
      if (objective == Objective::kTransitions) {
        EXPECT_NEAR(solution->objective_after, crossing_share(profile, solution->table).ranks,
                    1e-12);
      }
      for (SolverKind baseline :
           {SolverKind::kContiguous, SolverKind::kRoundRobin, SolverKind::kEplb}) {
        problem.solver = baseline;
        const auto other = solve(problem);
        ASSERT_TRUE(other.ok());
        bool obeys = true;
        for (size_t layer = 0; layer < other->balance.size(); ++layer)
          obeys = obeys && other->balance[layer] <= other->balance_cap[layer];
        if (obeys) {
          EXPECT_LE(solution->objective_after, other->objective_after * (1 + 1e-9))
              << name_of(baseline);
        }
      }
    }
  }
}

TEST(Solve, IntegerProgramsWorkForEveryObjectiveWithCopiesAndBudgets) {
  if (!mip_available()) GTEST_SKIP() << "built without CBC";
  const RoutingProfile profile = profile_of(random_rows(3, 12, 3, 360, 21));
  for (Objective objective : {Objective::kTransitions, Objective::kMessages, Objective::kTime}) {
    for (int32_t replicas : {0, 1}) {
      SCOPED_TRACE(testing::Message() << name_of(objective) << ", replicas " << replicas);
      Problem problem = problem_for(profile, 3, 1.5);
      problem.max_imbalance = 2;  // contiguous obeys it
      problem.objective = objective;
      problem.solver = SolverKind::kIlp;
      problem.replicas = replicas;
      const auto free = solve(problem);
      ASSERT_TRUE(free.ok()) << free.status();
      expect_valid(problem, *free);
      EXPECT_LT(free->objective_after, free->objective_before);
      const PlacementTable start = eplb_table(profile, 3, 3 * replicas);
      problem.start = &start;
      problem.migration_budget = 5;
      problem.time_limit_s = 1;
      const auto limited = solve(problem);
      ASSERT_TRUE(limited.ok()) << limited.status();
      EXPECT_LE(limited->moved_experts, 5);
      EXPECT_LE(limited->objective_after, limited->objective_before * (1 + 1e-9));
    }
  }
}

// A node of one rank beside a node of three: hot experts go where their rows travel least.
TEST(Solve, TheFlowKnowsUnevenNodes) {
  const RoutingProfile profile = profile_of(random_rows(2, 8, 2, 400, 22));
  Problem problem = problem_for(profile, 4);
  problem.cluster.ranks_per_node = {1, 3};
  problem.solver = SolverKind::kFlow;
  const auto solution = solve(problem);
  ASSERT_TRUE(solution.ok()) << solution.status();
  EXPECT_EQ(solution->solver, "flow");
  EXPECT_EQ(solution->table.ranks_per_node(), (std::vector<int32_t>{1, 3}));
  for (int32_t layer = 0; layer < 2; ++layer) {
    double hottest_alone = 0, coldest_together = 1e9;
    for (int32_t expert = 0; expert < 8; ++expert) {
      const double load = profile.loads(layer)[static_cast<size_t>(expert)];
      if (solution->table.holders(layer, expert)[0] == 0) {
        hottest_alone = std::max(hottest_alone, load);
      } else {
        coldest_together = std::min(coldest_together, load);
      }
    }
    EXPECT_LE(hottest_alone, coldest_together);
  }
}

TEST(Solve, CopiesAreCountedAsServedByTheirNode) {
  const RoutingProfile profile = profile_of(random_rows(3, 12, 2, 600, 23));
  Problem problem = problem_for(profile, 4, 1.5);
  problem.cluster.ranks_per_node = {2, 2};
  problem.max_imbalance = 1.5;
  problem.replicas = 1;
  const auto solution = solve(problem);
  ASSERT_TRUE(solution.ok()) << solution.status();
  expect_valid(problem, *solution);
  const std::vector<int32_t> nodes = {0, 0, 1, 1};
  const CrossingShare share = crossing_share(profile, solution->table, nodes);
  const double inside = 1 - problem.cluster.inter_node.bytes_per_s /
                                problem.cluster.intra_node.bytes_per_s;
  EXPECT_NEAR(solution->objective_after, share.nodes + (share.ranks - share.nodes) * (1 - inside),
              1e-9);
}

TEST(Solve, ReplicasHelpWithinTheirMemory) {
  const RoutingProfile profile = profile_of(random_rows(4, 12, 2, 600, 2));
  Problem problem = problem_for(profile, 3, 1.5);
  const auto single = solve(problem);
  problem.replica_share = 0.25;
  const auto more = solve(problem);
  ASSERT_TRUE(single.ok() && more.ok());
  expect_valid(problem, *more);
  EXPECT_LT(more->objective_after, single->objective_after);
  int64_t copies = 0;
  for (int32_t layer = 0; layer < 4; ++layer) {
    for (int32_t expert = 0; expert < 12; ++expert)
      copies += static_cast<int64_t>(more->table.holders(layer, expert).size());
  }
  EXPECT_LE(copies, 48 + 12);
  problem.cluster.memory_bytes = 16 * 1000;  // exactly one copy of each expert
  const auto tight = solve(problem);
  ASSERT_TRUE(tight.ok());
  EXPECT_EQ(tight->table.slots_per_rank(), 4);
  problem.cluster.memory_bytes = 15 * 1000;
  EXPECT_FALSE(solve(problem).ok());
}

TEST(Solve, SmallInstancesAreProvenOptimal) {
  const RoutingProfile profile = profile_of(random_rows(5, 8, 2, 300, 3));
  for (const auto& [ranks, solver] :
       {std::pair{2, SolverKind::kAuto}, {8, SolverKind::kAuto}, {2, SolverKind::kExact}}) {
    Problem problem = problem_for(profile, ranks, 20);
    problem.solver = solver;
    const auto solution = solve(problem);
    ASSERT_TRUE(solution.ok()) << solution.status();
    EXPECT_EQ(solution->solver, "exact");
    EXPECT_NEAR(*solution->gap(), 0, 1e-9);
  }
  const RoutingProfile small = profile_of(random_rows(3, 4, 2, 200, 3));
  Problem problem = problem_for(small, 2, 20);
  const auto exact = solve(problem);
  problem.solver = SolverKind::kIlp;
  const auto ilp = solve(problem);
  ASSERT_TRUE(exact.ok());
  ASSERT_EQ(ilp.ok(), mip_available()) << ilp.status();
  if (ilp.ok()) {
    EXPECT_EQ(ilp->solver, "ilp");
    EXPECT_NEAR(ilp->objective_after, exact->objective_after, 1e-9);
  }
  const RoutingProfile large = profile_of(random_rows(2, 32, 2, 50, 3));
  problem = problem_for(large, 4, 2);
  problem.solver = SolverKind::kExact;
  EXPECT_EQ(solve(problem).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(Solve, RePlansKeepTheirBudgetAndNames) {
  const RoutingProfile profile = profile_of(random_rows(4, 12, 2, 600, 4));
  for (Objective objective : {Objective::kTransitions, Objective::kMessages}) {
    Problem problem = problem_for(profile, 3, 1);
    problem.objective = objective;
    const PlacementTable start = eplb_table(profile, 3, 0);
    problem.start = &start;
    const auto free = solve(problem);
    ASSERT_TRUE(free.ok()) << free.status();
    EXPECT_LT(free->objective_after, free->objective_before);
    for (int64_t budget : {int64_t{0}, int64_t{4}, int64_t{10}}) {
      problem.migration_budget = budget;
      const auto limited = solve(problem);
      ASSERT_TRUE(limited.ok());
      EXPECT_LE(limited->moved_experts, budget);
      EXPECT_EQ(limited->moved_experts, moved_experts(start, limited->table));
      EXPECT_LE(limited->objective_after, limited->objective_before);
      if (budget >= 4) {
        EXPECT_LT(limited->objective_after, limited->objective_before);
      }
    }
    // The same table under other names moves nothing once labels are aligned.
    std::vector<std::vector<std::vector<int32_t>>> renamed(4);
    for (int32_t layer = 0; layer < 4; ++layer) {
      for (int32_t expert = 0; expert < 12; ++expert)
        renamed[static_cast<size_t>(layer)].push_back({(start.holders(layer, expert)[0] + 1) % 3});
    }
    const PlacementTable other = *PlacementTable::from_holders(layer_numbers(4), 12, 3, renamed);
    EXPECT_GT(moved_experts(start, other), 0);
    EXPECT_EQ(moved_experts(start, align_labels(other, start, problem.cluster)), 0);
  }
}

TEST(Solve, AReplicatedStartIsReplannedWithinItsBudget) {
  const RoutingProfile profile = profile_of(random_rows(4, 12, 2, 400, 14));
  Problem problem = problem_for(profile, 3, 1);
  problem.replicas = 1;
  const PlacementTable start = eplb_table(profile, 3, 3);
  problem.start = &start;
  problem.migration_budget = 14;
  const auto solution = solve(problem);
  ASSERT_TRUE(solution.ok()) << solution.status();
  EXPECT_LE(solution->moved_experts, 14);
  EXPECT_LE(solution->objective_after, solution->objective_before * (1 + 1e-9));
}

TEST(Solve, IsDeterministicForASeed) {
  const RoutingProfile profile = profile_of(random_rows(3, 8, 2, 200, 5));
  for (Objective objective : {Objective::kTransitions, Objective::kMessages}) {
    Problem problem = problem_for(profile, 2, 60);
    problem.objective = objective;
    problem.solver = SolverKind::kSearch;
    EXPECT_EQ(solve(problem)->table.to_json(), solve(problem)->table.to_json());
  }
}

TEST(Solve, ReturnsWhenItsTimeIsUpOrItIsCancelled) {
  const RoutingProfile profile = profile_of(random_rows(12, 64, 4, 2000, 6));
  Problem problem = problem_for(profile, 8, 1.5);
  for (Objective objective : {Objective::kTransitions, Objective::kMessages}) {
    problem.objective = objective;
    const auto solution = solve(problem);
    ASSERT_TRUE(solution.ok());
    expect_valid(problem, *solution);
    EXPECT_LE(solution->seconds, 60) << "the search did not look at the clock";
  }
  problem.time_limit_s = 3600;
  problem.cancelled = [] { return true; };
  const auto cancelled = solve(problem);
  ASSERT_TRUE(cancelled.ok());
  expect_valid(problem, *cancelled);
}

// In CPU seconds, which do not depend on who else is on the machine. A sanitizer makes everything
// between two looks at the clock many times longer, so the limit grows with it.
TEST(Solve, RespectsItsTimeLimitWithinTenPerCent) {
  const RoutingProfile profile = profile_of(random_rows(16, 128, 8, 4000, 6));
  for (Objective objective : {Objective::kTransitions, Objective::kMessages}) {
    for (int32_t replicas : {0, 1}) {
      SCOPED_TRACE(testing::Message() << name_of(objective) << ", replicas " << replicas);
      Problem problem = problem_for(profile, 8, 2 * CONCLAVE_SLOWNESS);
      problem.objective = objective;
      problem.replicas = replicas;
      problem.now = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
      const auto solution = solve(problem);
      ASSERT_TRUE(solution.ok());
      expect_valid(problem, *solution);
      EXPECT_LE(solution->seconds, 1.1 * problem.time_limit_s);
    }
  }
}

TEST(Solve, EdgesAreSensibleTablesOrClearErrors) {
  const RoutingProfile profile = profile_of(random_rows(2, 5, 2, 40, 7));
  EXPECT_EQ(solve(problem_for(profile, 1))->objective_after, 0);
  const auto sparse = solve(problem_for(profile, 9, 0.5));
  ASSERT_TRUE(sparse.ok()) << sparse.status();
  EXPECT_EQ(sparse->table.slots_per_rank(), 1);
  const RoutingProfile empty = *RoutingProfile::create({{0, 1}, 5, 2});
  const auto nothing = solve(problem_for(empty, 2));
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(nothing->table.holders(0, 4)[0], 1);
  Problem problem = problem_for(profile, 2);
  problem.max_imbalance = 0.5;
  EXPECT_FALSE(solve(problem).ok());
  problem = problem_for(profile, 2);
  const PlacementTable other = PlacementTable::contiguous({0, 1}, 6, 2);
  problem.start = &other;
  EXPECT_FALSE(solve(problem).ok());
  problem.start = nullptr;
  problem.profile = nullptr;
  EXPECT_FALSE(solve(problem).ok());
  EXPECT_FALSE(ClusterSpec::even(2, 3).ok());
  EXPECT_FALSE(ClusterSpec::from_json(R"({"version":1,"nodes":[{"ranks":0}]})", "c.json").ok());
  const ClusterSpec cluster = *ClusterSpec::even(5, 2);
  EXPECT_EQ(ClusterSpec::from_json(cluster.to_json(), "c.json")->to_json(), cluster.to_json());
  EXPECT_EQ(cluster.node_of(1), 0);
  EXPECT_EQ(cluster.node_of(2), 1);
}

TEST(Solve, RealRoutingGainsOnSequencesNotSeen) {
  const auto rows =
      read_trace(CONCLAVE_SOURCE_DIR "/tests/golden/traces/demo_4_sequences.safetensors");
  ASSERT_TRUE(rows.ok());
  const SplitRows split = hold_out(*rows, 4);
  const RoutingProfile profile = profile_of(split.profile);
  Problem problem = problem_for(profile, 2, 1);
  problem.max_imbalance = 1.25;
  const auto solution = solve(problem);
  ASSERT_TRUE(solution.ok());
  const HeldOutFigures ours = judge_held_out(split.test, solution->table, 80);
  const HeldOutFigures plain = judge_held_out(split.test, contiguous_table(profile, 2), 80);
  EXPECT_LT(ours.crossing_share, 0.8 * plain.crossing_share);
  EXPECT_LT(ours.coherent_matched, plain.coherent_matched);
}

TEST(HtmlReport, HoldsMapMatricesAndBars) {
  const RoutingProfile profile = profile_of(random_rows(3, 6, 2, 100, 8));
  const Problem problem = problem_for(profile, 2, 0.3);
  const std::string html = html_report(problem, *solve(problem));
  for (const char* part : {"id='map'", "id='ranks-before'", "id='ranks-after'",
                           "id='experts-after'", "id='balance'", "layer 2", "</html>"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(html.find("http"), std::string::npos) << "self-contained";
}

}  // namespace
}  // namespace conclave::placement
