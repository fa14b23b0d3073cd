#include "coordinator/engine/sequence.h"

#include <algorithm>
#include <limits>

namespace conclave::coordinator {
namespace {

bool contains(std::span<const int32_t> ids, int32_t id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

}  // namespace

Sequence::Sequence(JournalEntry* entry, std::span<const int32_t> eos_ids)
    : id_(entry->id), order_(entry->request.priority, entry->id), entry_(entry), eos_ids_(eos_ids) {
  const GenerationRequest& request = entry->request;
  const protocol::Sampling& sampling = request.sampling;
  wants_logits_ = request.want_logits;
  reports_prompt_ = request.prompt_top_logprobs >= 0 || request.want_logits || request.want_routing;
  has_penalties_ = sampling.repetition_penalty != 1 || sampling.presence_penalty != 0 ||
                   sampling.frequency_penalty != 0;
  restart();
  if (has_penalties_) {
    for (const int32_t token : request.prompt) count(token, /*in_prompt=*/true);
    for (const int32_t token : entry->emitted) count(token, /*in_prompt=*/false);
  }
  max_plan_bytes_ = bound_plan_bytes();
}

int64_t Sequence::bound_plan_bytes() const {
  constexpr int64_t kFixed = 256, kCount = 9, kBias = 8, kToken = 4;
  const GenerationRequest& request = entry_->request;
  const auto longest = static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
  const int64_t biases = static_cast<int64_t>(request.sampling.bias.size() +
                                              request.stop_token_ids.size() + eos_ids_.size());
  // Tokens, their targets and block ids of one chunk; counts of distinct tokens.
  return kFixed + biases * kBias + longest * (3 * kToken + (has_penalties_ ? kCount : 0));
}

void Sequence::restart() {
  tokens_ = entry_->recompute_tokens();
  block_hashes_ = chained_block_hashes(tokens_);
  home = -1;
  computed = 0;
  blocks.clear();
  published = 0;
  last_node = 0;
  rank_hits.clear();
  settled = false;
}

int32_t Sequence::clip_rows(int32_t rows) const {
  rows = std::min(rows, remaining());
  if (!reports_prompt_) return rows;
  if (computed < entry_->prompt_reported) return std::min(rows, entry_->prompt_reported - computed);
  const auto prompt = static_cast<int32_t>(entry_->request.prompt.size());
  return computed < prompt ? std::min(rows, prompt - computed) : rows;
}

protocol::SequenceChunk Sequence::make_chunk(int32_t rows) const {
  const GenerationRequest& request = entry_->request;
  const auto prompt = static_cast<int32_t>(request.prompt.size());
  protocol::SequenceChunk chunk;
  chunk.sequence_id = id_;
  chunk.home_rank = home;
  chunk.start_position = computed;
  const int32_t end = computed + rows;
  chunk.tokens.assign(tokens_.begin() + computed, tokens_.begin() + end);
  chunk.block_ids.assign(blocks.begin(), blocks.begin() + blocks_for(end));
  chunk.sample = end == length() && request.max_tokens > 0;
  if (chunk.sample) chunk.sampling = make_sampling(static_cast<int32_t>(entry_->emitted.size()));
  const bool report = reports_prompt_ && computed >= entry_->prompt_reported && computed < prompt;
  if (!report) return chunk;
  chunk.want_logits = request.want_logits;
  chunk.want_routing = request.want_routing;
  chunk.prompt_top_logprobs = request.prompt_top_logprobs;
  if (request.prompt_top_logprobs >= 0) {
    for (int32_t row = computed; row < end; ++row) {
      chunk.prompt_targets.push_back(row + 1 < prompt ? request.prompt[static_cast<size_t>(row) + 1]
                                                      : -1);
    }
  }
  return chunk;
}

bool Sequence::ends_with_next(int32_t max_model_len) const {
  const auto emitted = static_cast<int32_t>(entry_->emitted.size());
  return emitted + 1 >= entry_->request.max_tokens || length() + 1 >= max_model_len;
}

protocol::SequenceChunk Sequence::make_ahead_chunk() const {
  protocol::SequenceChunk chunk;
  chunk.sequence_id = id_;
  chunk.home_rank = home;
  chunk.start_position = length();
  chunk.tokens = {protocol::kPreviousToken};
  chunk.block_ids.assign(blocks.begin(), blocks.begin() + blocks_for(length() + 1));
  chunk.sample = true;
  chunk.sampling = make_sampling(static_cast<int32_t>(entry_->emitted.size()) + 1);
  return chunk;
}

// position: of the sampled token in the output. Counts are those of the tokens known so far.
protocol::Sampling Sequence::make_sampling(int32_t position) const {
  const GenerationRequest& request = entry_->request;
  protocol::Sampling sampling = request.sampling;
  sampling.position = static_cast<uint32_t>(position);
  sampling.counts = counts_;
  if (position >= request.min_tokens) return sampling;
  std::erase_if(sampling.bias,
                [this](const protocol::TokenBias& bias) { return is_stop(bias.token); });
  const auto ban = [&sampling](int32_t token) {
    sampling.bias.push_back({token, -std::numeric_limits<float>::infinity()});
  };
  if (!request.ignore_eos) std::for_each(eos_ids_.begin(), eos_ids_.end(), ban);
  for (const int32_t token : request.stop_token_ids) {
    if (request.ignore_eos || !contains(eos_ids_, token)) ban(token);
  }
  return sampling;
}

bool Sequence::is_stop(int32_t token) const {
  const GenerationRequest& request = entry_->request;
  return contains(request.stop_token_ids, token) ||
         (!request.ignore_eos && contains(eos_ids_, token));
}

Sequence::Verdict Sequence::judge(int32_t token, int32_t max_model_len) const {
  const auto emitted = static_cast<int32_t>(entry_->emitted.size());
  if (emitted >= entry_->request.min_tokens && is_stop(token)) return {false, FinishReason::kStop};
  if (ends_with_next(max_model_len)) return {true, FinishReason::kLength};
  return {true, std::nullopt};
}

void Sequence::append(int32_t token) {
  entry_->emitted.push_back(token);
  tokens_.push_back(token);
  if (has_penalties_) count(token, /*in_prompt=*/false);
}

void Sequence::count(int32_t token, bool in_prompt) {
  const auto [it, added] = count_index_.try_emplace(token, counts_.size());
  if (added) counts_.push_back({token, 0, false});
  protocol::TokenCount& entry = counts_[it->second];
  if (in_prompt) {
    entry.in_prompt = true;
  } else {
    ++entry.output_count;
  }
}

}  // namespace conclave::coordinator
