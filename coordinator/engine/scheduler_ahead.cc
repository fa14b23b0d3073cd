// The fourth part of Scheduler: the step after the one in flight, planned before the tokens of that
// one are known. Everything that only plan() can decide (admission, preemption, homes) waits until
// nothing is in flight; so whatever calls for it ends the steady state here.

#include <algorithm>
#include <map>
#include <utility>

#include "coordinator/engine/scheduler.h"

namespace conclave::coordinator {

bool Scheduler::only_decodes(const std::vector<Flight>& flights) {
  return std::all_of(flights.begin(), flights.end(), [](const Flight& flight) {
    const bool alone_on_device =
        flight.sequence->abandoned() || !flight.sequence->needs_next_token();
    return flight.rows == 1 && flight.sample && !flight.report && !flight.rank_hits &&
           alone_on_device;
  });
}

std::optional<ScheduledStep> Scheduler::plan_ahead(int64_t step) {
  if (!may_plan_ahead()) return std::nullopt;
  const std::vector<Sequence*> sequences = going_on();
  if (sequences.empty() || !room_for_next_rows(sequences)) return std::nullopt;
  begin_planning();
  for (const Sequence* sequence : sequences) {
    --budget_;
    --home(*sequence).budget;
  }
  if (may_admit_beside(sequences)) return std::nullopt;
  ScheduledStep scheduled;
  for (Sequence* sequence : sequences) add_ahead_chunk(*sequence, &scheduled);
  ++step_;
  return launch(std::move(scheduled), step);
}

bool Scheduler::may_plan_ahead() {
  // The rank that a coherent row ends on knows its token, not the rank where the next row begins.
  if (!options_.pipeline || options_.coherent || in_flight_.size() != 1) return false;
  const Step& step = in_flight_.front();
  // A running sequence without a row in it has been left out by a plan ahead, or waits for rows.
  if (step.flights.size() != running_.size() || !only_decodes(step.flights)) return false;
  if (homes_to_match()) return false;
  if (!options_.force_preempt_seed) return true;
  if (drawn_for_ != step.number) {
    drawn_for_ = step.number;
    drawn_ = draw_preemption();
  }
  return !drawn_;
}

// Those whose next token is not their last, as far as is known.
std::vector<Sequence*> Scheduler::going_on() const {
  std::vector<Sequence*> sequences;
  for (const Flight& flight : in_flight_.front().flights) {
    Sequence* sequence = flight.sequence;
    if (!sequence->abandoned() && !sequence->ends_with_next(max_model_len_)) {
      sequences.push_back(sequence);
    }
  }
  return sequences;
}

bool Scheduler::room_for_next_rows(const std::vector<Sequence*>& sequences) {
  std::map<const BlockLedger*, int32_t> needed;
  for (Sequence* sequence : sequences) {
    needed[&memory(*sequence).ledger] +=
        blocks_for(sequence->length() + 1) - static_cast<int32_t>(sequence->blocks.size());
  }
  return std::all_of(needed.begin(), needed.end(),
                     [](const auto& entry) { return entry.second <= entry.first->available(); });
}

// Somebody waits who might come in: now, or when those who leave have left.
bool Scheduler::may_admit_beside(const std::vector<Sequence*>& sequences) {
  if (waiting_ == 0) return false;
  if (sequences.size() < running_.size() || claim().has_value()) return true;
  if (running() >= options_.max_running || budget_ <= 0) return false;
  const auto& clients = shares_.clients();
  return std::any_of(clients.begin(), clients.end(), [&](const ClientAccount& client) {
    if (client.waiting.empty()) return false;
    const Sequence& first = *client.waiting.begin()->second;
    return fits_beside_running(first) && place(first).has_value();
  });
}

void Scheduler::add_ahead_chunk(Sequence& sequence, ScheduledStep* step) {
  BlockLedger& ledger = memory(sequence).ledger;
  while (static_cast<int32_t>(sequence.blocks.size()) < blocks_for(sequence.length() + 1)) {
    sequence.blocks.push_back(*ledger.allocate());  // room_for_next_rows() has looked
  }
  flights_.push_back({&sequence, 1, /*sample=*/true, /*report=*/false, /*rank_hits=*/false});
  step->plan.chunks.push_back(sequence.make_ahead_chunk());
  ++sequence.steps;
  shares_.charge(*sequence.client, 1);
}

}  // namespace conclave::coordinator
