#include "kernels/sampling.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <set>

#include "kernels/exponential.h"
#include "kernels/sampling_row.h"
#include "tests/kernels/kernel_fixture.h"

namespace conclave::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

SamplingResult sample_one(std::vector<float> logits, const SamplingRow& row) {
  SamplingScratch scratch;
  SamplingResult result;
  sample_row(logits.data(), static_cast<int64_t>(logits.size()), row, scratch, result);
  return result;
}

SamplingRow random_row(uint64_t seed, uint32_t position) {
  SamplingRow row;
  row.temperature = 1;
  row.seed = seed;
  row.position = position;
  return row;
}

std::vector<float> random_logits(int vocab, uint32_t seed, float scale = 2.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (float& l : logits) l = normal(random);
  return logits;
}

// Tokens drawn at 2000 positions.
std::set<int32_t> support(const std::vector<float>& logits, SamplingRow row) {
  std::set<int32_t> tokens;
  for (row.position = 0; row.position < 2000; ++row.position)
    tokens.insert(sample_one(logits, row).token);
  return tokens;
}

TEST(Philox, MatchesThePublishedTestVectors) {
  // Philox4x32-10, zero counter and key: first output word 0x6627e8d5.
  EXPECT_EQ(uniform_random(0, 0, 0, 0), static_cast<float>(0x6627e8d5u >> 8) * 0x1p-24f);
}

TEST(Philox, DependsOnEveryPartOfItsKey) {
  std::set<float> values;
  for (const auto& [seed, choice, position, draw] : std::vector<std::array<uint32_t, 4>>{
           {1, 0, 0, 0}, {2, 0, 0, 0}, {1, 1, 0, 0}, {1, 0, 1, 0}, {1, 0, 0, 1}}) {
    values.insert(uniform_random(seed, choice, position, draw));
  }
  values.insert(uniform_random(uint64_t{1} << 40, 0, 0, 0));
  EXPECT_EQ(values.size(), 6u);
  for (uint32_t i = 0; i < 10000; ++i) {
    const float u = uniform_random(7, 0, i, 0);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
  }
}

TEST(Exponential, IsAccurateAndHandlesTheEnds) {
  for (float x = -86.9f; x < 87.9f; x += 0.0137f) {
    ASSERT_NEAR(exp_float(x) / std::exp(static_cast<double>(x)), 1.0, 2.5e-7) << x;
  }
  EXPECT_EQ(exp_float(0.0f), 1.0f);
  EXPECT_EQ(exp_float(-kInf), 0.0f);
  EXPECT_EQ(exp_float(-100.0f), 0.0f);
  EXPECT_TRUE(std::isfinite(exp_float(kInf)));
  EXPECT_TRUE(std::isnan(exp_float(kNaN)));
}

TEST(Sampling, TemperatureZeroTakesTheLargestWithTiesToTheLowestId) {
  EXPECT_EQ(sample_one({0, 5, 3, 5, 5}, {}).token, 1);
  EXPECT_EQ(sample_one({-1, -2}, {}).token, 0);
}

TEST(Sampling, TopKOneAndTinyTemperatureAreGreedy) {
  const std::vector<float> logits = random_logits(500, 3);
  const int32_t best = sample_one(logits, {}).token;
  for (uint32_t p = 0; p < 50; ++p) {
    SamplingRow row = random_row(9, p);
    row.top_k = 1;
    EXPECT_EQ(sample_one(logits, row).token, best);
    row.top_k = 0;
    row.temperature = 1e-42f;
    EXPECT_EQ(sample_one(logits, row).token, best);
    row.temperature = 1e-30f;
    EXPECT_EQ(sample_one(logits, row).token, best);
  }
}

TEST(Sampling, FollowsTheDistributionByChiSquare) {
  const std::vector<float> logits = {0.5f, -1.0f, 2.0f, 1.0f, 0.0f, -0.5f, 1.5f, -2.0f};
  for (const float temperature : {0.7f, 1.0f, 2.0f}) {
    double total = 0;
    for (const float l : logits) total += std::exp(static_cast<double>(l / temperature));
    for (const bool filtered : {false, true}) {
      const int draws = 20000;
      std::vector<int> counts(logits.size());
      for (int i = 0; i < draws; ++i) {
        SamplingRow row = random_row(1234, static_cast<uint32_t>(i));
        row.temperature = temperature;
        if (filtered) row.min_p = 1e-30f;  // takes the sorted path without removing anything
        ++counts[static_cast<size_t>(sample_one(logits, row).token)];
      }
      double chi_square = 0;
      for (size_t i = 0; i < logits.size(); ++i) {
        const double expected =
            draws * std::exp(static_cast<double>(logits[i] / temperature)) / total;
        chi_square += (counts[i] - expected) * (counts[i] - expected) / expected;
      }
      EXPECT_LT(chi_square, 24.3) << "p = 0.001 at 7 degrees of freedom, temperature "
                                  << temperature;
    }
  }
}

