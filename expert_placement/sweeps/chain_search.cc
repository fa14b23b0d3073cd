#include "expert_placement/sweeps/chain_search.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>
#include <optional>
#include <thread>
#include <vector>

#include "expert_placement/sweeps/local_search.h"
#include "expert_placement/sweeps/recombine.h"

namespace conclave::placement {
namespace {

constexpr double kLooksPerSwap = 20000;  // so many find all there is in a small instance
constexpr double kLooksPerExpert = 500;  // of one run: long ones all end in the widest valley
constexpr int64_t kMostMembers = 40;
constexpr double kFoundersShare = 0.4;  // of the seconds; of the work at most half of that
constexpr double kHotAgain = 0.4;       // groups change places, but are not torn apart
constexpr int64_t kFewDiffering = 5;    // two members that differ by less are one

struct Member {
  Assignment assignment;
  double kept = 0, excess = 0;
  bool better_than(const Member& other) const {
    return excess != other.excess ? excess < other.excess : kept > other.kept;
  }
};

// One annealing run to make: from what, of which experts.
struct Run {
  Assignment from;
  FreeExperts free;
  double hot = 1;
  uint64_t seed = 1;
};

class Population {
 public:
  Population(const ChainInstance& instance, const Assignment& start, const SearchClock& clock,
             uint64_t seed, const ChainSearchOptions& options);

  // Annealed anew from the start, until there are as many as the budget allows.
  void found();
  // One round: members meet in pairs, a child takes the place of the parent that it beats.
  void recombine();
  bool goes_on() const { return work_ < budget_ && !clock_.expired() && members_.size() > 1; }
  const Member& best() const { return best_; }

 private:
  Run fresh();
  std::vector<std::optional<Member>> make(const std::vector<Run>& runs, const SearchClock& clock,
                                          double most_seconds);
  Member make_one(const Run& run, const SearchClock& own, ChainState* state) const;
  void note(const Member& member) {
    if (member.better_than(best_)) best_ = member;
  }
  double cost(const Run& run) const {
    return kLooksPerExpert * static_cast<double>(count(run.free)) + swaps_;
  }

  const ChainInstance& instance_;
  const Assignment& start_;
  const SearchClock& clock_;
  const double swaps_;   // there are, in all layers
  const double budget_;  // proposals
  double work_ = 0;
  Random random_;
  std::vector<ChainState> states_;  // of each thread
  Member best_;
  std::vector<Member> members_;
};

Population::Population(const ChainInstance& instance, const Assignment& start,
                       const SearchClock& clock, uint64_t seed, const ChainSearchOptions& options)
    : instance_(instance),
      start_(start),
      clock_(clock),
      swaps_(0.5 * instance.layers * instance.experts *
             std::accumulate(instance.slots.begin(), instance.slots.end(), 0)),
      budget_(std::min(options.proposals_per_second * clock.seconds() * options.threads,
                       kLooksPerSwap * swaps_)),
      random_(seed),
      states_(static_cast<size_t>(std::max(1, options.threads)), ChainState(instance, start)),
      best_{start, kept_weight(instance, start), excess_load(instance, start)} {}

Run Population::fresh() { return {start_, all_experts(instance_), 1, random_.next()}; }

Member Population::make_one(const Run& run, const SearchClock& own, ChainState* state) const {
  AnnealOptions options;
  options.proposals = static_cast<int64_t>(kLooksPerExpert * static_cast<double>(count(run.free)));
  options.hot = run.hot;
  options.cold = 0.01;
  options.seed = run.seed;
  state->reset(run.from);
  anneal(options, run.free, own, state);
  relabel_suffixes(state);
  repair(state);
  polish(clock_, state);
  Member made{state->assignment()};
  made.kept = kept_weight(instance_, made.assignment);
  made.excess = excess_load(instance_, made.assignment);
  return made;
}

// The runs on all threads, each begun while the clock runs and cooled down when it, or its own
// most_seconds, ends. Which thread makes which changes nothing.
std::vector<std::optional<Member>> Population::make(const std::vector<Run>& runs,
                                                    const SearchClock& clock, double most_seconds) {
  std::vector<std::optional<Member>> made(runs.size());
  std::atomic<size_t> next = 0;
  const auto work = [&](ChainState* state) {
    for (size_t i = next++; i < runs.size() && !clock.expired(); i = next++)
      made[i] = make_one(runs[i], clock.limited(most_seconds), state);
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < std::min(states_.size(), runs.size()); ++i)
    others.emplace_back(work, &states_[i]);
  work(&states_[0]);
  for (std::thread& other : others) other.join();
  for (const Run& run : runs) work_ += cost(run);
  return made;
}

void Population::found() {
  const double one = kLooksPerExpert * instance_.layers * instance_.experts + swaps_;
  const auto wanted = static_cast<int64_t>(0.5 * kFoundersShare * budget_ / one);
  std::vector<Run> runs;
  for (int64_t i = 0; i < std::clamp<int64_t>(wanted, 2, kMostMembers); ++i)
    runs.push_back(fresh());
  const SearchClock founding = clock_.part(kFoundersShare);
  for (std::optional<Member>& member : make(runs, founding, 0.5 * founding.seconds())) {
    if (member) members_.push_back(*std::move(member));
  }
  for (const Member& member : members_) note(member);
}

void Population::recombine() {
  for (size_t i = members_.size() - 1; i > 0; --i)
    std::swap(members_[i], members_[random_.below(static_cast<uint32_t>(i + 1))]);
  std::vector<Run> runs;
  for (size_t i = 0; i + 1 < members_.size(); i += 2) {
    Member& better = members_[i];
    Member& worse = members_[i + 1];
    if (worse.better_than(better)) std::swap(better, worse);
    align_ranks(instance_, better.assignment, &worse.assignment);
    FreeExperts free = differing(instance_, better.assignment, worse.assignment);
    if (count(free) <= kFewDiffering) {
      worse = Member{start_, 0, std::numeric_limits<double>::infinity()};
      runs.push_back(fresh());
    } else {
      runs.push_back({better.assignment, std::move(free), kHotAgain, random_.next()});
    }
  }
  const std::vector<std::optional<Member>> children = make(runs, clock_, clock_.seconds());
  for (size_t i = 0; i < children.size(); ++i) {
    if (!children[i]) continue;
    Member& better = members_[2 * i];
    Member& worse = members_[2 * i + 1];
    if (children[i]->better_than(better)) {
      better = *children[i];
    } else if (children[i]->better_than(worse)) {
      worse = *children[i];
    }
    note(*children[i]);
  }
}

}  // namespace

Assignment search_chain(const ChainInstance& instance, const Assignment& start,
                        const SearchClock& clock, uint64_t seed,
                        const ChainSearchOptions& options) {
  if (instance.ranks() < 2 || clock.expired()) return start;
  Population population(instance, start, clock, seed, options);
  population.found();
  while (population.goes_on()) population.recombine();
  return population.best().assignment;
}

}  // namespace conclave::placement
