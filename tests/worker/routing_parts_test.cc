// Counting of routing, the messages of the coherent plan, and hits by rank, each beside a plain
// reference.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <random>

#include "worker/coherent_message.h"
#include "worker/rank_hits.h"
#include "worker/routing_counter.h"

namespace conclave::worker {
namespace {

using testing::ElementsAre;

TEST(RoutingCounterTest, CountsEqualThoseOfAPlainReference) {
  constexpr int32_t kLayers = 3, kExperts = 7, kTopK = 3;
  RoutingCounter counter(kLayers, kExperts, kTopK);
  std::mt19937 random(1);
  std::map<uint32_t, uint32_t> loads, transitions, pairs;
  for (int row = 0; row < 200; ++row) {
    int32_t before = -1;
    for (int32_t layer = 0; layer < kLayers; ++layer) {
      std::vector<int32_t> all(kExperts);
      std::iota(all.begin(), all.end(), 0);
      std::shuffle(all.begin(), all.end(), random);
      std::vector<int32_t> ids(all.begin(), all.begin() + kTopK);
      std::sort(ids.begin(), ids.end());
      std::vector<float> weights;
      for (int32_t i = 0; i < kTopK; ++i) weights.push_back(static_cast<float>(random() % 5));
      int32_t leading = ids[0];
      float most = weights[0];
      for (size_t i = 1; i < ids.size(); ++i) {
        if (weights[i] > most) leading = ids[i];
        most = std::max(most, weights[i]);
      }
      EXPECT_EQ(RoutingCounter::leader(ids, weights), leading);
      counter.count(layer, ids, before, leading);
      for (const int32_t a : ids) {
        ++loads[static_cast<uint32_t>(layer * kExperts + a)];
        for (const int32_t b : ids) {
          if (a < b) ++pairs[static_cast<uint32_t>((layer * kExperts + a) * kExperts + b)];
        }
      }
      if (layer > 0) {
        ++transitions[static_cast<uint32_t>(((layer - 1) * kExperts + before) * kExperts +
                                            leading)];
      }
      before = leading;
    }
  }
  const protocol::RoutingCounts counts = counter.take();
  EXPECT_EQ(counts.rows, 200);
  const auto as_map = [](const auto& entries) {
    std::map<uint32_t, uint32_t> map;
    for (const auto& entry : entries) map[entry.index] = entry.count;
    return map;
  };
  EXPECT_EQ(as_map(counts.loads), loads);
  EXPECT_EQ(as_map(counts.transitions), transitions);
  EXPECT_EQ(as_map(counts.pairs), pairs);
  EXPECT_EQ(counter.take().rows, 0);
  EXPECT_TRUE(counter.take().loads.empty());
}

TEST(RoutingCounterTest, SamplesAreSortedByWeightAndLimited) {
  RoutingCounter counter(1, 9, 3, /*max_samples=*/2);
  const std::vector<int32_t> ids = {2, 5, 8};
  const std::vector<float> weights = {0.2f, 0.5f, 0.2f};
  for (uint64_t sequence = 0; sequence < 3; ++sequence) {
    counter.sample(counter.begin_sample(sequence), 0, ids, weights);
  }
  const protocol::RoutingCounts counts = counter.take();
  EXPECT_THAT(counts.samples, ElementsAre(5, 2, 8, 5, 2, 8));
  EXPECT_THAT(counts.sample_sequences, ElementsAre(0, 1));
}

TEST(RankHitsTest, ARowCountsOnceForEachRankThatHoldsOneOfItsExperts) {
  RankHits hits(placement::PlacementTable::contiguous({0}, 4, 2));
  std::vector<int32_t> counts(2, 0);
  const std::vector<int32_t> ids = {0, 1, 1, 2};  // both on rank 0; one on each
  hits.count(0, ids, 2, counts);
  EXPECT_THAT(counts, ElementsAre(2, 1));
  hits.set_holders(0, {{1}, {0, 1}, {1}, {1}});
  counts.assign(2, 0);
  hits.count(0, ids, 2, counts);
  EXPECT_THAT(counts, ElementsAre(2, 2));
}

constexpr CoherentShape kShape{/*top_k=*/2, /*row_bytes=*/6, /*state_bytes=*/8};

std::vector<std::byte> two_rows() {
  const CoherentCounts counts{2, 3, 1};
  std::vector<std::byte> message(coherent_message_bytes(kShape, counts));
  CoherentWriter writer(message.data(), kShape, counts);
  const std::byte row[6] = {std::byte{1}, std::byte{2}, std::byte{3}};
  EXPECT_EQ(writer.add_row(row, {0, false}), 0);
  writer.add_expert(4);
  EXPECT_EQ(writer.add_row(row, {3, true}), 1);
  writer.add_expert(1);
  writer.add_expert(7);
  const int32_t ids[] = {1, 7};
  const float weights[] = {0.25f, 0.75f};
  std::memset(writer.add_move({1, 5, 7, ids, weights}), 9, kShape.state_bytes);
  return message;
}

TEST(CoherentMessageTest, ReadsWhatWasWritten) {
  const std::vector<std::byte> message = two_rows();
  CoherentReader reader;
  ASSERT_TRUE(reader.open(message, kShape, 2).ok());
  EXPECT_EQ(reader.counts().pairs, 3u);
  EXPECT_EQ(reader.experts_of_row(1), 2u);
  EXPECT_EQ(reader.expert(2), 7);
  EXPECT_EQ(reader.target(0).rank, 0);
  EXPECT_FALSE(reader.target(0).coherent);
  EXPECT_EQ(reader.target(1).rank, 3);
  EXPECT_TRUE(reader.target(1).coherent);
  EXPECT_EQ(reader.row_data()[6 + 2], std::byte{3});
  const RowMove move = reader.move(0);
  EXPECT_EQ(move.row, 1);
  EXPECT_EQ(move.item, 5);
  EXPECT_EQ(move.leader, 7);
  EXPECT_THAT(move.ids, ElementsAre(1, 7));
  EXPECT_THAT(move.weights, ElementsAre(0.25f, 0.75f));
  EXPECT_EQ(reader.state(0)[7], std::byte{9});
}

TEST(CoherentMessageTest, OtherBytesAreRefused) {
  const std::vector<std::byte> message = two_rows();
  CoherentReader reader;
  for (size_t cut = 1; cut < message.size(); ++cut) {
    EXPECT_FALSE(reader.open(std::span(message).first(cut), kShape, 2).ok()) << cut;
  }
  EXPECT_FALSE(reader.open(message, kShape, 1).ok());  // more rows than the step has
  std::mt19937 random(3);
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::byte> broken = message;
    broken[random() % 40] ^= static_cast<std::byte>(1u << (random() % 8));
    if (reader.open(broken, kShape, 2).ok()) {  // then nothing in it points outside
      EXPECT_LT(reader.move(0).row, 2);
      EXPECT_EQ(reader.experts_of_row(0) + reader.experts_of_row(1), reader.counts().pairs);
    }
  }
  EXPECT_TRUE(reader.open({}, kShape, 2).ok());
  EXPECT_EQ(reader.counts().rows, 0u);
}

}  // namespace
}  // namespace conclave::worker
