#ifndef CONCLAVE_WORKER_EXPERT_STORE_H_
#define CONCLAVE_WORKER_EXPERT_STORE_H_

// Which expert weights of this rank are resident, behind a slot table: the only way to reach an expert is
// to pin it. With a budget for all placed experts nothing ever leaves; with a smaller one the least
// recently used unpinned expert makes room and comes back from the backing when it is asked for.
// Used by the step thread alone, but for load_into().

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/kernel_set.h"
#include "worker/host_region.h"

namespace conclave::worker {

// The tier below: writes one expert into a slot of slot_bytes (64-byte aligned).
class ExpertBacking {
 public:
  virtual ~ExpertBacking() = default;
  // Thread-safe.
  virtual absl::StatusOr<kernels::ExpertWeights> load(int32_t moe_layer, int32_t expert,
                                                      std::byte* slot) = 0;
};

class ExpertStore;

// Keeps experts resident while it lives. Move-only; must not outlive the store nor the span it was made of.
class ExpertPins {
 public:
  ExpertPins() = default;
  ExpertPins(ExpertPins&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), layer_(other.layer_), experts_(other.experts_) {}
  ExpertPins& operator=(ExpertPins&& other) noexcept;
  ~ExpertPins() { release(); }
  void release();
  // Weights of the index-th expert of the span given to acquire().
  const kernels::ExpertWeights* weights(size_t index) const;

 private:
  friend class ExpertStore;
  ExpertPins(ExpertStore* store, int32_t layer, std::span<const int32_t> experts)
      : store_(store), layer_(layer), experts_(experts) {}
  ExpertStore* store_ = nullptr;
  int32_t layer_ = 0;
  std::span<const int32_t> experts_;
};

class ExpertStore {
 public:
  struct Options {
    int32_t experts = 0;                        // per layer in the model
    std::vector<std::vector<int32_t>> placed;   // [moe layers]: experts of this rank, ascending
    size_t slot_bytes = 0;                      // of one packed expert
    uint64_t budget_bytes = UINT64_MAX;         // slots that fit, at most one an expert
    int32_t extra_slots = 0;                    // on top, for experts that a new placement brings
  };
  struct Counters {
    int64_t hits = 0;
    int64_t misses = 0;
    int64_t prefetched = 0;
    int64_t evicted = 0;
  };

  // INVALID_ARGUMENT: experts are placed here but the budget holds none; RESOURCE_EXHAUSTED: no memory.
  static absl::StatusOr<std::unique_ptr<ExpertStore>> create(const Options& options,
                                                             std::unique_ptr<ExpertBacking> backing);

  // Pins every expert of the list (no duplicates), loading what is missing. NOT_FOUND: not placed here;
  // RESOURCE_EXHAUSTED: more pinned than the budget holds. On error nothing stays pinned.
  absl::StatusOr<ExpertPins> acquire(int32_t moe_layer, std::span<const int32_t> experts);
  // Makes experts resident where an unpinned slot can be had; experts of other ranks are passed over.
  absl::Status prefetch(int32_t moe_layer, std::span<const int32_t> experts);
  // Drops least recently used unpinned experts until at most `bytes` are resident, or only pinned ones are.
  void evict_to(uint64_t bytes);

  // --- a new placement, experts loaded before they are placed here (PlacementSwitcher).
  // A slot that no expert has. RESOURCE_EXHAUSTED: none is left (with a budget smaller than what is placed,
  // an expert is evicted for it).
  absl::StatusOr<int32_t> reserve_slot();
  void return_slot(int32_t slot) { free_slots_.push_back(slot); }
  // Any thread.
  absl::StatusOr<kernels::ExpertWeights> load_into(int32_t slot, int32_t moe_layer, int32_t expert);
  // The expert in a reserved slot is placed here from now on.
  void adopt(int32_t moe_layer, int32_t expert, int32_t slot, const kernels::ExpertWeights& weights);
  // The expert, which must not be pinned, is not placed here any more.
  void drop(int32_t moe_layer, int32_t expert);

  bool placed(int32_t moe_layer, int32_t expert) const { return entry(moe_layer, expert).placed; }
  bool resident(int32_t moe_layer, int32_t expert) const { return entry(moe_layer, expert).slot >= 0; }
  uint64_t resident_bytes() const { return resident_ * slot_bytes_; }
  size_t slot_bytes() const { return slot_bytes_; }
  size_t free_slots() const { return free_slots_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  friend class ExpertPins;
  struct Entry {
    bool placed = false;
    int32_t slot = -1;
    int32_t pins = 0;
    uint64_t last_use = 0;
    kernels::ExpertWeights weights;
  };

  ExpertStore(const Options& options, std::unique_ptr<ExpertBacking> backing);
  const Entry& entry(int32_t layer, int32_t expert) const {
    return entries_[static_cast<size_t>(layer) * experts_ + expert];
  }
  Entry& entry(int32_t layer, int32_t expert) {
    return entries_[static_cast<size_t>(layer) * experts_ + expert];
  }
  absl::Status make_resident(int32_t layer, int32_t expert);
  bool evict_one();
  void unpin(int32_t layer, std::span<const int32_t> experts);

  int32_t experts_;
  size_t slot_bytes_;
  std::unique_ptr<ExpertBacking> backing_;
  HostRegion memory_;
  std::vector<Entry> entries_;
  std::vector<int32_t> free_slots_;
  bool evicts_ = false;  // fewer slots than placed experts
  uint64_t resident_ = 0;
  uint64_t clock_ = 0;
  Counters counters_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXPERT_STORE_H_
