#include "worker/step_batch.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

template <typename... Parts>
absl::Status bad_chunk(const protocol::SequenceChunk& chunk, const Parts&... parts) {
  return absl::InvalidArgumentError(
      absl::StrCat("the plan's chunk of sequence ", chunk.sequence_id, " ", parts...));
}

}  // namespace

StepBatch::StepBatch(const StepLimits& limits) : limits_(limits) {
  const auto rows = static_cast<size_t>(limits.max_rows);
  tokens_.reserve(rows);
  rows_.reserve(rows);
  first_row_.reserve(rows);
  head_rows_.reserve(rows);
  step_rows_.reserve(rows);
  sampling_.reserve(rows);
  block_ids_.reserve(static_cast<size_t>(limits.kv_blocks));
}

absl::Status StepBatch::assign(const protocol::StepPlan& plan, int32_t rank,
                               const PreviousTokens& previous) {
  tokens_.clear();
  rows_.clear();
  block_ids_.clear();
  first_row_.clear();
  head_rows_.clear();
  sampling_.clear();
  wants_routing_ = false;
  items_.clear();
  start_items_.clear();
  plan_rows_.clear();
  step_rows_.clear();
  shared_ = plan.shared_kv && limits_.ranks > 1;
  if (shared_ && !limits_.coherent) {
    return absl::InvalidArgumentError(
        "the plan wants K/V on every rank, but this group was configured for the fixed plan");
  }
  int32_t next_row = 0;
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    const protocol::SequenceChunk& chunk = plan.chunks[index];
    const int32_t plan_row = next_row;
    next_row += static_cast<int32_t>(chunk.tokens.size());
    if (chunk.coherent && !shared_ && limits_.ranks > 1) {
      return bad_chunk(chunk, "is coherent, but the plan's K/V is not on every rank");
    }
    if (chunk.home_rank < 0 || chunk.home_rank >= limits_.ranks) {
      return bad_chunk(chunk, "has home rank ", chunk.home_rank, " of a group of ", limits_.ranks);
    }
    const bool here = chunk.home_rank == rank;
    if (!here && !shared_) {
      first_row_.push_back(-1);
      continue;
    }
    RETURN_IF_ERROR(check(chunk));
    block_table_ = static_cast<int32_t>(block_ids_.size());
    block_ids_.insert(block_ids_.end(), chunk.block_ids.begin(), chunk.block_ids.end());
    if (shared_) append_plan_rows(chunk);
    if (chunk.coherent && shared_) {
      RETURN_IF_ERROR(check_coherent(chunk));
      if (here) start_items_.push_back(static_cast<int32_t>(items_.size()));
      items_.push_back({static_cast<int32_t>(index), plan_row});
      first_row_.push_back(-1);
      continue;
    }
    first_row_.push_back(here ? static_cast<int32_t>(tokens_.size()) : -1);
    if (!here) continue;
    RETURN_IF_ERROR(append_tokens(chunk, plan_row, previous));
    append_head_rows(chunk, static_cast<int32_t>(index));
    wants_routing_ = wants_routing_ || chunk.want_routing;
  }
  fixed_rows_ = rows();
  for (const int32_t item : start_items_) {
    const size_t chunk = static_cast<size_t>(items_[static_cast<size_t>(item)].chunk);
    RETURN_IF_ERROR(append_token(plan.chunks[chunk], 0, previous));
  }
  set_coherent(start_items_);
  bind_penalties(plan);
  return absl::OkStatus();
}

absl::Status StepBatch::check_coherent(const protocol::SequenceChunk& chunk) const {
  if (chunk.tokens.size() == 1 && !chunk.want_routing && chunk.prompt_targets.empty()) {
    return absl::OkStatus();
  }
  return bad_chunk(chunk, "is coherent, so it must be one row that reports nothing of its prompt");
}

void StepBatch::append_plan_rows(const protocol::SequenceChunk& chunk) {
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    plan_rows_.push_back({chunk.start_position + static_cast<int32_t>(i), block_table_});
  }
}

