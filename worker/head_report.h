#ifndef CONCLAVE_WORKER_HEAD_REPORT_H_
#define CONCLAVE_WORKER_HEAD_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/sampling.h"
#include "protocol/step_plan.h"
#include "worker/step_batch.h"

namespace conclave::worker {

template <typename Sampled>
void copy_top(const Sampled& sampled, std::vector<protocol::TokenLogprob>* top) {
  for (int32_t i = 0; i < sampled.top_count; ++i) {
    top->push_back({sampled.top[i].token, sampled.top[i].logprob});
  }
}

// What became of a chunk's head rows, for the host's and the device's executor alike. sampled: one
// result for each head row of the batch. kept: logits of the rows that want them, [vocab] each, row
// i from kept_begin[i] on.
template <typename Sampled>
void report_head_rows(const StepBatch& batch, int32_t chunk, std::span<const Sampled> sampled,
                      std::span<const float> kept, std::span<const size_t> kept_begin,
                      int64_t vocab, protocol::SequenceResult* result) {
  for (size_t i = 0; i < batch.head_rows().size(); ++i) {
    const HeadRow& head = batch.head_rows()[i];
    if (head.chunk != chunk) continue;
    const bool sampler_ran = head.use != HeadRow::Use::kLogits;
    if (sampler_ran && sampled[i].rank == kernels::kNoUsableLogits) result->finite = false;
    switch (head.use) {
      case HeadRow::Use::kLogits: {
        const auto row = kept.subspan(kept_begin[i], static_cast<size_t>(vocab));
        result->logits.insert(result->logits.end(), row.begin(), row.end());
        break;
      }
      case HeadRow::Use::kPromptTarget: {
        protocol::PromptLogprob& prompt = result->prompt_logprobs.emplace_back();
        prompt.row = head.chunk_row;
        prompt.target = {sampled[i].token, sampled[i].logprob};
        copy_top(sampled[i], &prompt.top);
        break;
      }
      case HeadRow::Use::kSample:
        result->sampled = true;
        result->token = sampled[i].token;
        result->logprob = sampled[i].logprob;
        copy_top(sampled[i], &result->top);
        break;
    }
  }
}

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_HEAD_REPORT_H_
