#ifndef CONCLAVE_WORKER_PLACEMENT_SWITCHER_H_
#define CONCLAVE_WORKER_PLACEMENT_SWITCHER_H_

// One rank's side of a placement epoch: loads the experts that an update brings into spare slots on
// a thread of its own while steps run, and switches between two steps by changing who owns which
// slot. No weights are copied or read in a switch.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "expert_placement/table/placement_table.h"
#include "protocol/placement_update.h"
#include "worker/expert_store.h"

namespace conclave::worker {

class PlacementSwitcher {
 public:
  struct Parts {  // all outlive the switcher
    ExpertStore* experts = nullptr;
    int32_t rank = 0;
    // Called on the loading thread when an update is ready, or cannot be made ready.
    std::function<void(const protocol::Prepared&)> on_prepared;
  };
  // holders: [moe layers][experts] of the table in force. change: called in switch_to() for each
  // layer that changes, with the new holders of all its experts.
  using Change =
      std::function<void(int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders)>;
  PlacementSwitcher(Parts parts, const placement::PlacementTable& table, Change change);
  ~PlacementSwitcher();
  PlacementSwitcher(const PlacementSwitcher&) = delete;
  PlacementSwitcher& operator=(const PlacementSwitcher&) = delete;

  // The following are for the step thread, between steps.

  // Begins to load; a former update that is not in force is given up. INVALID_ARGUMENT: not of this
  // shape. What else is wrong (no slot, a bad file) goes to on_prepared: the table in force is
  // still good.
  absl::Status prepare(protocol::PlacementUpdate update);
  // FAILED_PRECONDITION: the epoch is neither in force nor loaded.
  absl::Status switch_to(int64_t epoch);
  int64_t epoch() const { return epoch_; }

 private:
  struct Arrival {
    int32_t layer = 0;
    int32_t expert = 0;
    int32_t slot = -1;
    kernels::ExpertWeights weights;
  };
  absl::Status check(const protocol::PlacementUpdate& update) const;
  void load();
  void give_up();

  Parts parts_;
  Change change_;
  int32_t layers_;
  int32_t experts_;
  int32_t ranks_;
  int64_t epoch_;
  protocol::PlacementUpdate update_;  // epoch -1: none
  std::vector<Arrival> arrivals_;     // of the loading thread until loaded_
  std::thread thread_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> loaded_{false};
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_PLACEMENT_SWITCHER_H_
