#include "coordinator/placement/routing_recorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

using placement::RowPlan;
using testing::ElementsAre;

// Two MoE layers of three experts, top-2.
RoutingRecorder make(int64_t max_rows) {
  return RoutingRecorder({2, 3, 2, 2, {8, 16, 32}, max_rows});
}

placement::PlacementTable table(int64_t epoch) {
  auto table = placement::PlacementTable::contiguous({0, 1}, 3, 2);
  table.set_epoch(epoch);
  return table;
}

protocol::SequenceChunk chunk(uint64_t sequence, int32_t start, int32_t rows, int32_t home) {
  protocol::SequenceChunk chunk;
  chunk.sequence_id = sequence;
  chunk.start_position = start;
  chunk.tokens.assign(static_cast<size_t>(rows), 1);
  chunk.home_rank = home;
  return chunk;
}

// Sequence 7 with one row, sequence 4 with two.
protocol::StepPlan plan(int64_t step) {
  protocol::StepPlan plan;
  plan.step = step;
  plan.chunks = {chunk(7, 5, 1, 1), chunk(4, 0, 2, 0)};
  return plan;
}

// Each rank tells of what it saw, layers in any order.
protocol::RowRouting routing() {
  return {{1, 3, 5, 0, 2, 4}, {0, 1, 1, 0, 2, 0, 1, 2, 0, 2, 2, 1}};
}

TEST(RoutingRecorderTest, KeepsRowsOfASequenceTogetherWithWhereTheyWere) {
  RoutingRecorder recorder = make(100);
  recorder.step_ran(plan(1), routing(), table(0));
  protocol::StepPlan shared = plan(2);
  shared.shared_kv = true;
  shared.chunks[0].coherent = true;
  recorder.step_ran(shared, routing(), table(3));
  const placement::RoutingRecording recording = recorder.recording();
  EXPECT_TRUE(recording.complete);
  EXPECT_THAT(recording.rows.sequence, ElementsAre(4, 4, 4, 4, 7, 7));
  EXPECT_THAT(recording.position, ElementsAre(0, 1, 0, 1, 5, 5));
  EXPECT_THAT(recording.step, ElementsAre(1, 1, 2, 2, 1, 2));
  EXPECT_THAT(recording.home, ElementsAre(0, 0, 0, 0, 1, 1));
  EXPECT_THAT(recording.table, ElementsAre(0, 0, 1, 1, 0, 1));
  EXPECT_EQ(recording.tables.at(1).epoch(), 3);
  EXPECT_THAT(recording.plan,
              ElementsAre(RowPlan::kFixed, RowPlan::kFixed, RowPlan::kPublished,
                          RowPlan::kPublished, RowPlan::kFixed, RowPlan::kCoherent));
  EXPECT_THAT(recording.rows.at(0, 0), ElementsAre(0, 2));  // place 2
  EXPECT_THAT(recording.rows.at(1, 1), ElementsAre(2, 0));  // place 5
  EXPECT_THAT(recording.rows.at(4, 0), ElementsAre(1, 2));  // place 0
  EXPECT_THAT(recording.rows.at(5, 1), ElementsAre(0, 1));  // place 1
}

TEST(RoutingRecorderTest, EndsWithWholeStepsWhenItIsFull) {
  RoutingRecorder recorder = make(7);
  EXPECT_TRUE(recorder.wants_steps());
  for (int step = 1; step < 4; ++step) recorder.step_ran(plan(step), routing(), table(0));
  EXPECT_FALSE(recorder.wants_steps());
  EXPECT_EQ(recorder.recording().rows.rows(), 6);
  EXPECT_FALSE(recorder.recording().complete);
}

TEST(RoutingRecorderTest, EndsWhenRanksDoNotReportEveryRow) {
  const auto ends_with = [](const protocol::RowRouting& routing) {
    RoutingRecorder recorder = make(100);
    recorder.step_ran(plan(1), routing, table(0));
    EXPECT_EQ(recorder.recording().rows.rows(), 0);
    EXPECT_TRUE(recorder.recording().rows.chosen.empty());
    return !recorder.wants_steps();
  };
  EXPECT_TRUE(ends_with({}));
  protocol::RowRouting twice = routing();
  twice.places[1] = twice.places[0];
  EXPECT_TRUE(ends_with(twice));
  protocol::RowRouting outside = routing();
  outside.places[0] = 6;
  EXPECT_TRUE(ends_with(outside));
  protocol::RowRouting unknown = routing();
  unknown.experts[0] = 3;
  EXPECT_TRUE(ends_with(unknown));
  protocol::StepPlan control;  // has no rows, so nothing is missing
  RoutingRecorder recorder = make(100);
  recorder.step_ran(control, {}, table(0));
  EXPECT_TRUE(recorder.wants_steps());
}

}  // namespace
}  // namespace conclave::coordinator
