#include "expert_placement/table/placement_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace conclave::placement {
namespace {

TEST(PlacementTable, ContiguousSpreadsExpertsEvenly) {
  const PlacementTable table = PlacementTable::contiguous({1, 3}, 8, 3);
  for (int32_t layer = 0; layer < 2; ++layer) {
    std::vector<size_t> counts;
    for (int32_t rank = 0; rank < 3; ++rank) counts.push_back(table.experts_of(layer, rank).size());
    EXPECT_EQ(counts[0] + counts[1] + counts[2], 8u);
    EXPECT_LE(*std::max_element(counts.begin(), counts.end()) - *std::min_element(counts.begin(), counts.end()), 1u);
  }
}

TEST(PlacementTable, RandomIsSeededAndKeepsSlotCounts) {
  const PlacementTable a = PlacementTable::random({0, 1}, 16, 4, 5);
  EXPECT_EQ(a.to_json(), PlacementTable::random({0, 1}, 16, 4, 5).to_json());
  EXPECT_NE(a.to_json(), PlacementTable::random({0, 1}, 16, 4, 6).to_json());
  for (int32_t rank = 0; rank < 4; ++rank) EXPECT_EQ(a.experts_of(1, rank).size(), 4u);
}

TEST(PlacementTable, JsonRoundTripsWithReplicas) {
  const std::string json =
      R"({"version":1,"model_fingerprint":"f","epoch":3,"moe_layers":[2],"experts":2,"ranks":3,"assignment":[[[2,0],[1]]]})";
  const auto table = PlacementTable::from_json(json, "t.json");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->epoch(), 3);
  EXPECT_EQ(table->holders(0, 0).size(), 2u);
  EXPECT_EQ(table->serving_rank(0, 0, 2), 2);
  EXPECT_EQ(table->serving_rank(0, 1, 0), 1);
  EXPECT_EQ(PlacementTable::from_json(table->to_json(), "again")->to_json(), table->to_json());
}

TEST(PlacementTable, TheNearestCopyServes) {
  const std::vector<int32_t> holders = {1, 2, 5};
  const std::vector<int32_t> node_of = {0, 0, 1, 1, 1, 2, 2};
  for (const auto& [from, serves] : std::vector<std::pair<int32_t, int32_t>>{
           {0, 1}, {1, 1}, {2, 2}, {3, 2}, {4, 2}, {5, 5}, {6, 5}}) {
    EXPECT_EQ(serving_rank(holders, from, node_of), serves) << from;
  }
  // Nobody near: askers are spread over all copies.
  EXPECT_EQ(serving_rank(std::vector<int32_t>{0, 1}, 5, node_of), 1);
  EXPECT_EQ(serving_rank(std::vector<int32_t>{0, 1}, 6, node_of), 0);
  // Several near: over those.
  EXPECT_EQ(serving_rank(std::vector<int32_t>{0, 2, 3}, 4, node_of), 2);
}

TEST(PlacementTable, NodesTravelInTheJsonOnlyWhenThereAreSeveral) {
  PlacementTable table = PlacementTable::contiguous({0}, 6, 3);
  EXPECT_EQ(table.to_json().find("ranks_per_node"), std::string::npos);
  table.set_ranks_per_node(std::vector<int32_t>{3});
  EXPECT_EQ(table.to_json().find("ranks_per_node"), std::string::npos);
  table.set_ranks_per_node(std::vector<int32_t>{1, 2});
  const auto again = PlacementTable::from_json(table.to_json(), "t.json");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ranks_per_node(), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(again->with_layer(0, std::vector<std::vector<int32_t>>(6, {0})).node_of().size(), 3u);
  std::string wrong = table.to_json();
  wrong.replace(wrong.find("[1,2]"), 5, "[1,3]");
  EXPECT_FALSE(PlacementTable::from_json(wrong, "t.json").ok());
}

TEST(PlacementTable, BadTablesAreNamedInOneSentence) {
  const std::string good =
      R"({"version":1,"moe_layers":[2],"experts":2,"ranks":3,"assignment":[[[2],[1]]]})";
  ASSERT_TRUE(PlacementTable::from_json(good, "t.json").ok());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"[[[2],[1]]]", "[[[2],[3]]]"}, {"[[[2],[1]]]", "[[[2],[]]]"}, {"[[[2],[1]]]", "[[[2]]]"},
           {"[[[2],[1]]]", "[[[2],[1,1]]]"}, {"[[[2],[1]]]", "[]"}, {"\"ranks\":3", "\"ranks\":0"},
           {"\"version\":1", "\"version\":2"}, {"\"experts\":2", "\"experts\":\"two\""}, {"[2],\"experts", "[2,2],\"experts"},
           {"{\"version\"", "[\"version\""}}) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    const auto table = PlacementTable::from_json(text, "t.json");
    ASSERT_FALSE(table.ok()) << text;
    EXPECT_EQ(table.status().message().substr(0, 6), "t.json") << table.status();
  }
}

TEST(PlacementTable, RefusesAnotherModelOrGroup) {
  PlacementTable table = PlacementTable::contiguous({0}, 4, 2);
  const std::vector<int32_t> layers = {0};
  EXPECT_TRUE(table.check_fits(layers, 4, 2, "x").ok());
  EXPECT_FALSE(table.check_fits(layers, 8, 2, "x").ok());
  EXPECT_FALSE(table.check_fits(layers, 4, 3, "x").ok());
  table.set_model_fingerprint("y");
  EXPECT_FALSE(table.check_fits(layers, 4, 2, "x").ok());
}

}  // namespace
}  // namespace conclave::placement
