#include "expert_placement/profile/routing_profile.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "expert_placement/profile/synthetic_rows.h"
#include "model/safetensors.h"
#include "tests/expert_placement/routing_fixture.h"

namespace conclave::placement {
namespace {

class RoutingProfileTest : public testing::Test {
 protected:
  std::string path(const std::string& name) {
    const auto folder = std::filesystem::path(testing::TempDir()) / "conclave_routing_profile_test";
    std::filesystem::create_directories(folder);
    return folder / name;
  }
};

TEST_F(RoutingProfileTest, CountsEveryRow) {
  const RoutingRows rows = random_rows(3, 7, 3, 200, 1);
  const RoutingProfile profile = profile_of(rows);
  for (int32_t layer = 0; layer < 3; ++layer) {
    for (int32_t a = 0; a < 7; ++a) {
      int64_t load = 0;
      std::vector<int64_t> pairs(7, 0), next(7, 0);
      for (int64_t row = 0; row < rows.rows(); ++row) {
        const auto chosen = rows.at(row, layer);
        const bool used = std::count(chosen.begin(), chosen.end(), a) > 0;
        load += used;
        for (uint16_t b : chosen) pairs[b] += used && b != a;
        if (layer < 2 && chosen[0] == a) ++next[rows.leader(row, layer + 1)];
      }
      EXPECT_EQ(profile.loads(layer)[static_cast<size_t>(a)], load);
      for (size_t b = 0; b < 7; ++b) {
        EXPECT_EQ(profile.pairs(layer)[static_cast<size_t>(a) * 7 + b], pairs[b]);
        if (layer < 2) {
          EXPECT_EQ(profile.transitions(layer)[static_cast<size_t>(a) * 7 + b], next[b]);
        }
      }
    }
  }
  EXPECT_EQ(profile.tokens(), 200);
  EXPECT_EQ(profile.samples().chosen, rows.chosen);
}

TEST_F(RoutingProfileTest, SumsAndAges) {
  const RoutingRows all = random_rows(2, 5, 2, 64, 2);
  const SplitRows split = hold_out(all, 2);
  RoutingProfile sum = profile_of(split.profile);
  ASSERT_TRUE(sum.add(profile_of(split.test)).ok());
  EXPECT_EQ(sum.id(), profile_of(all).id());
  RoutingProfile aged = sum;
  aged.age(0.5);
  EXPECT_EQ(aged.tokens(), 32);
  EXPECT_EQ(aged.loads(1)[3], sum.loads(1)[3] / 2);
  EXPECT_NE(aged.id(), sum.id());
  EXPECT_FALSE(sum.add(profile_of(random_rows(2, 6, 2, 4, 1))).ok());
  RoutingProfile other = profile_of(all);
  other.set_model_fingerprint("a");
  sum.set_model_fingerprint("b");
  EXPECT_FALSE(sum.add(other).ok());
}

TEST_F(RoutingProfileTest, FilesKeepEverything) {
  RoutingProfile profile = profile_of(random_rows(3, 9, 2, 150, 3));
  profile.age(0.3);
  profile.set_model_fingerprint("f00");
  profile.set_window({60, 0.9});
  for (const char* name : {"p.json", "p.safetensors"}) {
    ASSERT_TRUE(profile.save(path(name)).ok());
    const auto loaded = RoutingProfile::load(path(name));
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    EXPECT_EQ(loaded->id(), profile.id()) << name;
    EXPECT_EQ(loaded->window(), profile.window());
    EXPECT_EQ(loaded->samples().rows(), std::string(name) == "p.json" ? 0 : 150);
  }
}

TEST_F(RoutingProfileTest, DamagedFilesAreNamedInOneSentence) {
  const std::string good = profile_of(random_rows(2, 4, 2, 20, 4)).to_json();
  ASSERT_TRUE(RoutingProfile::from_json(good, "p.json").ok());
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"\"version\":1", "\"version\":9"},
           {"\"experts\":4", "\"experts\":5"},
           {"\"top_k\":2", "\"top_k\":0"},
           {"\"tokens\":20", "\"tokens\":-20"},
           {"\"tokens\":20", "\"tokens\":21"},
           {"\"moe_layers\":[0,1]", "\"moe_layers\":[1,1]"},
           {"\"pairs\":[", "\"pairs\":[[],"},
           {"\"transitions\":[[[", "\"transitions\":[[[9,"},
           {"{\"version\"", "{\"version"}}) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), from.size(), to);
    const auto loaded = RoutingProfile::from_json(text, "p.json");
    ASSERT_FALSE(loaded.ok()) << to;
    EXPECT_EQ(loaded.status().message().substr(0, 6), "p.json");
  }
  EXPECT_FALSE(RoutingProfile::create({{}, 4, 2}).ok());
  EXPECT_FALSE(RoutingProfile::create({{0}, 4, 5}).ok());
}

