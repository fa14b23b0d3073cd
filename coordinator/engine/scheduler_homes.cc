// The third part of Scheduler: homes chosen by what prompts did. Sequences whose prompts are
// computed move, with their K/V, to the ranks where most of their rows found experts: a balanced
// assignment, so that ranks keep about as many sequences each.

#include <algorithm>
#include <utility>

#include "coordinator/engine/scheduler.h"
#include "expert_placement/flow/balanced_assignment.h"

namespace conclave::coordinator {
namespace {

// Moving K/V costs something: staying counts for two per cent more (row, layer) pairs, for five
// where the sequence has moved before or has declined to. Whole numbers, so that the assignment is
// exact.
constexpr double kHit = 100;
constexpr double kHitAtHome = 102;
constexpr double kHitSettled = 105;
// Sequences times ranks of one assignment, which is made between two steps.
constexpr int64_t kMostChoices = 4096;

}  // namespace

void Scheduler::note_rank_hits(Sequence& sequence, const protocol::SequenceResult* result) {
  if (result == nullptr || result->rank_hits.size() != ranks_.size()) return;
  sequence.rank_hits.resize(ranks_.size(), 0);
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    sequence.rank_hits[rank] += result->rank_hits[rank];
  }
}

bool Scheduler::homes_to_match() const {
  if (!options_.match_homes || running() > options_.max_rank_step_tokens) return false;
  return std::any_of(running_.begin(), running_.end(), [](const auto& entry) {
    return !entry.second->rank_hits.empty() && !entry.second->settled;
  });
}

void Scheduler::forget_rank_hits() {
  for (const auto& [id, sequence] : sequences_) sequence->rank_hits.clear();
}

// Sequences whose homes are to be chosen: those whose prompts have just been computed and, as ranks
// are full of them, those that were given a home before, so that they can make room by changing
// places. Empty if there is nobody new.
std::vector<Sequence*> Scheduler::home_candidates() {
  std::vector<Sequence*> fresh, known;
  for (const auto& [order, sequence] : running_) {
    const bool prompt_done = sequence->decoding() && !sequence->entry()->emitted.empty();
    if (!prompt_done || sequence->rank_hits.empty()) continue;
    known.push_back(sequence);
    if (!sequence->settled) fresh.push_back(sequence);
  }
  if (fresh.empty() || static_cast<int64_t>(known.size()) * ranks() > kMostChoices) return fresh;
  return known;
}

double Scheduler::home_profit(const Sequence& sequence, size_t rank) const {
  const bool home = static_cast<int32_t>(rank) == sequence.home;
  const double each = !home ? kHit : sequence.settled ? kHitSettled : kHitAtHome;
  return each * static_cast<double>(sequence.rank_hits[rank]);
}

void Scheduler::match_homes(ScheduledStep* step) {
  if (!options_.match_homes) return;
  const std::vector<Sequence*> candidates = home_candidates();
  // Whoever finds no room stays, so a rank may get one more than its share: rows must allow it.
  if (candidates.empty() || running() > options_.max_rank_step_tokens) return;
  // All candidates are taken off their ranks first, so that they can change places with one
  // another; the other sequences stay where they are.
  const int32_t most = (running() + ranks() - 1) / ranks();
  std::vector<int32_t> room;
  for (const Rank& rank : ranks_) room.push_back(most - rank.running);
  for (const Sequence* sequence : candidates) ++room[static_cast<size_t>(sequence->home)];
  for (int32_t& places : room) places = std::max(places, 0);
  std::vector<double> profit;
  for (const Sequence* sequence : candidates) {
    for (size_t rank = 0; rank < ranks_.size(); ++rank)
      profit.push_back(home_profit(*sequence, rank));
  }
  const std::vector<int32_t> homes = placement::assign_balanced(profit, room);
  for (size_t i = 0; i < candidates.size(); ++i) {
    Sequence& sequence = *candidates[i];
    sequence.settled = true;
    if (homes[i] == sequence.home) continue;
    const BlockLedger& ledger = ranks_[static_cast<size_t>(homes[i])].ledger;
    if (ledger.available() > blocks_for(sequence.length()) + 1) move_home(sequence, homes[i], step);
  }
}

void Scheduler::move_home(Sequence& sequence, int32_t rank, ScheduledStep* step) {
  protocol::KvMove move;
  move.from_rank = sequence.home;
  move.to_rank = rank;
  move.from_blocks = sequence.blocks;
  BlockLedger& ledger = ranks_[static_cast<size_t>(rank)].ledger;
  for (size_t i = 0; i < sequence.blocks.size(); ++i) {
    move.to_blocks.push_back(*ledger.allocate());  // match_homes() has looked
  }
  // Copied before the step writes, so whoever gets the old blocks in this very step may have them.
  release_blocks(sequence);
  --home(sequence).running;
  sequence.home = rank;
  ++home(sequence).running;
  sequence.blocks = move.to_blocks;
  sequence.published = 0;
  sequence.last_node = 0;
  step->plan.kv_moves.push_back(std::move(move));
}

}  // namespace conclave::coordinator
