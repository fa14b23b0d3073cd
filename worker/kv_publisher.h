#ifndef CONCLAVE_WORKER_KV_PUBLISHER_H_
#define CONCLAVE_WORKER_KV_PUBLISHER_H_

// Makes the K/V of a step's rows known to every rank of a context-coherent group, in one exchange
// at the end of the step. What travels are the K and V parts of the projection, float32, before
// norm and rotation: every rank then runs the same append as the one that computed them, so all
// caches hold the same bits whatever the kernels' private layout is.

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "kernels/kernel_set.h"
#include "protocol/routing_counts.h"
#include "worker/host_region.h"
#include "worker/kv_cache.h"
#include "worker/model_weights.h"
#include "worker/worker_clock.h"

namespace conclave::worker {

class KvPublisher {
 public:
  struct Parts {  // all outlive the publisher
    const ModelWeights* weights = nullptr;
    kernels::KernelSet* kernels = nullptr;
    comm::Communicator* communicator = nullptr;
    KvCache* kv = nullptr;
    WorkerClock clock = steady_worker_clock();
  };
  // Scratch that is free between layers: qkv float32 [max_rows, width], query act [max_rows,
  // width].
  struct Scratch {
    float* qkv = nullptr;
    std::byte* query = nullptr;
  };
  struct Timing {
    double exchange_seconds = 0;
    int64_t bytes_sent = 0, messages_sent = 0;
    protocol::Traffic traffic;
  };

  static absl::StatusOr<std::unique_ptr<KvPublisher>> create(const Parts& parts, int32_t max_rows,
                                                             const Scratch& scratch);
  void begin_step();
  // Keeps a layer's K and V. qkv float32 [rows, (heads + 2 kv_heads) * head_dim], not yet appended;
  // step_rows[i]: number of the row among all rows of the plan.
  void keep(int32_t layer, const kernels::MatrixView& qkv, std::span<const int32_t> step_rows);
  // Exchanges what was kept and appends what the other ranks kept. rows: of all rows of the plan,
  // with block tables of this rank's cache.
  absl::Status publish(std::span<const kernels::AttentionRow> rows,
                       std::span<const int32_t> block_ids, int64_t step, Deadline deadline);
  const Timing& timing() const { return timing_; }

 private:
  KvPublisher(const Parts& parts, int32_t max_rows, const Scratch& scratch);
  absl::Status append(int from, std::span<const std::byte> message,
                      std::span<const kernels::AttentionRow> rows,
                      std::span<const int32_t> block_ids);
  size_t key_floats(int32_t layer) const;  // of K and V of one row
  size_t message_bytes() const;

  Parts parts_;
  size_t max_rows_;
  Scratch scratch_;
  HostRegion memory_;
  struct Kept {
    std::byte* ids = nullptr;     // i32 [max_rows]
    std::byte* values = nullptr;  // float32 [max_rows, key_floats]
    size_t rows = 0;
  };
  std::vector<Kept> kept_;  // [layers]
  std::vector<std::byte> message_;
  std::vector<kernels::AttentionRow> attention_rows_;
  std::vector<std::span<const std::byte>> send_, received_;
  Timing timing_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_KV_PUBLISHER_H_
