#ifndef CONCLAVE_WORKER_HEAD_H_
#define CONCLAVE_WORKER_HEAD_H_

// From the residual stream to tokens: final norm and LM head on the rows that need logits, then the
// sampler. Rows are taken a bounded number at a time, since logits of a large vocabulary are large.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/kernel_set.h"
#include "kernels/sampling.h"
#include "model/model_spec.h"
#include "protocol/step_plan.h"
#include "worker/host_region.h"
#include "worker/model_weights.h"
#include "worker/step_batch.h"

namespace conclave::worker {

class Head {
 public:
  Head(const model::ModelSpec* spec, const ModelWeights* weights, kernels::KernelSet* kernels,
       int32_t max_rows);
  absl::Status reserve();

  // residual float32 [rows, H]. Keeps the results until the next run().
  void run(const StepBatch& batch, const kernels::ConstMatrixView& residual);
  // One for each head row of the batch, in its order (meaningless for kLogits).
  std::span<const kernels::SamplingResult> results() const { return results_; }
  // Fills token, logprobs and logits of one chunk's result.
  void append_to(const StepBatch& batch, int32_t chunk, protocol::SequenceResult* result) const;

 private:
  void lay_out(RegionCursor* cursor);
  void run_piece(const StepBatch& batch, const kernels::ConstMatrixView& residual, size_t first,
                 size_t count);

  const model::ModelSpec* spec_;
  const ModelWeights* weights_;
  kernels::KernelSet* kernels_;
  int64_t piece_rows_;
  HostRegion memory_;
  float* gathered_ = nullptr;    // [piece_rows, H]
  std::byte* normed_ = nullptr;  // act [piece_rows, H]
  float* logits_ = nullptr;      // [piece_rows, vocab]
  std::vector<int32_t> rows_;    // of one piece
  std::vector<kernels::SamplingResult> results_;
  std::vector<size_t> kept_begin_;  // [head rows]: where kLogits rows lie in kept_
  std::vector<float> kept_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_HEAD_H_