TEST_F(RoutingProfileTest, TracesAreCheckedWhenRead) {
  const auto golden =
      read_trace(CONCLAVE_SOURCE_DIR "/tests/golden/traces/demo_4_sequences.safetensors");
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(golden->rows(), 640);
  EXPECT_EQ(golden->experts, 32);
  const auto write = [&](std::vector<uint8_t> ids, int64_t k, const std::string& experts) {
    const std::vector<int32_t> sequence(ids.size() / static_cast<size_t>(k), 0);
    const auto n = static_cast<int64_t>(sequence.size());
    const std::vector<model::TensorToWrite> tensors = {
        {"experts", "U8", {n, 1, k}, std::as_bytes(std::span(ids))},
        {"sequence", "I32", {n}, std::as_bytes(std::span(sequence))}};
    EXPECT_TRUE(
        model::write_safetensors(path("t.safetensors"), tensors, {{"experts", experts}}).ok());
    return read_trace(path("t.safetensors"));
  };
  EXPECT_TRUE(write({0, 1, 1, 2}, 2, "3").ok());
  EXPECT_FALSE(write({0, 1, 1, 3}, 2, "3").ok()) << "an expert that is not there";
  EXPECT_FALSE(write({0, 1, 1, 1}, 2, "3").ok()) << "an expert twice";
  EXPECT_FALSE(write({0, 1}, 2, "none").ok());
  ASSERT_TRUE(write_file_atomically(path("x.safetensors"), "not a trace").ok());
  EXPECT_FALSE(read_trace(path("x.safetensors")).ok());
}

TEST_F(RoutingProfileTest, HoldOutKeepsSequencesApart) {
  const RoutingRows rows = random_rows(2, 8, 2, 160, 5);  // 10 sequences
  const SplitRows split = hold_out(rows, 3);
  const std::set<int32_t> test(split.test.sequence.begin(), split.test.sequence.end());
  const std::set<int32_t> profile(split.profile.sequence.begin(), split.profile.sequence.end());
  EXPECT_EQ(test.size(), 3u);
  EXPECT_EQ(profile.size(), 7u);
  for (int32_t sequence : test) EXPECT_EQ(profile.count(sequence), 0u);
  EXPECT_EQ(split.test.rows() + split.profile.rows(), rows.rows());
  EXPECT_EQ(thin_rows(rows, 80).rows(), 80);
}

TEST_F(RoutingProfileTest, SyntheticRowsFollowTheProfile) {
  const RoutingProfile profile = profile_of(random_rows(3, 6, 2, 3000, 6));
  const RoutingProfile drawn = profile_of(synthesize_rows(profile, 30000, 7));
  for (size_t e = 0; e < 6; ++e) {
    // Companions are drawn pair by pair, so loads are near, not equal.
    EXPECT_NEAR(drawn.loads(0)[e] / drawn.tokens(), profile.loads(0)[e] / profile.tokens(), 0.1);
    for (size_t f = 0; f < 6; ++f) {
      EXPECT_NEAR(drawn.transitions(1)[e * 6 + f] / drawn.tokens(),
                  profile.transitions(1)[e * 6 + f] / profile.tokens(), 0.015);
    }
  }
  EXPECT_EQ(synthesize_rows(profile, 50, 7).chosen, synthesize_rows(profile, 50, 7).chosen);
}

}  // namespace
}  // namespace conclave::placement