TEST(Sampling, SeedsRepeatAndDiffer) {
  const std::vector<float> logits = random_logits(100, 4);
  std::vector<int32_t> first, again, other_seed, other_choice;
  for (uint32_t p = 0; p < 64; ++p) {
    SamplingRow row = random_row(42, p);
    first.push_back(sample_one(logits, row).token);
    again.push_back(sample_one(logits, row).token);
    row.choice = 1;
    other_choice.push_back(sample_one(logits, row).token);
    other_seed.push_back(sample_one(logits, random_row(43, p)).token);
  }
  EXPECT_EQ(first, again);
  EXPECT_NE(first, other_seed);
  EXPECT_NE(first, other_choice);
}

TEST(Sampling, TopKKeepsTheKBestWithTiesToTheLowestIds) {
  SamplingRow row = random_row(5, 0);
  row.top_k = 3;
  EXPECT_EQ(support({1, 2, 1, 1, 3, 1}, row), (std::set<int32_t>{0, 1, 4}));
  row.top_k = 100;
  EXPECT_EQ(support({1, 2, 1}, row).size(), 3u);
}

TEST(Sampling, TopPKeepsTheSmallestSetThatReachesTheMass) {
  std::vector<float> logits;
  for (const float p : {0.05f, 0.4f, 0.3f, 0.15f, 0.1f}) logits.push_back(std::log(p));
  SamplingRow row = random_row(6, 0);
  row.top_p = 0.69f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1, 2}));
  row.top_p = 0.71f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1, 2, 3}));
  row.top_p = 0.0f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1}));
  // After top-k the mass is that of the k kept: 0.4 of 0.85.
  row.top_k = 3;
  row.top_p = 0.45f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1}));
}

TEST(Sampling, TopPWithAFlatDistributionSeesEveryToken) {
  SamplingRow row = random_row(6, 0);
  row.top_p = 0.9999f;
  row.temperature = 50;
  EXPECT_EQ(support({-30, -20, -10, 0, 10, 20, 30}, row).size(), 7u);
}

TEST(Sampling, MinPIsRelativeToTheBestToken) {
  std::vector<float> logits;
  for (const float p : {0.05f, 0.4f, 0.3f, 0.15f, 0.1f}) logits.push_back(std::log(p));
  SamplingRow row = random_row(7, 0);
  row.min_p = 0.3f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1, 2, 3}));
  row.min_p = 1.0f;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{1}));
}

TEST(Sampling, BiasForcesAndBansTokens) {
  const std::vector<float> logits = random_logits(50, 8);
  const TokenBias force[] = {{17, 100.0f}, {-1, 5.0f}, {50, 5.0f}};
  SamplingRow row = random_row(8, 0);
  row.bias = force;
  EXPECT_EQ(support(logits, row), (std::set<int32_t>{17}));
  const TokenBias ban[] = {{1, -kInf}, {2, -kInf}};
  row = random_row(8, 0);
  row.bias = ban;
  EXPECT_EQ(support({0, 5, 5, 0}, row), (std::set<int32_t>{0, 3}));
  row.temperature = 0;
  EXPECT_EQ(sample_one({0, 5, 5, 1}, row).token, 3);
}

TEST(Sampling, PenaltiesFollowTheirFormulas) {
  std::vector<float> logits = {2.0f, -2.0f, 2.0f, 2.0f, 1.9f};
  const TokenCount counts[] = {{0, 0, true}, {1, 1, false}, {2, 3, false}, {99, 1, false}};
  SamplingRow row;
  row.counts = counts;
  row.repetition_penalty = 2.0f;
  row.presence_penalty = 0.5f;
  row.frequency_penalty = 0.25f;
  SamplingScratch scratch;
  SamplingResult result;
  sample_row(logits.data(), 5, row, scratch, result);
  EXPECT_EQ(result.token, 3);
  EXPECT_FLOAT_EQ(logits[0], 1.0f);          // in the prompt: repetition only
  EXPECT_FLOAT_EQ(logits[1], -4.75f);        // -2 * 2 - 0.5 - 0.25
  EXPECT_FLOAT_EQ(logits[2], 1.0f - 1.25f);  // 2 / 2 - 0.5 - 3 * 0.25
  EXPECT_FLOAT_EQ(logits[3], 2.0f);
}

TEST(Sampling, LogprobsAreOfTheModelsOwnDistribution) {
  const std::vector<float> logits = random_logits(1000, 9);
  double total = 0;
  for (const float l : logits) total += std::exp(static_cast<double>(l));
  const TokenBias bias[] = {{123, 50.0f}};
  SamplingRow row = random_row(10, 0);
  row.temperature = 0.5f;
  row.bias = bias;
  row.top_logprobs = 5;
  const SamplingResult result = sample_one(logits, row);
  ASSERT_EQ(result.token, 123);
  EXPECT_NEAR(result.logprob, static_cast<double>(logits[123]) - std::log(total), 1e-4);
  int rank = 1;
  for (const float l : logits) rank += l > logits[123] ? 1 : 0;
  EXPECT_EQ(result.rank, rank);
  ASSERT_EQ(result.top_count, 5);
  std::vector<float> sorted = logits;
  std::sort(sorted.rbegin(), sorted.rend());
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(logits[static_cast<size_t>(result.top[i].token)], sorted[static_cast<size_t>(i)]);
    EXPECT_NEAR(result.top[i].logprob,
                static_cast<double>(sorted[static_cast<size_t>(i)]) - std::log(total), 1e-4);
  }
}

