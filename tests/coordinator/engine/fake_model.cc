#include "fake_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "coordinator/engine/block_ledger.h"

namespace conclave::coordinator {
namespace {

uint64_t extend(uint64_t hash, int32_t token) {
  uint64_t value = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15u + 0x1234567u;
  value ^= value >> 29;
  return value * 0xbf58476d1ce4e5b9u | 1u;  // never 0
}

int32_t choose(uint64_t hash, const protocol::Sampling& sampling, int32_t vocab) {
  uint64_t draw = extend(extend(hash, static_cast<int32_t>(sampling.seed)),
                         static_cast<int32_t>(sampling.position));
  for (const protocol::TokenCount& count : sampling.counts) {  // penalties change the text
    draw += static_cast<uint64_t>(count.token) *
            static_cast<uint64_t>(count.output_count * 2 + (count.in_prompt ? 1 : 0));
  }
  auto token = static_cast<int32_t>((draw >> 7) % static_cast<uint64_t>(vocab));
  const auto banned = [&](int32_t id) {
    return std::any_of(sampling.bias.begin(), sampling.bias.end(), [id](const auto& bias) {
      return bias.token == id && std::isinf(bias.bias);
    });
  };
  for (int32_t tries = 0; banned(token) && tries < vocab; ++tries) token = (token + 1) % vocab;
  return token;
}

}  // namespace

int32_t fake_next_token(std::span<const int32_t> text, const protocol::Sampling& sampling,
                        int32_t vocab) {
  uint64_t hash = 0;
  for (const int32_t token : text) hash = extend(hash, token);
  return choose(hash, sampling, vocab);
}

FakeRanks::FakeRanks(std::vector<int32_t> blocks_per_rank, int32_t vocab) : vocab_(vocab) {
  for (const int32_t blocks : blocks_per_rank)
    slots_.emplace_back(static_cast<size_t>(blocks) * kBlockTokens);
}

void FakeRanks::problem(const protocol::SequenceChunk& chunk, const std::string& what) {
  problems_.push_back("sequence " + std::to_string(chunk.sequence_id) + " at " +
                      std::to_string(chunk.start_position) + ": " + what);
}

protocol::StepResult FakeRanks::run(const protocol::StepPlan& plan) {
  shared_kv_ = plan.shared_kv;
  sampled_before_ = std::exchange(sampled_, {});
  move_blocks(plan);
  check_sharing(plan);
  protocol::StepResult result;
  result.step = plan.step;
  for (const protocol::SequenceChunk& chunk : plan.chunks) run_chunk(chunk, &result);
  result.ranks.resize(slots_.size());
  for (protocol::RankTiming& rank : result.ranks) {
    if (plan.trace) rank.spans = {{"attention", 0, 0, 1e-6}};
  }
  return result;
}

// All are read before any is written, as one exchange of real ranks does it.
void FakeRanks::move_blocks(const protocol::StepPlan& plan) {
  std::vector<std::vector<Slot>> read;
  for (const protocol::KvMove& move : plan.kv_moves) {
    std::vector<Slot>& content = read.emplace_back();
    for (const int32_t block : move.from_blocks) {
      const auto first = slots_[static_cast<size_t>(move.from_rank)].begin() + block * kBlockTokens;
      content.insert(content.end(), first, first + kBlockTokens);
    }
  }
  for (size_t m = 0; m < plan.kv_moves.size(); ++m) {
    const protocol::KvMove& move = plan.kv_moves[m];
    auto& slots = slots_[static_cast<size_t>(move.to_rank)];
    for (size_t i = 0; i < move.to_blocks.size(); ++i) {
      std::copy_n(read[m].begin() + static_cast<std::ptrdiff_t>(i) * kBlockTokens, kBlockTokens,
                  slots.begin() + move.to_blocks[i] * kBlockTokens);
    }
    moves_ += move.from_rank != move.to_rank ? 1 : 0;
  }
}

// A block that a chunk writes is named by no other chunk of the step.
void FakeRanks::check_sharing(const protocol::StepPlan& plan) {
  std::map<std::pair<int32_t, int32_t>, int> users;
  std::set<uint64_t> ids;
  for (const auto& chunk : plan.chunks) {
    if (!ids.insert(chunk.sequence_id).second) problem(chunk, "twice in a step");
    for (const int32_t block : std::set<int32_t>(chunk.block_ids.begin(), chunk.block_ids.end())) {
      ++users[{shared_kv_ ? 0 : chunk.home_rank, block}];
    }
  }
  for (const auto& chunk : plan.chunks) {
    for (size_t i = static_cast<size_t>(chunk.start_position) / kBlockTokens;
         i < chunk.block_ids.size(); ++i) {
      if (users[{shared_kv_ ? 0 : chunk.home_rank, chunk.block_ids[i]}] > 1)
        problem(chunk, "writes a block that others use");
    }
  }
}

// A rank knows the tokens that its rows sampled in the step before, and no others; a coherent row
// ends on any rank.
int32_t FakeRanks::token_of(const protocol::SequenceChunk& chunk, size_t row) {
  if (chunk.tokens[row] != protocol::kPreviousToken) return chunk.tokens[row];
  ++ahead_rows_;
  const auto found = sampled_before_.find(chunk.sequence_id);
  if (found == sampled_before_.end() || found->second.rank != chunk.home_rank || chunk.coherent) {
    problem(chunk, "asks for a token that its rank did not sample in the step before");
    return 0;
  }
  return found->second.token;
}

void FakeRanks::run_chunk(const protocol::SequenceChunk& chunk, protocol::StepResult* result) {
  const auto end = chunk.start_position + static_cast<int32_t>(chunk.tokens.size());
  if (chunk.home_rank < 0 || static_cast<size_t>(chunk.home_rank) >= slots_.size())
    return problem(chunk, "no such rank");
  auto& slots = slots_[static_cast<size_t>(chunk.home_rank)];
  if (chunk.tokens.empty()) return problem(chunk, "no rows");
  if (chunk.coherent && (!shared_kv_ || chunk.tokens.size() != 1))
    return problem(chunk, "coherent without K/V on every rank, or with several rows");
  if (static_cast<int32_t>(chunk.block_ids.size()) != blocks_for(end))
    return problem(chunk, "wrong number of blocks");
  for (const int32_t block : chunk.block_ids) {
    if (block < 0 || static_cast<size_t>(block) * kBlockTokens >= slots.size())
      return problem(chunk, "no such block");
  }
  const auto slot = [&](int32_t position) -> Slot& {
    return slots[static_cast<size_t>(
                     chunk.block_ids[static_cast<size_t>(position / kBlockTokens)]) *
                     kBlockTokens +
                 static_cast<size_t>(position % kBlockTokens)];
  };
  uint64_t hash = 0;  // over what the blocks say, as attention reads them
  for (int32_t position = 0; position < chunk.start_position; ++position) {
    const Slot& read = slot(position);
    hash = extend(hash, read.token);
    if (read.position != position || read.prefix_hash != hash)
      return problem(chunk, "reads K/V of another text");
  }
  for (int32_t position = chunk.start_position; position < end; ++position) {
    const int32_t token = token_of(chunk, static_cast<size_t>(position - chunk.start_position));
    if (token < 0) return problem(chunk, "negative token");
    hash = extend(hash, token);
    slot(position) = {hash, position, token};
    const auto at = static_cast<size_t>(&slot(position) - slots.data());
    for (auto& other : slots_) {
      if (!shared_kv_) continue;
      if (at >= other.size()) return problem(chunk, "a block that not every rank has");
      other[at] = slot(position);
    }
  }
  rows_ += static_cast<int64_t>(chunk.tokens.size());
  protocol::SequenceResult sequence;
  sequence.sequence_id = chunk.sequence_id;
  if (chunk.sample) {
    sequence.sampled = true;
    sequence.token = choose(hash, chunk.sampling, vocab_);
    sequence.logprob = -static_cast<float>(chunk.sampling.position);
    sampled_[chunk.sequence_id] = {chunk.home_rank, sequence.token};
  }
  if (chunk.want_rank_hits) {
    for (size_t rank = 0; rank < slots_.size(); ++rank)
      sequence.rank_hits.push_back(static_cast<int32_t>((hash >> (4 * rank)) % 16));
  }
  report(chunk, &sequence);
  result->sequences.push_back(std::move(sequence));
}

void FakeRanks::report(const protocol::SequenceChunk& chunk, protocol::SequenceResult* result) {
  if (chunk.prompt_top_logprobs >= 0) {
    if (chunk.prompt_targets.size() != chunk.tokens.size())
      return problem(chunk, "targets do not match rows");
    for (size_t row = 0; row < chunk.tokens.size(); ++row) {
      if (chunk.prompt_targets[row] < 0) continue;
      result->prompt_logprobs.push_back(
          {static_cast<int32_t>(row), {chunk.prompt_targets[row], -1.0f}, {}});
    }
  }
  if (chunk.want_logits) result->logits.assign(chunk.tokens.begin(), chunk.tokens.end());
  if (chunk.want_routing) result->routing = chunk.tokens;
}

}  // namespace conclave::coordinator
