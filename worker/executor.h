#ifndef CONCLAVE_WORKER_EXECUTOR_H_
#define CONCLAVE_WORKER_EXECUTOR_H_

// Runs the chunks of a StepPlan that are at home on this rank through the layers of the model, with a
// KernelSet and an ExpertExchange, knowing neither's implementation. Every rank of the group runs every
// plan, also without chunks of its own: other ranks' tokens need its experts.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/kernel_set.h"
#include "model/model_spec.h"
#include "protocol/step_plan.h"
#include "worker/coherent_exchange.h"
#include "worker/expert_exchange.h"
#include "worker/fault_injection.h"
#include "worker/head.h"
#include "worker/kv_cache.h"
#include "worker/kv_mover.h"
#include "worker/kv_publisher.h"
#include "worker/model_weights.h"
#include "worker/previous_tokens.h"
#include "worker/rank_hits.h"
#include "worker/routing_counter.h"
#include "worker/routing_plan.h"
#include "worker/row_recorder.h"
#include "worker/step_batch.h"
#include "worker/step_progress.h"

namespace conclave::worker {

class Executor {
 public:
  struct Parts {  // all outlive the executor
    const model::ModelSpec* spec = nullptr;
    const ModelWeights* weights = nullptr;
    kernels::KernelSet* kernels = nullptr;
    ExpertStore* experts = nullptr;
    ExpertExchange* exchange = nullptr;  // null: the model has no MoE layer
    CoherentExchange* coherent = nullptr;   // null: the group runs the fixed plan only
    comm::Communicator* communicator = nullptr;  // needed with coherent
    KvCache* kv = nullptr;
    RoutingCounter* counter = nullptr;   // null: nothing is counted
    const RankHits* rank_hits = nullptr;  // null: nobody asks
    StepProgress* progress = nullptr;
    WorkerClock clock = steady_worker_clock();
  };
  struct Options {
    int32_t rank = 0;
    int32_t ranks = 1;
    int32_t max_step_tokens = 0;
    int32_t max_model_len = 0;
    FaultInjection fault;
  };
  static absl::StatusOr<std::unique_ptr<Executor>> create(const Parts& parts,
                                                          const Options& options);

  // Computes the step. INVALID_ARGUMENT: a plan that cannot be run; else what the communicator says. Does
  // not allocate once steps of this size were seen, unless the plan wants logits or routing.
  absl::Status run(const protocol::StepPlan& plan);
  // Appends this rank's sequences and timing of the step that run() computed. The same plan.
  void append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const;

 private:
  void append_spans(protocol::RankTiming* timing) const;
  Executor(const Parts& parts, const Options& options);
  absl::Status reserve();
  void lay_out(RegionCursor* cursor);

  absl::Status begin_layer(int32_t layer);
  absl::Status run_layers();
  absl::Status run_ladder_layers();
  void attention(int32_t index, const kernels::MatrixView& out);
  absl::Status feed_forward(int32_t index, const kernels::MatrixView& out);
  absl::Status coherent_moe(int32_t index, const kernels::MatrixView& out);
  absl::Status publish_kv();
  absl::Status moe(int32_t index, const kernels::ConstMatrixView& normed,
                   const kernels::MatrixView& out);
  void dense(int32_t index, const kernels::ConstMatrixView& normed, const kernels::MatrixView& out);
  void add(const kernels::MatrixView& residual, const kernels::MatrixView& output, int32_t layer);
  void begin_samples(const protocol::StepPlan& plan);
  void count_routing(int32_t moe_layer);
  void begin_rank_hits(const protocol::StepPlan& plan);
  void count_rank_hits(int32_t moe_layer);
  void append_traffic(protocol::RankTiming* timing) const;
  void remember_sampled(const protocol::StepPlan& plan);

  kernels::MatrixView float_view(float* data, int64_t cols) const {
    return {data, DType::kF32, batch_.rows(), cols, cols};
  }
  kernels::MatrixView act_view(std::byte* data, int64_t cols) const {
    return {data, parts_.kernels->act_dtype(), batch_.rows(), cols, cols};
  }

  Parts parts_;
  Options options_;
  StepBatch batch_;
  RoutingPlan routing_;
  RowRecorder recorder_;
  Head head_;
  PreviousTokens previous_;

  HostRegion memory_;
  float* residual_ = nullptr;      // [max_rows, H]
  float* attention_out_ = nullptr;  // [max_rows, H]
  float* mlp_out_ = nullptr;       // [max_rows, H]
  float* qkv_ = nullptr;           // [max_rows, (heads + 2 kv_heads) * head_dim]
  std::byte* normed_ = nullptr;    // act [max_rows, H]
  std::byte* query_ = nullptr;     // act [max_rows, heads * head_dim]
  std::byte* context_ = nullptr;   // act [max_rows, heads * head_dim]
  std::byte* dense_out_ = nullptr;  // act [max_rows, H]
  std::vector<int32_t> own_rows_;  // 0, 1, 2, ...
  std::vector<int32_t> zeros_;
  std::vector<float> ones_;
  std::unique_ptr<KvPublisher> publisher_;  // of a coherent group
  bool returns_ = true;          // coherent layers need a return exchange
  std::vector<int32_t> items_;   // coherent rows that are here
  std::vector<float*> states_;   // what belongs to a row between two layers
  std::vector<int32_t> leader_;  // [rows] of the MoE layer before
  struct Sample {
    int32_t row = 0;
    int32_t slot = 0;
  };
  std::vector<Sample> samples_;
  struct Hits {  // of one chunk
    int32_t chunk = 0;
    int64_t first_row = 0;
    int64_t rows = 0;
  };
  std::vector<Hits> hits_;
  std::vector<int32_t> hit_counts_;  // [hits_, ranks]

  Deadline deadline_ = Deadline::after_ms(0);
  int64_t step_ = -1;
  double step_seconds_ = 0;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_EXECUTOR_H_
