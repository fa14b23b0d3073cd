// The fake device: sampling.

#include <vector>

#include "kernels/sampling.h"
#include "tests/support/fake_device_context.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace fake {
namespace {

SamplingResult result_of(const kernels::SamplingResult& result) {
  SamplingResult out{};
  out.token = result.token;
  out.logprob = result.logprob;
  out.rank = result.rank;
  out.top_count = result.top_count;
  for (int32_t i = 0; i < result.top_count; ++i) {
    out.top[i] = {result.top[i].token, result.top[i].logprob};
  }
  return out;
}
void sample_one(Context* context, int64_t vocab, float* logits, const SamplingRow& row,
                const TokenCount* counts, const TokenBias* bias, SamplingResult* out) {
  std::vector<kernels::TokenCount> seen;
  std::vector<kernels::TokenBias> biases;
  for (int32_t i = row.count_begin; i < row.count_end; ++i) {
    seen.push_back({counts[i].token, counts[i].output_count, counts[i].in_prompt != 0});
  }
  for (int32_t i = row.bias_begin; i < row.bias_end; ++i) {
    biases.push_back({bias[i].token, bias[i].bias});
  }
  kernels::SamplingRow host;
  host.temperature = row.temperature;
  host.top_k = row.top_k;
  host.top_p = row.top_p;
  host.min_p = row.min_p;
  host.repetition_penalty = row.repetition_penalty;
  host.presence_penalty = row.presence_penalty;
  host.frequency_penalty = row.frequency_penalty;
  host.counts = seen;
  host.bias = biases;
  host.seed = row.seed;
  host.choice = row.choice;
  host.position = row.position;
  host.top_logprobs = row.top_logprobs;
  host.target = row.target;
  kernels::SamplingResult result;
  context->kernels->sample(f32(logits, 1, vocab), {&host, 1}, {&result, 1});
  *out = result_of(result);
}
Status sample(Context* context, Stream*, RowCount rows, int64_t vocab, float* logits,
              const SamplingRow* row, const TokenCount* counts, const TokenBias* bias,
              SamplingResult* results) {
  return context->enqueue([=] {
    for (int32_t i = 0; i < actual_of(rows); ++i) {
      sample_one(context, vocab, logits + i * vocab, row[i], counts, bias, results + i);
    }
  });
}

}  // namespace

void add_sampler(DeviceOps* table) {
  table->sample = sample;
}

}  // namespace fake
}  // namespace conclave::device
