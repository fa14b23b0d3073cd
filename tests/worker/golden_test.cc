// Logits, routing and greedy tokens against runs of an independent implementation (see tests/golden).

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <filesystem>

#include "tests/worker/golden_file.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

namespace fs = std::filesystem;

constexpr float kLogitTolerance = 5e-4f;
constexpr size_t kGreedyTokens = 32;

struct GoldenCase {
  std::string model;
  std::string kernel_set;
  int ranks = 1;
  bool legacy_config = false;
};

void PrintTo(const GoldenCase& value, std::ostream* out) {
  *out << value.model << " with " << value.kernel_set << " on " << value.ranks << " ranks"
       << (value.legacy_config ? ", legacy config" : "");
}

fs::path golden_folder(const std::string& model) {
  return fs::path(CONCLAVE_SOURCE_DIR) / "tests/golden/models" / model;
}

// The same folder with the older spelling of config.json.
fs::path legacy_folder(const std::string& model) {
  const fs::path folder = fs::path(testing::TempDir()) / ("legacy_" + model);
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& entry : fs::directory_iterator(golden_folder(model))) {
    const std::string name = entry.path().filename().string();
    if (name == "config.json") continue;
    fs::copy_file(entry.path(), folder / (name == "config_legacy.json" ? "config.json" : name));
  }
  return folder;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return INFINITY;
  float largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float difference = std::fabs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

class GoldenTest : public testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenTest, ReproducesLogitsRoutingAndGreedyTokens) {
  const GoldenCase& golden = GetParam();
  const fs::path folder =
      golden.legacy_config ? legacy_folder(golden.model) : golden_folder(golden.model);
  GroupOptions options;
  options.model = folder.string();
  options.kernel_set = golden.kernel_set;
  options.ranks = golden.ranks;
  auto group = ExecutorGroup::create(options);
  ASSERT_TRUE(group.ok()) << group.status();
  auto file = GoldenFile::open((golden_folder(golden.model) / "golden.safetensors").string());
  ASSERT_TRUE(file.ok()) << file.status();

  for (int prompt = 0; prompt < 3; ++prompt) {
    SCOPED_TRACE(testing::Message() << "prompt " << prompt);
    const std::string key = "p" + std::to_string(prompt);
    const std::vector<int32_t> ids = file->tokens(key + ".ids");
    ASSERT_FALSE(ids.empty());
    const int32_t home = prompt % golden.ranks;
    const std::vector<int32_t> blocks = consecutive_blocks(prompt * 8, ids.size() + kGreedyTokens);
    auto output = run_prompt(**group, ids, ids.size(), home, blocks);
    ASSERT_TRUE(output.ok()) << output.status();
    EXPECT_LE(largest_difference(output->logits, file->array<float>(key + ".logits")),
              kLogitTolerance);
    const std::vector<int32_t> moe_layers = (*group)->spec().moe_layers();
    for (size_t m = 0; m < moe_layers.size(); ++m) {
      EXPECT_EQ(output->routing[m],
                file->array<int32_t>(key + ".router." + std::to_string(moe_layers[m]) + ".ids"))
          << "layer " << moe_layers[m];
    }
    auto greedy = run_greedy(**group, ids.size(), output->next, kGreedyTokens, home, blocks);
    ASSERT_TRUE(greedy.ok()) << greedy.status();
    EXPECT_EQ(*greedy, file->tokens(key + ".greedy"));
  }
}

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  for (const std::string model : {"mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "mixtral_ladder",
                                  "mixtral_pregate", "mixtral_ladder_pregate", "switch_pregate"}) {
    for (const std::string& set : TestKernelSets().available()) {
      for (const int ranks : {1, 2, 4}) cases.push_back({model, set, ranks, false});
      cases.push_back({model, set, 1, true});
    }
  }
  return cases;
}

std::string case_name(const testing::TestParamInfo<GoldenCase>& info) {
  std::string name = info.param.model + "_" + info.param.kernel_set + "_ranks" +
                     std::to_string(info.param.ranks) + (info.param.legacy_config ? "_legacy" : "");
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(AllFamilies, GoldenTest, testing::ValuesIn(golden_cases()), case_name);

}  // namespace
}  // namespace conclave::worker
