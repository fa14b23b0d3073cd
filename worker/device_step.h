#ifndef CONCLAVE_WORKER_DEVICE_STEP_H_
#define CONCLAVE_WORKER_DEVICE_STEP_H_

// What a step's kernels read of its plan: one block of bytes, built in pinned memory and copied to
// the device in one go. Its front has a fixed layout for given bounds, so that captured graphs find
// everything where it was; block tables and penalties of any length follow behind it. There are two
// pinned blocks, used in turn, so that a step can be laid out while the one before is under way.

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "kernels/device/device.h"
#include "protocol/step_plan.h"
#include "worker/step_batch.h"

namespace conclave::worker {

// Rows that a step is laid out for; the device reads the actual numbers.
struct StepBounds {
  int32_t rows = 0;
  int32_t chunks = 0;
  int32_t head_rows = 0;
};

// Device addresses inside the block.
struct DeviceStepView {
  StepBounds bounds;
  const int32_t* row_count = nullptr;
  const int32_t* chunk_count = nullptr;
  const int32_t* head_count = nullptr;
  const int32_t* tokens = nullptr;                 // [rows] as resolve_tokens takes them
  const device::AttentionRow* rows = nullptr;      // [rows]
  const device::AttentionChunk* chunks = nullptr;  // [chunks]
  const int32_t* head_index = nullptr;             // [head_rows] rows whose logits are wanted
  const device::SamplingRow* sampling = nullptr;   // [head_rows]
  // Block ids, token counts and biases share one area: indices into it count elements of their
  // type.
  const void* lists = nullptr;
  int32_t max_chunk_rows = 0;
  int32_t max_keys = 0;
};

class DeviceStep {
 public:
  explicit DeviceStep(const device::Device* device) : device_(device) {}

  // Room for steps within `bounds` with `list_bytes` of lists; it grows when a step has more.
  absl::Status reserve(const StepBounds& bounds, size_t list_bytes);
  // Whether assign() will not move the block.
  bool fits(const StepBatch& batch, const StepBounds& bounds) const;
  // Fills the other block than last time from the batch. The step before last must have ended, and
  // the last one too unless fits(). max_keys: upper bound of positions, for the view. True in
  // *moved: the block lies elsewhere now, graphs that were captured before are void. Allocates only
  // then.
  absl::Status assign(const StepBatch& batch, const protocol::StepPlan& plan,
                      const StepBounds& bounds, int32_t max_keys, bool* moved);
  // Enqueues the copy of the block that was assigned last.
  absl::Status send(device::Stream* stream) const;
  const DeviceStepView& view() const { return view_; }

 private:
  struct Layout;  // the same for host and device
  size_t front_bytes(const StepBounds& bounds) const;
  absl::Status grow(size_t bytes, bool* moved);
  size_t list_bytes(const StepBatch& batch) const;
  void fill_rows(const StepBatch& batch, const protocol::StepPlan& plan, const Layout& host);
  void fill_head(const StepBatch& batch, const Layout& host);

  const device::Device* device_;
  std::array<device::Memory, 2> host_;
  size_t turn_ = 0;
  device::Memory memory_;
  size_t used_ = 0;
  DeviceStepView view_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DEVICE_STEP_H_
