#include "worker/head.h"

#include <algorithm>

#include "base/status_macros.h"
#include "worker/head_report.h"

namespace conclave::worker {
namespace {

constexpr int64_t kMaxLogitsBytes = int64_t{64} << 20;

}  // namespace

Head::Head(const model::ModelSpec* spec, const ModelWeights* weights, kernels::KernelSet* kernels,
           int32_t max_rows)
    : spec_(spec),
      weights_(weights),
      kernels_(kernels),
      piece_rows_(std::clamp<int64_t>(kMaxLogitsBytes / (int64_t{4} * spec->vocab), 1, max_rows)) {
  rows_.reserve(static_cast<size_t>(piece_rows_));
  results_.reserve(static_cast<size_t>(max_rows));
  kept_begin_.reserve(static_cast<size_t>(max_rows));
}

void Head::lay_out(RegionCursor* cursor) {
  const auto rows = static_cast<size_t>(piece_rows_);
  const auto hidden = static_cast<size_t>(spec_->hidden);
  gathered_ = cursor->take_array<float>(rows * hidden);
  normed_ = cursor->take(rows * hidden * dtype_bytes(kernels_->act_dtype()));
  logits_ = cursor->take_array<float>(rows * static_cast<size_t>(spec_->vocab));
}

absl::Status Head::reserve() {
  RegionCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(memory_, HostRegion::create(measure.used(), "logits"));
  RegionCursor cursor(memory_.data());
  lay_out(&cursor);
  return absl::OkStatus();
}

void Head::run(const StepBatch& batch, const kernels::ConstMatrixView& residual) {
  const size_t rows = batch.head_rows().size();
  results_.resize(rows);
  kept_begin_.resize(rows);
  kept_.clear();
  const auto piece = static_cast<size_t>(piece_rows_);
  for (size_t first = 0; first < rows; first += piece) {
    run_piece(batch, residual, first, std::min(piece, rows - first));
  }
}

void Head::run_piece(const StepBatch& batch, const kernels::ConstMatrixView& residual, size_t first,
                     size_t count) {
  const auto n = static_cast<int64_t>(count);
  const int64_t hidden = spec_->hidden;
  const int64_t vocab = spec_->vocab;
  rows_.clear();
  for (size_t i = 0; i < count; ++i) rows_.push_back(batch.head_rows()[first + i].row);
  const kernels::MatrixView gathered{gathered_, DType::kF32, n, hidden, hidden};
  const kernels::MatrixView normed{normed_, kernels_->act_dtype(), n, hidden, hidden};
  const kernels::MatrixView logits{logits_, DType::kF32, n, vocab, vocab};
  kernels_->gather_rows(residual, rows_, gathered);
  kernels_->rms_norm(gathered, weights_->final_norm, spec_->norm_eps, normed);
  kernels_->matmul(normed, weights_->lm_head, nullptr, logits);
  // Kept logits leave first: the sampler works in place. Runs of sampled rows go together.
  for (size_t i = 0; i < count;) {
    if (batch.head_rows()[first + i].use == HeadRow::Use::kLogits) {
      kept_begin_[first + i] = kept_.size();
      const float* row = logits_ + static_cast<int64_t>(i) * vocab;
      kept_.insert(kept_.end(), row, row + vocab);
      ++i;
      continue;
    }
    size_t end = i;
    while (end < count && batch.head_rows()[first + end].use != HeadRow::Use::kLogits) ++end;
    const kernels::MatrixView run{logits_ + static_cast<int64_t>(i) * vocab, DType::kF32,
                                  static_cast<int64_t>(end - i), vocab, vocab};
    kernels_->sample(run, batch.sampling().subspan(first + i, end - i),
                     std::span(results_).subspan(first + i, end - i));
    i = end;
  }
}

void Head::append_to(const StepBatch& batch, int32_t chunk,
                     protocol::SequenceResult* result) const {
  report_head_rows<kernels::SamplingResult>(batch, chunk, results_, kept_, kept_begin_,
                                            spec_->vocab, result);
}

}  // namespace conclave::worker
