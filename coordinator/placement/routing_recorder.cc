#include "coordinator/placement/routing_recorder.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace conclave::coordinator {
namespace {

using placement::RowPlan;

// What no rank reported: never a valid expert, since a layer has at most 65535.
constexpr uint16_t kMissing = 0xffff;

size_t rows_of(const protocol::StepPlan& plan) {
  size_t rows = 0;
  for (const protocol::SequenceChunk& chunk : plan.chunks) rows += chunk.tokens.size();
  return rows;
}

RowPlan row_plan(const protocol::StepPlan& plan, const protocol::SequenceChunk& chunk) {
  if (!plan.shared_kv) return RowPlan::kFixed;
  return chunk.coherent ? RowPlan::kCoherent : RowPlan::kPublished;
}

template <typename T>
std::vector<T> reordered(const std::vector<T>& values, const std::vector<size_t>& order) {
  std::vector<T> sorted;
  sorted.reserve(order.size());
  for (const size_t i : order) sorted.push_back(values[i]);
  return sorted;
}

}  // namespace

RoutingRecorder::RoutingRecorder(const Options& options) : max_rows_(options.max_rows) {
  recorded_.rows = {options.moe_layers, options.experts, options.top_k, {}, {}};
  recorded_.layers = options.layers;
  recorded_.wire = options.wire;
}

bool RoutingRecorder::wants_steps() const {
  const std::lock_guard lock(mutex_);
  return recorded_.complete;
}

void RoutingRecorder::set_fingerprint(const std::string& fingerprint) {
  const std::lock_guard lock(mutex_);
  recorded_.model_fingerprint = fingerprint;
}

void RoutingRecorder::step_ran(const protocol::StepPlan& plan, const protocol::RowRouting& rows,
                               const placement::PlacementTable& table) {
  const size_t count = rows_of(plan);
  const std::lock_guard lock(mutex_);
  // Whole steps only: half of one would be no prediction of its counters.
  if (!recorded_.complete || count == 0) return;
  if (recorded_.rows.rows() + static_cast<int64_t>(count) > max_rows_) {
    recorded_.complete = false;
    return log_warning("the routing recording is full: what follows is not in it",
                       {{"rows", absl::StrCat(recorded_.rows.rows())}});
  }
  if (!fill_experts(rows, count)) {
    recorded_.complete = false;
    return log_warning(
        "ranks did not report the routing of every row (GPUs cannot): recording ends");
  }
  const int32_t index = index_of(table);
  for (const protocol::SequenceChunk& chunk : plan.chunks) {
    for (size_t i = 0; i < chunk.tokens.size(); ++i) {
      recorded_.rows.sequence.push_back(static_cast<int32_t>(chunk.sequence_id & 0x7fffffff));
      recorded_.position.push_back(chunk.start_position + static_cast<int32_t>(i));
      recorded_.step.push_back(plan.step);
      recorded_.home.push_back(chunk.home_rank);
      recorded_.plan.push_back(row_plan(plan, chunk));
      recorded_.table.push_back(index);
    }
  }
}

// False, with nothing added, if not every layer of every row was reported exactly.
bool RoutingRecorder::fill_experts(const protocol::RowRouting& routing, size_t rows) {
  placement::RoutingRows& all = recorded_.rows;
  const auto k = static_cast<size_t>(all.top_k);
  const size_t places = rows * static_cast<size_t>(all.layers);
  if (routing.places.size() != places || routing.experts.size() != places * k) return false;
  const size_t first = all.chosen.size();
  all.chosen.resize(first + places * k, kMissing);
  bool good = true;
  for (size_t i = 0; good && i < places; ++i) {
    good = routing.places[i] < places;
    if (!good) break;
    const auto from = routing.experts.begin() + static_cast<int64_t>(i * k);
    good = std::all_of(from, from + static_cast<int64_t>(k),
                       [&all](uint16_t expert) { return expert < all.experts; });
    std::copy_n(from, k, all.chosen.begin() + static_cast<int64_t>(first + routing.places[i] * k));
  }
  good = good && std::find(all.chosen.begin() + static_cast<int64_t>(first), all.chosen.end(),
                           kMissing) == all.chosen.end();
  if (!good) all.chosen.resize(first);
  return good;
}

int32_t RoutingRecorder::index_of(const placement::PlacementTable& table) {
  std::vector<placement::PlacementTable>& tables = recorded_.tables;
  if (tables.empty() || tables.back().epoch() != table.epoch()) tables.push_back(table);
  return static_cast<int32_t>(tables.size()) - 1;
}

placement::RoutingRecording RoutingRecorder::recording() const {
  const std::lock_guard lock(mutex_);
  placement::RoutingRecording sorted = recorded_;
  std::vector<size_t> order(recorded_.position.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [this](size_t a, size_t b) {
    return std::pair(recorded_.rows.sequence[a], a) < std::pair(recorded_.rows.sequence[b], b);
  });
  sorted.rows.sequence = reordered(recorded_.rows.sequence, order);
  sorted.step = reordered(recorded_.step, order);
  sorted.position = reordered(recorded_.position, order);
  sorted.home = reordered(recorded_.home, order);
  sorted.plan = reordered(recorded_.plan, order);
  sorted.table = reordered(recorded_.table, order);
  const auto width =
      static_cast<size_t>(recorded_.rows.layers) * static_cast<size_t>(recorded_.rows.top_k);
  for (size_t i = 0; i < order.size(); ++i) {
    std::copy_n(recorded_.rows.chosen.begin() + static_cast<int64_t>(order[i] * width), width,
                sorted.rows.chosen.begin() + static_cast<int64_t>(i * width));
  }
  return sorted;
}

absl::Status RoutingRecorder::save(const std::string& path) const {
  return placement::save_recording(recording(), path);
}

}  // namespace conclave::coordinator