void StepBatch::set_coherent(std::span<const int32_t> items) {
  if (!shared_) return;
  rows_.resize(static_cast<size_t>(fixed_rows_));
  step_rows_.resize(static_cast<size_t>(fixed_rows_));
  for (const int32_t item : items) {
    const int32_t plan_row = items_[static_cast<size_t>(item)].plan_row;
    rows_.push_back(plan_rows_[static_cast<size_t>(plan_row)]);
    step_rows_.push_back(plan_row);
  }
}

void StepBatch::finish_coherent(const protocol::StepPlan& plan, std::span<const int32_t> items) {
  for (size_t i = 0; i < items.size(); ++i) {
    const int32_t chunk = items_[static_cast<size_t>(items[i])].chunk;
    first_row_[static_cast<size_t>(chunk)] =
        static_cast<int32_t>(fixed_rows_) + static_cast<int32_t>(i);
    append_head_rows(plan.chunks[static_cast<size_t>(chunk)], chunk);
  }
  bind_penalties(plan);
}

absl::Status StepBatch::check(const protocol::SequenceChunk& chunk) const {
  const auto count = static_cast<int64_t>(chunk.tokens.size());
  if (count == 0) return bad_chunk(chunk, "has no tokens");
  if (rows() + count > limits_.max_rows) {
    return bad_chunk(chunk, "brings the rank to ", rows() + count, " rows; at most ",
                     limits_.max_rows, " fit into a step");
  }
  const int64_t end = chunk.start_position + count;
  if (chunk.start_position < 0 || end > limits_.max_positions) {
    return bad_chunk(chunk, "reaches from position ", chunk.start_position, " to ", end,
                     "; the longest sequence has ", limits_.max_positions);
  }
  const auto covered = static_cast<int64_t>(chunk.block_ids.size()) * kernels::kKvBlockTokens;
  if (covered < end) {
    return bad_chunk(chunk, "has K/V blocks for ", covered, " tokens but needs ", end);
  }
  for (const int32_t block : chunk.block_ids) {
    if (block < 0 || block >= limits_.kv_blocks) {
      return bad_chunk(chunk, "names K/V block ", block, " of ", limits_.kv_blocks);
    }
  }
  if (!chunk.prompt_targets.empty() && chunk.prompt_targets.size() != chunk.tokens.size()) {
    return bad_chunk(chunk, "has ", chunk.prompt_targets.size(), " prompt targets for ", count,
                     " tokens");
  }
  const auto in_vocab = [this](int32_t token) { return token >= 0 && token < limits_.vocab; };
  for (const int32_t target : chunk.prompt_targets) {
    if (target != -1 && !in_vocab(target)) return bad_chunk(chunk, "has prompt target ", target);
  }
  for (const protocol::TokenCount& seen : chunk.sampling.counts) {
    if (!in_vocab(seen.token)) return bad_chunk(chunk, "counts token ", seen.token);
  }
  for (const protocol::TokenBias& bias : chunk.sampling.bias) {
    if (!in_vocab(bias.token)) return bad_chunk(chunk, "biases token ", bias.token);
  }
  if (chunk.sampling.top_logprobs > kernels::kMaxTopLogprobs ||
      chunk.prompt_top_logprobs > kernels::kMaxTopLogprobs) {
    return bad_chunk(chunk, "asks for more than ", kernels::kMaxTopLogprobs, " top logprobs");
  }
  return absl::OkStatus();
}

absl::Status StepBatch::append_tokens(const protocol::SequenceChunk& chunk, int32_t plan_row,
                                      const PreviousTokens& previous) {
  for (size_t i = 0; i < chunk.tokens.size(); ++i) {
    RETURN_IF_ERROR(append_token(chunk, i, previous));
    rows_.push_back({chunk.start_position + static_cast<int32_t>(i), block_table_});
    step_rows_.push_back(plan_row + static_cast<int32_t>(i));
  }
  return absl::OkStatus();
}