TEST(Sampling, TopLogprobsAreCappedByVocabAndByTwenty) {
  SamplingRow row;
  row.top_logprobs = 20;
  EXPECT_EQ(sample_one({1, 1, 2}, row).top_count, 3);
  row.top_logprobs = 1000;
  const SamplingResult result = sample_one(random_logits(100, 1), row);
  EXPECT_EQ(result.top_count, kMaxTopLogprobs);
  row.top_logprobs = 0;
  EXPECT_EQ(sample_one({1, 1, 2}, row).top_count, 0);
  EXPECT_EQ(sample_one({1, 1, 2}, row).rank, 1);
}

TEST(Sampling, TargetIsReportedNotSampled) {
  SamplingRow row;
  row.target = 2;
  row.top_logprobs = 1;
  const SamplingResult result = sample_one({3, 1, 2, 0}, row);
  EXPECT_EQ(result.token, 2);
  EXPECT_EQ(result.rank, 2);
  EXPECT_EQ(result.top[0].token, 0);
  row.target = 1 << 30;
  EXPECT_EQ(sample_one({3, 1, 2, 0}, row).token, 3);
}

TEST(Sampling, SaysWhenARowHasNoUsableLogits) {
  const std::vector<TokenBias> ban = {{0, -kInf}, {1, -kInf}, {2, -kInf}};
  for (const int32_t top_logprobs : {-1, 0, 2}) {
    for (const int32_t target : {-1, 1}) {
      if (target >= 0 && top_logprobs < 0) continue;
      for (const float temperature : {0.0f, 1.0f}) {
        SamplingRow row = random_row(3, 4);
        row.temperature = temperature;
        row.top_logprobs = top_logprobs;
        row.target = target;
        EXPECT_EQ(sample_one({kNaN, kNaN, kNaN}, row).rank, kNoUsableLogits);
        EXPECT_EQ(sample_one({0, kInf, 1}, row).rank, kNoUsableLogits);
        EXPECT_NE(sample_one({kNaN, 1, 2}, row).rank, kNoUsableLogits) << "a token can be chosen";
        EXPECT_NE(sample_one({-kInf, -kInf, 2}, row).rank, kNoUsableLogits);
        row.bias = ban;
        EXPECT_NE(sample_one({0, 1, 2}, row).rank, kNoUsableLogits) << "it was asked for";
      }
    }
  }
}

TEST(Sampling, NaNAndInfiniteLogitsNeverLeaveTheRange) {
  for (const float temperature : {0.0f, 1.0f}) {
    for (const bool filtered : {false, true}) {
      SamplingRow row = random_row(11, 0);
      row.temperature = temperature;
      row.top_logprobs = 3;
      if (filtered) {
        row.top_p = 0.9f;
        row.top_k = 3;
      }
      EXPECT_EQ(sample_one({kNaN, kNaN, kNaN}, row).token, 0);
      EXPECT_EQ(sample_one({kNaN, -kInf, -kInf}, row).token, 1);
      EXPECT_EQ(sample_one({kNaN, 1, kNaN, -kInf}, row).token, 1);
      EXPECT_EQ(sample_one({0, kInf, kNaN, kInf}, row).token, 1);
      EXPECT_EQ(sample_one({0, kInf, kNaN, kInf}, row).logprob, 0.0f);
      EXPECT_EQ(sample_one({0}, row).token, 0);
    }
  }
}

TEST(Sampling, EverySetSamplesTheSameTokensWhateverTheThreads) {
  const int rows = 9;
  const int vocab = 3000;
  std::vector<SamplingRow> requests;
  for (int i = 0; i < rows; ++i) {
    requests.push_back(random_row(static_cast<uint64_t>(i), 5));
    requests.back().top_p = i % 2 == 0 ? 1.0f : 0.8f;
    requests.back().top_logprobs = i % 3 - 1;
  }
  std::vector<int32_t> expected;
  for (const SetCase& c : all_cases()) {
    for (const int threads : {1, 3}) {
      const auto set = make_set(c.name, c.compute, threads);
      TestMatrix logits(DType::kF32, rows, vocab);
      std::mt19937 random(55);
      logits.fill(random);
      std::vector<SamplingResult> results(static_cast<size_t>(rows));
      set->sample(logits.view(), requests, results);
      std::vector<int32_t> tokens;
      for (const SamplingResult& result : results) tokens.push_back(result.token);
      if (expected.empty()) expected = tokens;
      EXPECT_EQ(tokens, expected) << c.name << " " << threads;
    }
  }
}

}  // namespace
}  // namespace conclave::kernels
