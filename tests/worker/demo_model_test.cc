// The demo model against the golden run that was made with it (assets/demo-moe/golden.*).

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "tests/worker/golden_file.h"
#include "tests/worker/sequence_driver.h"
#include "tests/worker/test_kernel_sets.h"

namespace conclave::worker {
namespace {

constexpr size_t kComparedPositions = 4;  // golden logits are those of the last positions of a prompt

class DemoModelTest : public testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(DemoModelTest, ReproducesLogitsAndGreedyTokens) {
  const std::string folder = std::string(CONCLAVE_SOURCE_DIR) + "/assets/demo-moe";
  auto text = read_file(folder + "/golden.json");
  ASSERT_TRUE(text.ok()) << text.status();
  const nlohmann::json golden = nlohmann::json::parse(*text);
  auto file = GoldenFile::open(folder + "/golden.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  GroupOptions options;
  options.model = folder;
  options.kernel_set = std::get<0>(GetParam());
  options.ranks = std::get<1>(GetParam());
  auto group = ExecutorGroup::create(options);
  ASSERT_TRUE(group.ok()) << group.status();

  ASSERT_FALSE(golden.at("prompts").empty());
  for (size_t i = 0; i < golden.at("prompts").size(); ++i) {
    SCOPED_TRACE(testing::Message() << "prompt " << i);
    const auto ids = golden["prompts"][i].at("ids").get<std::vector<int32_t>>();
    const auto all = golden["prompts"][i].at("greedy").get<std::vector<int32_t>>();
    const auto home = static_cast<int32_t>(i) % options.ranks;
    const std::vector<int32_t> blocks = consecutive_blocks(static_cast<int32_t>(8 * i), all.size());
    auto output = run_prompt(**group, ids, ids.size(), home, blocks);
    ASSERT_TRUE(output.ok()) << output.status();
    const auto expected = file->array<float>("logits." + std::to_string(i));
    ASSERT_EQ(expected.size(), kComparedPositions * static_cast<size_t>((*group)->spec().vocab));
    ASSERT_GE(output->logits.size(), expected.size());
    const float* last = output->logits.data() + output->logits.size() - expected.size();
    float largest = 0;
    for (size_t j = 0; j < expected.size(); ++j) {
      largest = std::max(largest, std::fabs(last[j] - expected[j]));
    }
    EXPECT_LE(largest, 5e-4f);
    const std::vector<int32_t> continuation(all.begin() + static_cast<int64_t>(ids.size()), all.end());
    auto greedy = run_greedy(**group, ids.size(), output->next, continuation.size(), home, blocks);
    ASSERT_TRUE(greedy.ok()) << greedy.status();
    EXPECT_EQ(*greedy, continuation);
  }
}

INSTANTIATE_TEST_SUITE_P(AllSets, DemoModelTest,
                         testing::Combine(testing::ValuesIn(TestKernelSets().available()),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_ranks" +
                                              std::to_string(std::get<1>(info.param));
                           for (char& c : name) {
                             c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace conclave::worker
