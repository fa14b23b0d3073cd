#include "coordinator/engine/placement_rollout.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

bool holds(std::span<const int32_t> holders, int32_t rank) {
  return std::find(holders.begin(), holders.end(), rank) != holders.end();
}

std::optional<protocol::LayerPlacement> changed_layer(const placement::PlacementTable& from,
                                                      const placement::PlacementTable& target,
                                                      int32_t layer) {
  protocol::LayerPlacement change{layer, {}};
  bool differs = false;
  for (int32_t expert = 0; expert < from.experts(); ++expert) {
    const auto before = from.holders(layer, expert);
    const auto after = target.holders(layer, expert);
    differs = differs || !std::equal(before.begin(), before.end(), after.begin(), after.end());
    change.holders.emplace_back(after.begin(), after.end());
  }
  if (!differs) return std::nullopt;
  return change;
}

}  // namespace

int64_t arriving_experts(const placement::PlacementTable& from,
                         const placement::PlacementTable& target) {
  int64_t arriving = 0;
  for (int32_t layer = 0; layer < from.layers(); ++layer) {
    for (int32_t expert = 0; expert < from.experts(); ++expert) {
      for (const int32_t rank : target.holders(layer, expert)) {
        arriving += holds(from.holders(layer, expert), rank) ? 0 : 1;
      }
    }
  }
  return arriving;
}

void PlacementRollout::group_ready(int32_t slots, int32_t spare_slots) {
  slots_ = slots;
  spare_slots_ = spare_slots;
}

void PlacementRollout::reset() {
  stages_.clear();
  state_ = State::kIdle;
  slots_ = 0;
}

absl::Status PlacementRollout::check(const placement::PlacementTable& target) const {
  RETURN_IF_ERROR(target.check_fits(table_.moe_layers(), table_.experts(), table_.ranks(),
                                    table_.model_fingerprint()));
  if (slots_ == 0) {
    return absl::FailedPreconditionError("the worker group is not ready; try again in a moment");
  }
  if (state_ != State::kIdle) {
    return absl::FailedPreconditionError(
        absl::StrCat("a placement is being applied already (", stages_.size(),
                     " stages are left); wait until it is in force"));
  }
  for (int32_t layer = 0; layer < target.layers(); ++layer) {
    for (int32_t rank = 0; rank < target.ranks(); ++rank) {
      const size_t held = target.experts_of(layer, rank).size();
      if (held <= static_cast<size_t>(slots_)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the table puts ", held, " experts of MoE layer ", layer, " on rank ", rank,
                       ", which has ", slots_,
                       " slots a layer; use fewer replicas or start with more "
                       "--expert-slots"));
    }
  }
  return absl::OkStatus();
}

int32_t PlacementRollout::most_arrivals(const protocol::LayerPlacement& layer, int32_t rank) const {
  int32_t arrivals = 0;
  for (int32_t expert = 0; expert < table_.experts(); ++expert) {
    const auto& after = layer.holders[static_cast<size_t>(expert)];
    if (holds(after, rank) && !holds(table_.holders(layer.moe_layer, expert), rank)) ++arrivals;
  }
  return arrivals;
}

absl::Status PlacementRollout::begin(const placement::PlacementTable& target) {
  RETURN_IF_ERROR(check(target));
  failure_.clear();
  // As many layers in one stage as the spare slots of every rank allow.
  std::vector<int32_t> arrivals;
  for (int32_t layer = 0; layer < table_.layers(); ++layer) {
    std::optional<protocol::LayerPlacement> change = changed_layer(table_, target, layer);
    if (!change) continue;
    std::vector<int32_t> more;
    for (int32_t rank = 0; rank < table_.ranks(); ++rank)
      more.push_back(most_arrivals(*change, rank));
    bool fits = !stages_.empty();
    for (size_t rank = 0; fits && rank < more.size(); ++rank) {
      fits = arrivals[rank] + more[rank] <= spare_slots_;
    }
    if (fits) {
      for (size_t rank = 0; rank < more.size(); ++rank) arrivals[rank] += more[rank];
    } else {
      stages_.emplace_back();
      arrivals = std::move(more);
    }
    stages_.back().push_back(*std::move(change));
  }
  if (!stages_.empty()) state_ = State::kToTell;
  return absl::OkStatus();
}

bool PlacementRollout::has_news() const {
  return state_ == State::kToTell || state_ == State::kToSwitch || state_ == State::kToCancel;
}

void PlacementRollout::annotate(protocol::StepPlan* plan) {
  plan->placement_epoch = table_.epoch();
  if (state_ == State::kToTell) {
    plan->prepare = protocol::PlacementUpdate{table_.epoch() + 1, stages_.front()};
    ready_.assign(static_cast<size_t>(table_.ranks()), false);
    ready_count_ = 0;
    state_ = State::kLoading;
  } else if (state_ == State::kToSwitch) {
    plan->placement_epoch = table_.epoch() + 1;
    state_ = State::kSwitching;
  } else if (state_ == State::kToCancel) {
    plan->prepare = protocol::PlacementUpdate{table_.epoch() + 1, {}};
    state_ = State::kIdle;
    stages_.clear();
  }
}

void PlacementRollout::prepared(int32_t rank, const protocol::Prepared& answer) {
  if (state_ != State::kLoading || answer.epoch != table_.epoch() + 1) return;
  if (!answer.error.empty()) {
    failure_ = absl::StrCat("rank ", rank, " could not prepare placement epoch ", answer.epoch,
                            ": ", answer.error);
    state_ = State::kToCancel;
    return;
  }
  if (ready_[static_cast<size_t>(rank)]) return;
  ready_[static_cast<size_t>(rank)] = true;
  if (++ready_count_ == table_.ranks()) state_ = State::kToSwitch;
}

bool PlacementRollout::step_finished() {
  if (state_ != State::kSwitching) return false;
  const int64_t epoch = table_.epoch() + 1;
  for (const protocol::LayerPlacement& layer : stages_.front()) {
    table_ = table_.with_layer(layer.moe_layer, layer.holders);
  }
  table_.set_epoch(epoch);
  stages_.erase(stages_.begin());
  state_ = stages_.empty() ? State::kIdle : State::kToTell;
  return true;
}

}  // namespace conclave::coordinator
