// The third part of Scheduler: homes chosen by what prompts did. A sequence whose prompt is
// computed moves, with its K/V, to the rank where most of its rows found experts, as long as ranks
// keep about as many sequences each.

#include <algorithm>
#include <utility>

#include "coordinator/engine/scheduler.h"

namespace conclave::coordinator {
namespace {

// Moving K/V costs something: the new home must serve so many more (row, layer) pairs.
constexpr double kLeastGain = 1.02;

}  // namespace

void Scheduler::note_rank_hits(Sequence& sequence, const protocol::SequenceResult* result) {
  if (result == nullptr || result->rank_hits.size() != ranks_.size()) return;
  sequence.rank_hits.resize(ranks_.size(), 0);
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    sequence.rank_hits[rank] += result->rank_hits[rank];
  }
}

void Scheduler::match_homes(ScheduledStep* step) {
  if (!options_.match_homes) return;
  std::vector<Sequence*> candidates;
  for (const auto& [order, sequence] : running_) {
    const bool prompt_done = sequence->decoding() && !sequence->entry()->emitted.empty();
    if (prompt_done && !sequence->rank_hits.empty()) candidates.push_back(sequence);
  }
  // Whoever finds no room stays, so a rank may get one more than its share: rows must allow it.
  if (candidates.empty() || running() > options_.max_rank_step_tokens) return;
  // Who gains most chooses first; ties in order of acceptance.
  const auto gain = [](const Sequence* sequence) {
    const auto& hits = sequence->rank_hits;
    return *std::max_element(hits.begin(), hits.end()) - hits[static_cast<size_t>(sequence->home)];
  };
  std::sort(candidates.begin(), candidates.end(), [&](const Sequence* a, const Sequence* b) {
    return std::pair(-gain(a), a->order()) < std::pair(-gain(b), b->order());
  });
  // All candidates are taken off their ranks first, so that they can change places with one
  // another.
  const int32_t most = (running() + ranks() - 1) / ranks();
  std::vector<int32_t> kept;
  for (const Rank& rank : ranks_) kept.push_back(rank.running);
  for (const Sequence* sequence : candidates) --kept[static_cast<size_t>(sequence->home)];
  for (Sequence* sequence : candidates) {
    const std::vector<int64_t> hits = std::exchange(sequence->rank_hits, {});
    const auto home = static_cast<size_t>(sequence->home);
    size_t best = home;
    bool better = kept[home] >= most;  // full: any other rank will do
    for (size_t r = 0; r < ranks_.size(); ++r) {
      const BlockLedger& ledger = ranks_[r].ledger;
      const bool room = kept[r] < most && ledger.available() > blocks_for(sequence->length()) + 1;
      const bool gains =
          static_cast<double>(hits[r]) > kLeastGain * static_cast<double>(hits[home]);
      if (r == home || !room || !(better || gains)) continue;
      if (best == home || hits[r] > hits[best]) best = r;
      better = better || gains;
    }
    ++kept[best];
    if (best != home) move_home(*sequence, static_cast<int32_t>(best), step);
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
