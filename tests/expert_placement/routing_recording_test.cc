#include "expert_placement/profile/routing_recording.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "expert_placement/homes/homes.h"
#include "expert_placement/objective/recorded_traffic.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

constexpr int32_t kRanks = 3;
constexpr WireSizes kWire{100, 333, 7};

// Rows of both plans under two tables; MoE layers 0..3 of a model of six layers.
RoutingRecording make_recording(uint64_t seed) {
  RoutingRecording recording;
  recording.rows = random_rows(4, 12, 2, 240, seed);
  recording.layers = 6;
  recording.wire = kWire;
  recording.model_fingerprint = "f00d";
  recording.tables = {random_table(4, 12, kRanks, 4, seed),
                      random_table(4, 12, kRanks, 0, seed + 50)};
  recording.home = round_robin_homes(recording.rows, kRanks);
  for (int32_t row = 0; row < 240; ++row) {
    const int32_t position = row % 16;
    recording.position.push_back(position);
    recording.step.push_back(position);
    recording.plan.push_back(position < 4   ? RowPlan::kFixed
                             : position < 8 ? RowPlan::kPublished
                                            : RowPlan::kCoherent);
    recording.table.push_back(position < 10 ? 0 : 1);
  }
  return recording;
}

RoutingRecording only(const RoutingRecording& recording, bool coherent, int32_t table) {
  RoutingRecording part = recording;
  part.rows.sequence.clear();
  part.rows.chosen.clear();
  part.home.clear();
  for (size_t row = 0; row < recording.plan.size(); ++row) {
    if ((recording.plan[row] == RowPlan::kCoherent) != coherent || recording.table[row] != table)
      continue;
    part.rows.sequence.push_back(recording.rows.sequence[row]);
    part.home.push_back(recording.home[row]);
    for (int32_t layer = 0; layer < recording.rows.layers; ++layer) {
      for (uint16_t expert : recording.rows.at(static_cast<int64_t>(row), layer))
        part.rows.chosen.push_back(expert);
    }
  }
  return part;
}

TEST(RecordedTraffic, EqualsAnIndependentCountOfEachPlanAndTable) {
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const RoutingRecording recording = make_recording(seed);
    const auto counted = count_recorded(recording);
    ASSERT_TRUE(counted.ok()) << counted.status();
    for (const bool coherent : {false, true}) {
      TrafficSum out, back;
      for (int32_t table = 0; table < 2; ++table) {
        const RoutingRecording part = only(recording, coherent, table);
        const SlowCount slow = slow_count(part.rows, recording.tables[static_cast<size_t>(table)],
                                          coherent ? Plan::kCoherent : Plan::kFixed, part.home);
        out.messages += slow.dispatched;
        back.messages += slow.returned;
        back.bytes += slow.returned_rows * kWire.row;
      }
      const auto& sums = counted->sums[coherent ? 1 : 0];
      EXPECT_EQ(sums[RunTraffic::kDispatch].messages, out.messages);
      EXPECT_EQ(sums[RunTraffic::kReturn], back);
      const int64_t of_rows = out.messages * kWire.row;
      const int64_t of_states = sums[RunTraffic::kDispatch].bytes - of_rows;
      EXPECT_EQ(of_states > 0, coherent);
      EXPECT_EQ(of_states % kWire.state, 0);
    }
    // 12 of 16 rows of each sequence are published, by six layers, to two others.
    const TrafficSum& published = counted->sums[1][RunTraffic::kKeyValue];
    EXPECT_EQ(published.bytes, 15 * 12 * 6 * 2 * kWire.key_value);
    // Fifteen sequences a step on three homes: every rank publishes in each of twelve steps.
    EXPECT_EQ(published.messages, 12 * kRanks * 2);
    EXPECT_EQ(counted->sums[0][RunTraffic::kKeyValue], TrafficSum{});
  }
}

TEST(RecordedTraffic, AnotherTableCountsInsteadOfThoseInForce) {
  RoutingRecording recording = make_recording(9);
  const PlacementTable other = random_table(4, 12, kRanks, 2, 77);
  const auto counted = count_recorded(recording, &other);
  ASSERT_TRUE(counted.ok());
  recording.tables = {other, other};
  EXPECT_EQ(counted->sums, count_recorded(recording)->sums);
  const PlacementTable wider = random_table(4, 12, kRanks + 1, 0, 1);
  EXPECT_EQ(count_recorded(recording, &wider).status().code(), absl::StatusCode::kInvalidArgument);
}

class RecordingFile : public testing::Test {
 protected:
  std::string path_ = testing::TempDir() + "/recording.safetensors";
};

TEST_F(RecordingFile, IsReadAsItWasWrittenAndIsATrace) {
  RoutingRecording recording = make_recording(3);
  recording.complete = false;
  ASSERT_TRUE(save_recording(recording, path_).ok());
  const auto read = load_recording(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->rows.chosen, recording.rows.chosen);
  EXPECT_EQ(read->rows.sequence, recording.rows.sequence);
  EXPECT_EQ(read->step, recording.step);
  EXPECT_EQ(read->position, recording.position);
  EXPECT_EQ(read->home, recording.home);
  EXPECT_EQ(read->plan, recording.plan);
  EXPECT_EQ(read->table, recording.table);
  EXPECT_EQ(read->tables.at(1).to_json(), recording.tables.at(1).to_json());
  EXPECT_EQ(read->layers, recording.layers);
  EXPECT_EQ(read->wire, recording.wire);
  EXPECT_EQ(read->model_fingerprint, "f00d");
  EXPECT_FALSE(read->complete);
  const auto trace = read_trace(path_);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->chosen, recording.rows.chosen);
}

TEST_F(RecordingFile, WhatDoesNotFitTogetherIsRefusedWithASentence) {
  const auto refused = [&](RoutingRecording recording, const std::string& word) {
    ASSERT_TRUE(save_recording(recording, path_).ok());
    const absl::Status status = load_recording(path_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find(word), std::string::npos) << status;
  };
  RoutingRecording recording = make_recording(1);
  recording.home[5] = kRanks;
  refused(recording, "rank 3 of 3");
  recording = make_recording(1);
  recording.table[0] = 2;
  refused(recording, "table 2 of 2");
  recording = make_recording(1);
  recording.plan[0] = static_cast<RowPlan>(9);
  refused(recording, "plan");
  recording = make_recording(1);
  recording.tables[1] = random_table(4, 11, kRanks, 0, 1);
  refused(recording, "another model");
  const absl::Status plain = load_recording(std::string(CONCLAVE_SOURCE_DIR) +
                                            "/tests/golden/traces/demo_4_sequences.safetensors")
                                 .status();
  EXPECT_NE(plain.message().find("--record-routing"), std::string::npos) << plain;
}

}  // namespace
}  // namespace conclave::placement
