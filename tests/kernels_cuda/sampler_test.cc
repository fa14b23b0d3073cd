// The device's sampler against the host's, row by row.

#include <cmath>

#include "kernels/sampling_row.h"
#include "tests/kernels_cuda/seam_fixture.h"

namespace conclave::device {
namespace {

using Host = kernels::SamplingRow;

class SamplerTest : public SeamTest {
 protected:
  Host random_row() {
    const auto pick = [&](std::initializer_list<float> values) {
      return values.begin()[random_() % values.size()];
    };
    Host row;
    row.temperature = pick({0.0f, 0.2f, 1.0f, 1.0f, 5.0f});
    row.top_p = pick({1.0f, 1.0f, 0.9f, 0.3f, 0.0f});
    row.min_p = pick({0.0f, 0.0f, 0.05f, 1.0f});
    row.top_k = static_cast<int32_t>(pick({0, 0, 1, 3, 40, 1000000}));
    row.seed = random_();
    row.choice = static_cast<uint32_t>(random_() % 3);
    row.position = static_cast<uint32_t>(random_() % 1000);
    row.top_logprobs = static_cast<int32_t>(pick({-1, 0, 5, 20}));
    row.target = static_cast<int32_t>(pick({-1, -1, -1, 2}));
    row.repetition_penalty = pick({1.0f, 1.3f});
    row.presence_penalty = pick({0.0f, 0.5f});
    row.frequency_penalty = pick({0.0f, 0.25f});
    return row;
  }
};

TEST_F(SamplerTest, TokensAndLogprobsAreTheHosts) {
  open(ComputeType::kBF16);
  for (const int32_t vocab : {1, 3, 33, 1000, 1025, 49999}) {
    constexpr int32_t kRows = 48;
    std::vector<float> logits(static_cast<size_t>(kRows * vocab));
    std::normal_distribution<float> normal(0, 3);
    // Rounded to quarters in half of the rows, so that there are ties.
    for (size_t i = 0; i < logits.size(); ++i) {
      const float x = normal(random_);
      logits[i] = i / static_cast<size_t>(vocab) % 2 == 0 ? x : std::round(x * 4) / 4;
    }
    std::vector<Host> host;
    std::vector<std::vector<kernels::TokenCount>> host_counts(kRows);
    std::vector<std::vector<kernels::TokenBias>> host_bias(kRows);
    std::vector<SamplingRow> rows;
    std::vector<TokenCount> counts;
    std::vector<TokenBias> bias;
    for (size_t r = 0; r < kRows; ++r) {
      host.push_back(random_row());
      Host& h = host.back();
      const auto token = [&] {
        return static_cast<int32_t>(random_() % static_cast<uint32_t>(vocab));
      };
      const auto count_begin = static_cast<int32_t>(counts.size());
      const auto bias_begin = static_cast<int32_t>(bias.size());
      if (r % 3 == 0) {
        host_counts[r] = {{token(), 2, true}, {vocab + 5, 1, false}};
        host_bias[r] = {{token(), 1.5f}, {-1, 9.0f}};
        for (const auto& c : host_counts[r])
          counts.push_back({c.token, c.output_count, c.in_prompt ? 1 : 0});
        for (const auto& b : host_bias[r]) bias.push_back({b.token, b.bias});
      }
      h.counts = host_counts[r];
      h.bias = host_bias[r];
      rows.push_back({h.temperature, h.top_p, h.min_p, h.repetition_penalty, h.presence_penalty,
                      h.frequency_penalty, h.top_k, h.choice, h.position, h.top_logprobs, h.target,
                      count_begin, static_cast<int32_t>(counts.size()), bias_begin,
                      static_cast<int32_t>(bias.size()), 0, h.seed});
    }
    counts.push_back({});
    bias.push_back({});
    const Memory device_rows = put(rows);
    const Memory device_counts = put(counts), device_bias = put(bias);
    // Few rows at once have several blocks each.
    const auto sample = [&](int32_t at_once) {
      const Memory device_logits = put(logits);
      const Memory results = poisoned<SamplingResult>(kRows);
      for (int32_t first = 0; first < kRows; first += at_once) {
        ok(ops().sample(context(), stream(), {std::min(at_once, kRows - first), nullptr}, vocab,
                        as<float>(device_logits) + int64_t{first} * vocab,
                        as<SamplingRow>(device_rows) + first, as<TokenCount>(device_counts),
                        as<TokenBias>(device_bias), as<SamplingResult>(results) + first));
      }
      return get<SamplingResult>(results, kRows);
    };
    const auto got = sample(kRows);
    for (const int32_t at_once : {1, 5, 16}) {
      const auto again = sample(at_once);
      for (size_t r = 0; r < kRows; ++r) {
        ASSERT_EQ(again[r].token, got[r].token) << at_once << " at once, row " << r;
        ASSERT_EQ(again[r].logprob, got[r].logprob) << at_once << " at once, row " << r;
        ASSERT_EQ(again[r].rank, got[r].rank) << at_once << " at once, row " << r;
      }
    }
    kernels::SamplingScratch scratch;
    for (size_t r = 0; r < kRows; ++r) {
      kernels::SamplingResult want;
      kernels::sample_row(&logits[r * static_cast<size_t>(vocab)], vocab, host[r], scratch, want);
      const std::string where =
          "row " + std::to_string(r) + " of " + std::to_string(vocab) + ": temperature " +
          std::to_string(host[r].temperature) + " top_k " + std::to_string(host[r].top_k) +
          " top_p " + std::to_string(host[r].top_p) + " min_p " + std::to_string(host[r].min_p);
      ASSERT_EQ(got[r].token, want.token) << where;
      ASSERT_NEAR(got[r].logprob, want.logprob, 1e-4) << where;
      ASSERT_EQ(got[r].rank, want.rank) << where;
      ASSERT_EQ(got[r].top_count, want.top_count) << where;
      for (int32_t i = 0; i < want.top_count; ++i) {
        ASSERT_EQ(got[r].top[i].token, want.top[i].token) << where;
        ASSERT_NEAR(got[r].top[i].logprob, want.top[i].logprob, 1e-4) << where;
      }
    }
  }
}

TEST_F(SamplerTest, NaNAndInfinityStayInRange) {
  open(ComputeType::kBF16);
  const float inf = std::numeric_limits<float>::infinity(), nan = std::nanf("");
  const std::vector<float> logits = {nan, nan, nan, nan, nan,  1,    nan,  -inf,
                                     0,   inf, nan, inf, -inf, -inf, -inf, -inf};
  const int32_t expected[] = {0, 1, 1, 0};
  for (const float temperature : {0.0f, 1.0f}) {
    for (const float top_p : {1.0f, 0.9f}) {
      std::vector<SamplingRow> rows(4);
      for (SamplingRow& row : rows) {
        row.temperature = temperature;
        row.top_p = top_p;
        row.repetition_penalty = 1;
        row.top_logprobs = 3;
        row.target = -1;
      }
      const Memory device_logits = put(logits), device_rows = put(rows);
      const Memory results = poisoned<SamplingResult>(4);
      ok(ops().sample(context(), stream(), {4, nullptr}, 4, as<float>(device_logits),
                      as<SamplingRow>(device_rows), nullptr, nullptr, as<SamplingResult>(results)));
      const auto got = get<SamplingResult>(results, 4);
      for (size_t r = 0; r < 4; ++r) EXPECT_EQ(got[r].token, expected[r]) << r;
    }
  }
}

}  // namespace
}  // namespace conclave::device
