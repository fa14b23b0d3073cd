#include "worker/row_recorder.h"

#include "worker/routing_counter.h"

namespace conclave::worker {

void RowRecorder::begin_step(bool record) {
  recording_ = record;
  recorded_.places.clear();
  recorded_.experts.clear();
  if (!record) return;
  const size_t most = static_cast<size_t>(max_rows_) * static_cast<size_t>(moe_layers_);
  recorded_.places.reserve(most);
  recorded_.experts.reserve(most * static_cast<size_t>(top_k_));
}

void RowRecorder::note(int32_t moe_layer, std::span<const int32_t> plan_rows,
                       std::span<const int32_t> ids, std::span<const float> weights) {
  if (!recording_) return;
  const auto k = static_cast<size_t>(top_k_);
  for (size_t row = 0; row < plan_rows.size(); ++row) {
    recorded_.places.push_back(static_cast<uint32_t>(plan_rows[row] * moe_layers_ + moe_layer));
    const size_t first = recorded_.experts.size();
    recorded_.experts.resize(first + k);
    RoutingCounter::by_weight(ids.subspan(row * k, k), weights.subspan(row * k, k),
                              recorded_.experts.data() + first);
  }
}

}  // namespace conclave::worker
