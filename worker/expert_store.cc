#include "worker/expert_store.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {

ExpertPins& ExpertPins::operator=(ExpertPins&& other) noexcept {
  if (this != &other) {
    release();
    store_ = std::exchange(other.store_, nullptr);
    layer_ = other.layer_;
    experts_ = other.experts_;
  }
  return *this;
}

void ExpertPins::release() {
  if (store_ != nullptr) store_->unpin(layer_, experts_);
  store_ = nullptr;
}

const kernels::ExpertWeights* ExpertPins::weights(size_t index) const {
  return &store_->entry(layer_, experts_[index]).weights;
}

ExpertStore::ExpertStore(const Options& options, std::unique_ptr<ExpertBacking> backing)
    : experts_(options.experts),
      slot_bytes_(align_region(options.slot_bytes)),
      backing_(std::move(backing)),
      entries_(options.placed.size() * static_cast<size_t>(options.experts)) {
  for (size_t layer = 0; layer < options.placed.size(); ++layer) {
    for (const int32_t expert : options.placed[layer]) {
      entry(static_cast<int32_t>(layer), expert).placed = true;
    }
  }
}

absl::StatusOr<std::unique_ptr<ExpertStore>> ExpertStore::create(
    const Options& options, std::unique_ptr<ExpertBacking> backing) {
  uint64_t placed = 0;
  for (const auto& experts : options.placed) placed += experts.size();
  std::unique_ptr<ExpertStore> store(new ExpertStore(options, std::move(backing)));
  if (placed == 0 && options.extra_slots == 0) return store;
  uint64_t slots = std::min(placed, options.budget_bytes / store->slot_bytes_);
  if (slots == 0 && placed > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("the expert budget of ", options.budget_bytes, " bytes holds no expert of ",
                     store->slot_bytes_, " bytes; raise it"));
  }
  store->evicts_ = slots < placed;
  slots += static_cast<uint64_t>(options.extra_slots);
  ASSIGN_OR_RETURN(store->memory_, HostRegion::create(slots * store->slot_bytes_, "experts"));
  store->free_slots_.reserve(slots);
  for (uint64_t slot = slots; slot > 0; --slot) {
    store->free_slots_.push_back(static_cast<int32_t>(slot - 1));
  }
  return store;
}

absl::StatusOr<ExpertPins> ExpertStore::acquire(int32_t moe_layer,
                                                std::span<const int32_t> experts) {
  for (size_t i = 0; i < experts.size(); ++i) {
    Entry& wanted = entry(moe_layer, experts[i]);
    absl::Status status = absl::OkStatus();
    if (wanted.slot >= 0) {
      ++counters_.hits;
    } else {
      ++counters_.misses;
      status = make_resident(moe_layer, experts[i]);
    }
    if (!status.ok()) {
      unpin(moe_layer, experts.first(i));
      return status;
    }
    ++wanted.pins;
    wanted.last_use = ++clock_;
  }
  return ExpertPins(this, moe_layer, experts);
}

absl::Status ExpertStore::prefetch(int32_t moe_layer, std::span<const int32_t> experts) {
  for (const int32_t expert : experts) {
    Entry& wanted = entry(moe_layer, expert);
    if (!wanted.placed || wanted.slot >= 0) continue;
    const absl::Status status = make_resident(moe_layer, expert);
    if (absl::IsResourceExhausted(status)) return absl::OkStatus();
    RETURN_IF_ERROR(status);
    wanted.last_use = ++clock_;
    ++counters_.prefetched;
  }
  return absl::OkStatus();
}

void ExpertStore::evict_to(uint64_t bytes) {
  while (resident_bytes() > bytes && evict_one()) {
  }
}

absl::Status ExpertStore::make_resident(int32_t layer, int32_t expert) {
  Entry& wanted = entry(layer, expert);
  if (!wanted.placed) {
    return absl::NotFoundError(absl::StrCat("expert ", expert, " of MoE layer ", layer,
                                            " is not placed on this rank"));
  }
  if (free_slots_.empty() && !evict_one()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all ", resident_, " expert slots are pinned; raise the expert budget"));
  }
  const int32_t slot = free_slots_.back();
  absl::StatusOr<kernels::ExpertWeights> loaded =
      backing_->load(layer, expert, memory_.data() + static_cast<size_t>(slot) * slot_bytes_);
  RETURN_IF_ERROR(loaded.status());
  free_slots_.pop_back();
  wanted.weights = *loaded;
  wanted.slot = slot;
  ++resident_;
  return absl::OkStatus();
}

bool ExpertStore::evict_one() {
  Entry* oldest = nullptr;
  for (Entry& candidate : entries_) {
    if (candidate.slot < 0 || candidate.pins > 0) continue;
    if (oldest == nullptr || candidate.last_use < oldest->last_use) oldest = &candidate;
  }
  if (oldest == nullptr) return false;
  free_slots_.push_back(oldest->slot);
  oldest->slot = -1;
  --resident_;
  ++counters_.evicted;
  return true;
}

absl::StatusOr<int32_t> ExpertStore::reserve_slot() {
  if (free_slots_.empty() && !(evicts_ && evict_one())) {
    return absl::ResourceExhaustedError(
        absl::StrCat("all expert slots of this rank are taken (", resident_,
                     " experts are resident); start with more --expert-slots"));
  }
  const int32_t slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

absl::StatusOr<kernels::ExpertWeights> ExpertStore::load_into(int32_t slot, int32_t moe_layer,
                                                              int32_t expert) {
  return backing_->load(moe_layer, expert,
                        memory_.data() + static_cast<size_t>(slot) * slot_bytes_);
}

void ExpertStore::adopt(int32_t moe_layer, int32_t expert, int32_t slot,
                        const kernels::ExpertWeights& weights) {
  Entry& adopted = entry(moe_layer, expert);
  adopted.placed = true;
  adopted.slot = slot;
  adopted.weights = weights;
  adopted.last_use = ++clock_;
  ++resident_;
}

void ExpertStore::drop(int32_t moe_layer, int32_t expert) {
  Entry& dropped = entry(moe_layer, expert);
  dropped.placed = false;
  if (dropped.slot < 0) return;
  free_slots_.push_back(dropped.slot);
  dropped.slot = -1;
  --resident_;
}

void ExpertStore::unpin(int32_t layer, std::span<const int32_t> experts) {
  for (const int32_t expert : experts) --entry(layer, expert).pins;
}

}  // namespace conclave::worker
