#include "cli/conclavectl/heat_map.h"

#include <gtest/gtest.h>
#include <zlib.h>

namespace conclave::ctl {
namespace {

Json experts() {
  return Json::parse(R"({"per_expert": true, "layers": [
      {"layer": 0, "expert_rows": [3, 1, 0, 0], "rank_rows": [4, 0], "holders": [[0], [0], [1], [1]]},
      {"layer": 2, "expert_rows": [0, 0, 0, 0], "rank_rows": [0, 0], "holders": [[0, 1], [0], [1], [1]]}]})");
}

TEST(HeatMap, SharesAreMultiplesOfTheLayersMean) {
  const auto map = heat_map_of(experts());
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->share[0], (std::vector<double>{3, 1, 0, 0}));
  EXPECT_EQ(map->share[1], (std::vector<double>{0, 0, 0, 0}));
  EXPECT_EQ(map->holder[0], (std::vector<int32_t>{0, 0, 1, 1}));
  EXPECT_EQ(map->layers, (std::vector<std::string>{"0", "2"}));
}

TEST(HeatMap, RanksWhereExpertsAreNotCounted) {
  Json json = experts();
  json["per_expert"] = false;
  const auto map = heat_map_of(json);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ(map->share[0], (std::vector<double>{2, 0}));
  EXPECT_EQ(map->holder[0], (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(map->column_name, "rank");
}

TEST(HeatMap, NothingCountedIsSaid) {
  Json json = experts();
  json["layers"][0]["expert_rows"] = {0, 0, 0, 0};
  EXPECT_EQ(heat_map_of(json).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(HeatMap, SvgHasOneCellAndOneBarAnExpert) {
  const std::string svg = heat_map_svg(*heat_map_of(experts()));
  size_t rects = 0;
  for (size_t at = svg.find("<rect"); at != std::string::npos; at = svg.find("<rect", at + 1)) ++rects;
  EXPECT_EQ(rects, 1 + 2u * 8);
  EXPECT_NE(svg.find("expert 0: 3.00 times the mean, rank 0"), std::string::npos);
}

// The red, green and blue of the middle of a cell, from the decoded picture.
TEST(HeatMap, PngHasDarkCellsWhereTheLoadIs) {
  const std::string png = heat_map_png(*heat_map_of(experts()));
  ASSERT_EQ(png.substr(1, 3), "PNG");
  const auto number = [&png](size_t at) {
    uint32_t value = 0;
    for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(png[at + i]);
    return value;
  };
  const uint32_t width = number(16), height = number(20);
  const size_t data = png.find("IDAT");
  std::string lines(static_cast<size_t>(height) * (1 + 3 * width), '\0');
  uLongf size = lines.size();
  ASSERT_EQ(::uncompress(reinterpret_cast<Bytef*>(lines.data()), &size, reinterpret_cast<const Bytef*>(png.data() + data + 4), number(data - 4)), Z_OK);
  ASSERT_EQ(size, lines.size());
  const auto red_at = [&](uint32_t x, uint32_t y) { return static_cast<uint8_t>(lines[y * (1 + 3 * width) + 1 + 3 * x]); };
  EXPECT_EQ(red_at(0, 0), 255);
  EXPECT_EQ(red_at(70 + 10, 56 + 4), 128);   // three times the mean
  EXPECT_EQ(red_at(70 + 90, 56 + 4), 255);   // unused
}

}  // namespace
}  // namespace conclave::ctl
