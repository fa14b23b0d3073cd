// The second half of Scheduler: what the result of a step means for its sequences.

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/engine/scheduler.h"

namespace conclave::coordinator {

absl::StatusOr<std::vector<SequenceEvent>> Scheduler::apply(protocol::StepResult result) {
  if (in_flight_.empty() || result.step != in_flight_.front().number) {
    return absl::InternalError(absl::StrCat(
        "rank 0 sent the result of step ", result.step, ", but ",
        in_flight_.empty() ? "no step runs"
                           : absl::StrCat("step ", in_flight_.front().number, " runs")));
  }
  std::unordered_map<SequenceId, protocol::SequenceResult*> by_id;
  by_id.reserve(result.sequences.size());
  for (protocol::SequenceResult& sequence : result.sequences)
    by_id[sequence.sequence_id] = &sequence;
  std::vector<SequenceEvent> events;
  const Step& step = in_flight_.front();
  events.reserve(step.flights.size());
  for (const Flight& flight : step.flights) {
    const auto it = by_id.find(flight.sequence->id());
    RETURN_IF_ERROR(apply_one(flight, it == by_id.end() ? nullptr : it->second, &events));
  }
  in_flight_.pop_front();
  return events;
}

absl::Status Scheduler::apply_one(const Flight& flight, protocol::SequenceResult* result,
                                  std::vector<SequenceEvent>* events) {
  Sequence& sequence = *flight.sequence;
  const bool missing =
      result == nullptr ? flight.sample || flight.report : flight.sample && !result->sampled;
  if (missing || (flight.sample && result->token < 0)) {
    return absl::InternalError(absl::StrCat("the result of step ", in_flight_.front().number,
                                            " has no ", flight.sample ? "token" : "prompt rows",
                                            " for sequence ", sequence.id()));
  }
  --sequence.steps;
  // The row of a plan ahead may stand for a token that did not become part of the text.
  sequence.computed = std::min(sequence.computed + flight.rows, sequence.length());
  publish_blocks(sequence);
  if (sequence.remaining() <= 1) announce(sequence, false);
  if (sequence.abandoned()) {
    if (sequence.steps == 0) remove(sequence);
    return absl::OkStatus();
  }
  if (result != nullptr && !result->finite) {
    end_unusable(sequence, events);
    return absl::OkStatus();
  }
  note_rank_hits(sequence, result);
  if (flight.report) RETURN_IF_ERROR(report_prompt(flight, result, events));
  if (flight.sample) {
    apply_token(sequence, result, events);
  } else if (sequence.remaining() == 0) {  // max_tokens was 0
    end(sequence, FinishReason::kLength, std::nullopt, events);
  }
  return absl::OkStatus();
}

void Scheduler::publish_blocks(Sequence& sequence) {
  if (!uses_cache(sequence)) return;
  while ((sequence.published + 1) * kBlockTokens <= sequence.computed) {
    const auto index = static_cast<size_t>(sequence.published);
    const CachedBlock cached = memory(sequence).ledger.publish(
        sequence.blocks[index], sequence.last_node,
        sequence.tokens().subspan(index * kBlockTokens, kBlockTokens));
    sequence.blocks[index] = cached.block;
    sequence.last_node = cached.node;
    ++sequence.published;
  }
}

absl::Status Scheduler::report_prompt(const Flight& flight, protocol::SequenceResult* result,
                                      std::vector<SequenceEvent>* events) {
  for (const protocol::PromptLogprob& logprob : result->prompt_logprobs) {
    if (logprob.row < 0 || logprob.row >= flight.rows) {
      return absl::InternalError(absl::StrCat("the result of step ", in_flight_.front().number,
                                              " reports prompt row ", logprob.row,
                                              " of a chunk of ", flight.rows, " rows"));
    }
  }
  JournalEntry& entry = *flight.sequence->entry();
  PromptPart part;
  part.start = flight.sequence->computed - flight.rows;
  part.rows = flight.rows;
  part.logprobs = std::move(result->prompt_logprobs);
  part.logits = std::move(result->logits);
  part.routing = std::move(result->routing);
  entry.prompt_reported = flight.sequence->computed;
  events->push_back({entry.id, std::move(part)});
  return absl::OkStatus();
}

void Scheduler::apply_token(Sequence& sequence, protocol::SequenceResult* result,
                            std::vector<SequenceEvent>* events) {
  const Sequence::Verdict verdict = sequence.judge(result->token, max_model_len_);
  if (verdict.emit) {
    sequence.append(result->token);
    events->push_back(
        {sequence.id(), GeneratedToken{result->token, result->logprob, std::move(result->top)}});
  }
  if (verdict.end) {
    end(sequence, *verdict.end, verdict.emit ? std::nullopt : std::optional<int32_t>(result->token),
        events);
  }
}

// No token is better than one that means nothing.
void Scheduler::end_unusable(Sequence& sequence, std::vector<SequenceEvent>* events) {
  const int32_t rank = sequence.home;
  const size_t position = sequence.entry()->emitted.size();
  end(sequence, FinishReason::kError, std::nullopt, events);
  std::get<GenerationEnd>(events->back().what).error = absl::InternalError(absl::StrCat(
      "the model's logits at output token ", position, " are NaN or infinite (computed with rank ", rank,
      "): no token can be chosen from them; check the weights and the compute type"));
}

void Scheduler::end(Sequence& sequence, FinishReason reason, std::optional<int32_t> stop_token,
                    std::vector<SequenceEvent>* events) {
  GenerationEnd end;
  end.reason = reason;
  end.stop_token = stop_token;
  end.cached_prompt_tokens = std::max(0, sequence.entry()->cached_prompt_tokens);
  events->push_back({sequence.id(), std::move(end)});
  // Blocks that a step in flight writes stay taken until it has ended.
  if (sequence.steps == 0) {
    remove(sequence);
  } else {
    sequence.abandon();
  }
}

}  // namespace conclave::coordinator
