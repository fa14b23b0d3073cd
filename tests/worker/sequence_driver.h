#ifndef CONCLAVE_TESTS_WORKER_SEQUENCE_DRIVER_H_
#define CONCLAVE_TESTS_WORKER_SEQUENCE_DRIVER_H_

// Small stand-ins for the scheduler: one sequence through a group, whole or in chunks, and greedy decoding.

#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "base/status_macros.h"
#include "kernels/kernel_set.h"
#include "tests/worker/executor_group.h"

namespace conclave::worker {

inline std::vector<int32_t> consecutive_blocks(int32_t first, size_t tokens) {
  std::vector<int32_t> blocks((tokens + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens);
  std::iota(blocks.begin(), blocks.end(), first);
  return blocks;
}

inline protocol::SequenceChunk make_chunk(uint64_t id, std::span<const int32_t> tokens,
                                          int32_t start, const std::vector<int32_t>& blocks) {
  protocol::SequenceChunk chunk;
  chunk.sequence_id = id;
  chunk.start_position = start;
  chunk.tokens.assign(tokens.begin(), tokens.end());
  chunk.block_ids = blocks;
  return chunk;
}

struct PromptOutput {
  std::vector<float> logits;                  // [tokens, vocab]
  std::vector<std::vector<int32_t>> routing;  // [moe layers][tokens * k]
  int32_t next = -1;                          // greedy token after the prompt
};

// Prefills `tokens` in chunks of at most chunk_tokens and gathers logits and routing of every row.
inline absl::StatusOr<PromptOutput> run_prompt(ExecutorGroup& group, std::span<const int32_t> tokens,
                                               size_t chunk_tokens, int32_t home,
                                               const std::vector<int32_t>& blocks, uint64_t id = 1) {
  PromptOutput output;
  output.routing.resize(group.spec().moe_layers().size());
  for (size_t start = 0; start < tokens.size(); start += chunk_tokens) {
    const auto part = tokens.subspan(start, std::min(chunk_tokens, tokens.size() - start));
    protocol::StepPlan plan;
    plan.step = static_cast<int64_t>(start);
    plan.chunks.push_back(make_chunk(id, part, static_cast<int32_t>(start), blocks));
    plan.chunks[0].home_rank = home;
    plan.chunks[0].want_logits = true;
    plan.chunks[0].want_routing = true;
    plan.chunks[0].sample = start + part.size() == tokens.size();
    ASSIGN_OR_RETURN(protocol::StepResult result, group.run(plan));
    const protocol::SequenceResult& sequence = result.sequences.at(0);
    output.logits.insert(output.logits.end(), sequence.logits.begin(), sequence.logits.end());
    const size_t per_layer = part.size() * static_cast<size_t>(group.spec().top_k);
    for (size_t m = 0; m < output.routing.size(); ++m) {
      const auto begin = sequence.routing.begin() + static_cast<int64_t>(m * per_layer);
      output.routing[m].insert(output.routing[m].end(), begin,
                               begin + static_cast<int64_t>(per_layer));
    }
    if (sequence.sampled) output.next = sequence.token;
  }
  return output;
}

// Greedy tokens after a prompt of which `first` is the first; by kPreviousToken, as a pipelined scheduler does.
inline absl::StatusOr<std::vector<int32_t>> run_greedy(ExecutorGroup& group, size_t prompt_tokens,
                                                       int32_t first, size_t count, int32_t home,
                                                       const std::vector<int32_t>& blocks,
                                                       uint64_t id = 1) {
  std::vector<int32_t> generated = {first};
  while (generated.size() < count) {
    const int32_t previous[] = {protocol::kPreviousToken};
    protocol::StepPlan plan;
    plan.step = static_cast<int64_t>(1000 + generated.size());
    plan.chunks.push_back(make_chunk(
        id, previous, static_cast<int32_t>(prompt_tokens + generated.size() - 1), blocks));
    plan.chunks[0].home_rank = home;
    plan.chunks[0].sample = true;
    ASSIGN_OR_RETURN(protocol::StepResult result, group.run(plan));
    generated.push_back(result.sequences.at(0).token);
  }
  return generated;
}

}  // namespace conclave::worker

#endif  // CONCLAVE_TESTS_WORKER_SEQUENCE_DRIVER_H_
