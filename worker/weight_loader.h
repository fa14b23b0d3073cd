#ifndef CONCLAVE_WORKER_WEIGHT_LOADER_H_
#define CONCLAVE_WORKER_WEIGHT_LOADER_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "expert_placement/table/placement_table.h"
#include "kernels/kernel_set.h"
#include "model/model_spec.h"
#include "model/weights.h"
#include "worker/expert_store.h"
#include "worker/model_weights.h"

namespace conclave::worker {

struct LoadRequest {
  const model::ModelSpec* spec = nullptr;
  std::shared_ptr<const model::Weights> weights;  // kept by the expert store as its backing
  const kernels::KernelSet* kernels = nullptr;    // outlives the result
  const placement::PlacementTable* placement = nullptr;
  int32_t rank = 0;
  uint64_t expert_budget_bytes = UINT64_MAX;
  int32_t extra_expert_slots = 0;  // beyond the experts placed now, for later placements
  // Bytes of weight files done and to do for this rank; called after each tensor. An error stops the loading.
  std::function<absl::Status(uint64_t done, uint64_t total)> progress;
};

struct LoadedWeights {
  ModelWeights model;
  std::unique_ptr<ExpertStore> experts;
  uint64_t bytes = 0;  // resident, experts included
};

// Packs the shared weights and this rank's experts, tensor by tensor. Peak memory stays near the size of
// the result. UNIMPLEMENTED when the kernel set does not support a shape of the model.
absl::StatusOr<LoadedWeights> load_weights(const LoadRequest& request);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_WEIGHT_LOADER_H_