absl::Status StepBatch::append_token(const protocol::SequenceChunk& chunk, size_t i,
                                     const PreviousTokens& previous) {
  int32_t token = chunk.tokens[i];
  if (token == protocol::kPreviousToken) {
    const std::optional<int32_t> sampled = previous.find(chunk.sequence_id);
    if (!sampled) {
      return bad_chunk(chunk,
                       "asks for its previous token, but the rank sampled none for it in the "
                       "step before");
    }
    token = limits_.previous_by_reference ? -1 - *sampled : *sampled;
  }
  const bool referred = limits_.previous_by_reference && chunk.tokens[i] == protocol::kPreviousToken;
  if (!referred && (token < 0 || token >= limits_.vocab)) {
    return bad_chunk(chunk, "has token ", token, " at position ",
                     chunk.start_position + static_cast<int64_t>(i), "; the vocabulary has ",
                     limits_.vocab);
  }
  tokens_.push_back(token);
  return absl::OkStatus();
}

void StepBatch::append_head_rows(const protocol::SequenceChunk& chunk, int32_t index) {
  const int32_t first = first_row_[static_cast<size_t>(index)];
  const auto count = static_cast<int32_t>(chunk.tokens.size());
  const bool wants_targets = chunk.prompt_top_logprobs >= 0 && !chunk.prompt_targets.empty();
  for (int32_t i = 0; i < count; ++i) {
    if (chunk.want_logits) {
      head_rows_.push_back({first + i, index, i, HeadRow::Use::kLogits});
      sampling_.emplace_back();
    }
    if (wants_targets && chunk.prompt_targets[static_cast<size_t>(i)] >= 0) {
      head_rows_.push_back({first + i, index, i, HeadRow::Use::kPromptTarget});
      kernels::SamplingRow& row = sampling_.emplace_back();
      row.target = chunk.prompt_targets[static_cast<size_t>(i)];
      row.top_logprobs = chunk.prompt_top_logprobs;
    }
  }
  if (chunk.sample) {
    head_rows_.push_back({first + count - 1, index, count - 1, HeadRow::Use::kSample});
    append_sampling(chunk.sampling);
  }
}

void StepBatch::append_sampling(const protocol::Sampling& sampling) {
  kernels::SamplingRow& row = sampling_.emplace_back();
  row.temperature = sampling.temperature;
  row.top_k = sampling.top_k;
  row.top_p = sampling.top_p;
  row.min_p = sampling.min_p;
  row.repetition_penalty = sampling.repetition_penalty;
  row.presence_penalty = sampling.presence_penalty;
  row.frequency_penalty = sampling.frequency_penalty;
  row.seed = sampling.seed;
  row.choice = sampling.choice;
  row.position = sampling.position;
  row.top_logprobs = sampling.top_logprobs;
}

// Copies the lists first and points at them afterwards: growing would move them.
void StepBatch::bind_penalties(const protocol::StepPlan& plan) {
  counts_.clear();
  bias_.clear();
  for (const HeadRow& head : head_rows_) {
    if (head.use != HeadRow::Use::kSample) continue;
    const protocol::Sampling& sampling = plan.chunks[static_cast<size_t>(head.chunk)].sampling;
    for (const protocol::TokenCount& seen : sampling.counts) {
      counts_.push_back({seen.token, seen.output_count, seen.in_prompt});
    }
    for (const protocol::TokenBias& bias : sampling.bias) bias_.push_back({bias.token, bias.bias});
  }
  size_t count = 0;
  size_t bias = 0;
  for (size_t i = 0; i < head_rows_.size(); ++i) {
    if (head_rows_[i].use != HeadRow::Use::kSample) continue;
    const protocol::Sampling& sampling =
        plan.chunks[static_cast<size_t>(head_rows_[i].chunk)].sampling;
    sampling_[i].counts = {counts_.data() + count, sampling.counts.size()};
    sampling_[i].bias = {bias_.data() + bias, sampling.bias.size()};
    count += sampling.counts.size();
    bias += sampling.bias.size();
  }
}

}  // namespace conclave::worker
