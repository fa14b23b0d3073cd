#include "worker/placement_switcher.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int kLoaderNice = 10;  // steps go first

bool contains(const std::vector<int32_t>& ranks, int32_t rank) {
  return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
}

}  // namespace

PlacementSwitcher::PlacementSwitcher(Parts parts, const placement::PlacementTable& table,
                                     Change change)
    : parts_(std::move(parts)),
      change_(std::move(change)),
      layers_(table.layers()),
      experts_(table.experts()),
      ranks_(table.ranks()),
      epoch_(table.epoch()) {
  update_.epoch = -1;
}

PlacementSwitcher::~PlacementSwitcher() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
}

absl::Status PlacementSwitcher::check(const protocol::PlacementUpdate& update) const {
  for (const protocol::LayerPlacement& layer : update.layers) {
    if (layer.moe_layer < 0 || layer.moe_layer >= layers_ ||
        layer.holders.size() != static_cast<size_t>(experts_)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the placement update of epoch ", update.epoch, " names ",
                       layer.holders.size(), " experts of MoE layer ", layer.moe_layer,
                       "; the model has ", layers_, " layers of ", experts_));
    }
    for (const std::vector<int32_t>& holders : layer.holders) {
      const bool good = !holders.empty() && holders.front() >= 0 && holders.back() < ranks_ &&
                        std::is_sorted(holders.begin(), holders.end());
      if (good) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("the placement update of epoch ", update.epoch,
                       " holds an expert on no rank, or on one that is not in 0..", ranks_ - 1));
    }
  }
  return absl::OkStatus();
}

absl::Status PlacementSwitcher::prepare(protocol::PlacementUpdate update) {
  RETURN_IF_ERROR(check(update));
  give_up();
  if (update.layers.empty()) return absl::OkStatus();
  update_ = std::move(update);
  absl::Status status;
  for (const protocol::LayerPlacement& layer : update_.layers) {
    for (int32_t expert = 0; expert < experts_ && status.ok(); ++expert) {
      const bool here = contains(layer.holders[static_cast<size_t>(expert)], parts_.rank);
      if (!here || parts_.experts->placed(layer.moe_layer, expert)) continue;
      const absl::StatusOr<int32_t> slot = parts_.experts->reserve_slot();
      status = slot.status();
      if (slot.ok()) arrivals_.push_back({layer.moe_layer, expert, *slot, {}});
    }
  }
  if (!status.ok()) {
    const protocol::Prepared answer{update_.epoch, std::string(status.message()), 0, 0};
    give_up();
    parts_.on_prepared(answer);
    return absl::OkStatus();
  }
  thread_ = std::thread([this] { load(); });
  return absl::OkStatus();
}

void PlacementSwitcher::load() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kLoaderNice);
  const auto begin = std::chrono::steady_clock::now();
  protocol::Prepared answer;
  answer.epoch = update_.epoch;
  for (Arrival& arrival : arrivals_) {
    if (stop_) return;
    const absl::StatusOr<kernels::ExpertWeights> weights =
        parts_.experts->load_into(arrival.slot, arrival.layer, arrival.expert);
    if (!weights.ok()) {
      answer.error = std::string(weights.status().message());
      break;
    }
    arrival.weights = *weights;
    answer.bytes += parts_.experts->slot_bytes();
  }
  answer.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  loaded_ = answer.error.empty();
  parts_.on_prepared(answer);
}

void PlacementSwitcher::give_up() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  stop_ = false;
  loaded_ = false;
  for (const Arrival& arrival : arrivals_) parts_.experts->return_slot(arrival.slot);
  arrivals_.clear();
  update_ = {-1, {}};
}

absl::Status PlacementSwitcher::switch_to(int64_t epoch) {
  if (epoch == epoch_) return absl::OkStatus();
  if (epoch != update_.epoch || !loaded_) {
    return absl::FailedPreconditionError(absl::StrCat(
        "the plan wants placement epoch ", epoch, ", but epoch ", epoch_, " is in force and ",
        loaded_ ? absl::StrCat(update_.epoch) : "none", " is loaded"));
  }
  thread_.join();
  for (const Arrival& arrival : arrivals_) {
    parts_.experts->adopt(arrival.layer, arrival.expert, arrival.slot, arrival.weights);
  }
  for (const protocol::LayerPlacement& layer : update_.layers) {
    for (int32_t expert = 0; expert < experts_; ++expert) {
      if (contains(layer.holders[static_cast<size_t>(expert)], parts_.rank)) continue;
      if (parts_.experts->placed(layer.moe_layer, expert)) {
        parts_.experts->drop(layer.moe_layer, expert);
      }
    }
    change_(layer.moe_layer, layer.holders);
  }
  epoch_ = epoch;
  arrivals_.clear();
  update_ = {-1, {}};
  loaded_ = false;
  return absl::OkStatus();
}

}  // namespace conclave::worker
