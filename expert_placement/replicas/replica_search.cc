#include "expert_placement/replicas/replica_search.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>

namespace conclave::placement {
namespace {

using Edit = ReplicaState::Edit;
constexpr int64_t kNever = std::numeric_limits<int64_t>::min();

struct Candidate {
  int64_t change = 0;  // as of the last look
  int32_t layer = 0, expert = 0, rank = 0;
  int64_t seen = 0;                               // number of copies made when it was looked at
  bool operator<(const Candidate& other) const {  // the queue's top saves most
    return std::tie(change, layer, expert, rank) >
           std::tie(other.change, other.layer, other.expert, other.rank);
  }
};

void fill_memory(const SearchClock& clock, ReplicaState* state) {
  std::priority_queue<Candidate> queue;
  for (int32_t layer = 0; layer < state->layers(); ++layer) {
    for (int32_t expert = 0; expert < state->experts(); ++expert) {
      if (clock.expired()) return;
      for (int32_t rank = 0; rank < state->ranks(); ++rank) {
        const Edit edit{expert, rank, true};
        const auto trial = state->attempt(layer, {&edit, 1}, kNever);
        if (trial.possible && trial.change < 0) queue.push({trial.change, layer, expert, rank, 0});
      }
    }
  }
  for (int64_t made = 0; !queue.empty() && !clock.expired();) {
    Candidate best = queue.top();
    queue.pop();
    const Edit edit{best.expert, best.rank, true};
    const bool fresh = best.seen == made;
    const auto trial = state->attempt(best.layer, {&edit, 1}, fresh ? -1 : kNever);
    if (trial.accepted) {
      ++made;
    } else if (trial.possible && trial.change < 0 && !fresh) {
      best.change = trial.change;
      best.seen = made;
      queue.push(best);
    }
  }
}

class Improver {
 public:
  Improver(uint64_t seed, ReplicaState* state) : random_(seed), state_(state) {}

  void run(const SearchClock& clock, int64_t proposals) {
    for (int64_t step = 0; step < proposals; ++step) {
      if (step % 16 == 0 && clock.expired()) return;
      if (step % 3 == 0) {
        relocate();
      } else {
        exchange();
      }
    }
  }

 private:
  int32_t below(int32_t n) { return static_cast<int32_t>(random_.below(static_cast<uint32_t>(n))); }
  int32_t holder(int32_t layer, int32_t expert) {
    int32_t skip = below(state_->copies(layer, expert));
    for (int32_t rank = 0;; ++rank) {
      if (state_->holds(layer, expert, rank) && skip-- == 0) return rank;
    }
  }
  // A copy on each of two ranks changes places.
  void exchange() {
    const int32_t layer = below(state_->layers());
    const int32_t a = below(state_->experts()), b = below(state_->experts());
    const int32_t at_a = holder(layer, a), at_b = holder(layer, b);
    if (a == b || at_a == at_b) return;
    const Edit edits[] = {{a, at_b, true}, {b, at_a, true}, {a, at_a, false}, {b, at_b, false}};
    state_->attempt(layer, edits, 0);
  }
  // An extra copy gives its memory to a copy of another expert, in any layer.
  void relocate() {
    const int32_t from_layer = below(state_->layers()), expert = below(state_->experts());
    if (state_->copies(from_layer, expert) < 2) return;
    const int32_t rank = holder(from_layer, expert);
    const Edit drop{expert, rank, false};
    const auto dropped =
        state_->attempt(from_layer, {&drop, 1}, std::numeric_limits<int64_t>::max());
    if (!dropped.accepted) return;
    for (int tries = 0; tries < 4; ++tries) {
      const Edit add{below(state_->experts()), rank, true};
      if (state_->attempt(below(state_->layers()), {&add, 1}, -dropped.change - 1).accepted) return;
    }
    const Edit back{expert, rank, true};
    state_->attempt(from_layer, {&back, 1}, std::numeric_limits<int64_t>::max());
  }

  Random random_;
  ReplicaState* state_;
};

}  // namespace

void search_replicas(const SearchClock& clock, uint64_t seed, double proposals_per_second,
                     ReplicaState* state) {
  fill_memory(clock, state);
  Improver(seed, state).run(clock, static_cast<int64_t>(proposals_per_second * clock.seconds()));
  fill_memory(clock, state);
}

}  // namespace conclave::placement
