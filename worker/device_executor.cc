#include "worker/device_executor.h"

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int64_t kMaxLogitsBytes = int64_t{384} << 20;
constexpr int32_t kHeadRowsPerRow = 3;  // a row's logits, its prompt target and its sample
constexpr size_t kFirstListBytes = size_t{1} << 20;
constexpr int32_t kLeastKeys = 512;
constexpr int kSpinsBeforeLooking = 256;
// Beyond the last one a step runs without a graph.
constexpr std::array<int32_t, 17> kBuckets = {1,  2,  4,   8,   12,  16,  24,  32, 48,
                                              64, 96, 128, 192, 256, 320, 384, 512};

int32_t bucket_of(int32_t rows) {
  const auto* found = std::lower_bound(kBuckets.begin(), kBuckets.end(), rows);
  return found == kBuckets.end() ? -1 : *found;
}

// Contexts are told apart by powers of two: the number only sizes grids.
int32_t keys_bucket(int32_t keys, int32_t limit) {
  int32_t bucket = kLeastKeys;
  while (bucket < keys) bucket *= 2;
  return std::max(keys, std::min(bucket, limit));
}

}  // namespace

DeviceExecutor::DeviceExecutor(Parts parts, const Options& options)
    : parts_(std::move(parts)),
      options_(options),
      piece_rows_(piece_rows(*parts_.spec, options.max_step_tokens)),
      batch_({options.ranks, options.max_step_tokens,
              std::min(options.max_model_len, parts_.spec->max_positions), options.kv_blocks,
              parts_.spec->vocab, /*coherent=*/false, /*previous_by_reference=*/true}),
      step_(parts_.device),
      layers_({parts_.device, parts_.spec, parts_.weights, parts_.exchange, parts_.kv},
              {options.max_step_tokens, kHeadRowsPerRow * options.max_step_tokens, piece_rows_}),
      results_(parts_.device, &layers_,
               {kHeadRowsPerRow * options.max_step_tokens,
                static_cast<int32_t>(parts_.spec->moe_layers().size()), parts_.spec->experts,
                parts_.spec->top_k, parts_.spec->vocab}) {}

int32_t DeviceExecutor::piece_rows(const model::ModelSpec& spec, int32_t max_step_tokens) {
  return static_cast<int32_t>(std::clamp<int64_t>(kMaxLogitsBytes / (int64_t{4} * spec.vocab), 1,
                                                  int64_t{kHeadRowsPerRow} * max_step_tokens));
}

absl::StatusOr<std::unique_ptr<DeviceExecutor>> DeviceExecutor::create(Parts parts,
                                                                       const Options& options) {
  if (options.max_step_tokens < 1 || options.max_model_len < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rank needs room for at least one token: max_step_tokens is ",
                     options.max_step_tokens, ", max_model_len ", options.max_model_len));
  }
  std::unique_ptr<DeviceExecutor> executor(new DeviceExecutor(std::move(parts), options));
  RETURN_IF_ERROR(executor->reserve());
  return executor;
}

absl::Status DeviceExecutor::reserve() {
  ASSIGN_OR_RETURN(stream_, parts_.device->make_stream(/*high_priority=*/true));
  ASSIGN_OR_RETURN(done_, parts_.device->make_event(/*timing=*/false));
  const int32_t rows = options_.max_step_tokens;
  RETURN_IF_ERROR(step_.reserve({rows, rows, kHeadRowsPerRow * rows}, kFirstListBytes));
  RETURN_IF_ERROR(layers_.reserve());
  RETURN_IF_ERROR(results_.reserve());
  previous_.reserve(static_cast<size_t>(rows));
  return absl::OkStatus();
}

DeviceExecutor::Extent DeviceExecutor::extent_of(const protocol::StepPlan& plan) {
  Extent extent;
  rows_of_rank_.assign(static_cast<size_t>(options_.ranks), 0);
  for (const protocol::SequenceChunk& chunk : plan.chunks) {
    if (chunk.home_rank < 0 || chunk.home_rank >= options_.ranks) continue;  // assign() refuses it
    const auto count = static_cast<int32_t>(chunk.tokens.size());
    int32_t& of_rank = rows_of_rank_[static_cast<size_t>(chunk.home_rank)];
    of_rank += count;
    if (chunk.home_rank == options_.rank) ++extent.own_chunks;
    extent.rows = std::max(extent.rows, of_rank);
    extent.max_keys = std::max(extent.max_keys, chunk.start_position + count);
    extent.decode = extent.decode && count == 1 && !chunk.want_logits && !chunk.want_routing &&
                    chunk.prompt_top_logprobs < 0;
  }
  extent.decode = extent.decode && bucket_of(extent.rows) > 0 &&
                  bucket_of(extent.rows) <= std::min(piece_rows_, options_.max_step_tokens);
  return extent;
}

absl::Status DeviceExecutor::run(const protocol::StepPlan& plan) {
  const double begin = parts_.clock();
  parts_.progress->begin_step(plan.step);
  parts_.progress->enter("plan");
  RETURN_IF_ERROR(batch_.assign(plan, options_.rank, previous_));
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(options_.fault.strike(options_.rank, plan.step, layer));
  }
  results_.begin();
  const Extent extent = extent_of(plan);
  exchanged_rows_ = extent.rows;
  const bool alone = parts_.exchange == nullptr;
  if (extent.rows > 0 && (batch_.rows() > 0 || !alone)) {
    RETURN_IF_ERROR(extent.decode && options_.graphs ? run_decode(plan, extent)
                                                     : run_eagerly(plan, extent));
  }
  remember_sampled(plan);
  step_seconds_ = parts_.clock() - begin;
  return absl::OkStatus();
}

absl::Status DeviceExecutor::assign(const protocol::StepPlan& plan, const StepBounds& bounds,
                                    int32_t max_keys) {
  bool moved = false;
  RETURN_IF_ERROR(step_.assign(batch_, plan, bounds, max_keys, &moved));
  if (moved) graphs_.clear();
  return step_.send(stream_.get());
}

absl::Status DeviceExecutor::run_eagerly(const protocol::StepPlan& plan, const Extent& extent) {
  const auto head_rows = static_cast<int32_t>(batch_.head_rows().size());
  RETURN_IF_ERROR(
      assign(plan, {extent.rows, std::max(1, extent.own_chunks), head_rows}, extent.max_keys));
  const DeviceStepView& view = step_.view();
  parts_.progress->enter("device layers");
  RETURN_IF_ERROR(layers_.run_layers(stream_.get(), view));
  if (batch_.wants_routing()) {
    RETURN_IF_ERROR(results_.keep_routing(stream_.get(), batch_.rows()));
  }
  for (int32_t first = 0; first < head_rows; first += piece_rows_) {
    const device::RowCount piece{std::min(piece_rows_, head_rows - first), nullptr};
    RETURN_IF_ERROR(layers_.run_head(stream_.get(), view, first, piece));
    RETURN_IF_ERROR(results_.keep_logits(stream_.get(), batch_, first, piece.bound));
    RETURN_IF_ERROR(layers_.run_sampler(stream_.get(), view, first, piece));
  }
  RETURN_IF_ERROR(results_.fetch(stream_.get(), head_rows));
  return wait(plan);
}

absl::Status DeviceExecutor::run_decode(const protocol::StepPlan& plan, const Extent& extent) {
  const GraphKey key{bucket_of(extent.rows), keys_bucket(extent.max_keys, options_.max_model_len)};
  RETURN_IF_ERROR(assign(plan, {key.rows, key.rows, key.rows}, key.max_keys));
  const auto found = graphs_.find(key);
  parts_.progress->enter("device decode");
  if (found == graphs_.end()) {
    // The first time without a graph: whatever kernels load or set up lazily must not be captured.
    graphs_[key];
    RETURN_IF_ERROR(enqueue_decode());
    return wait(plan);
  }
  if (found->second.get() == nullptr) RETURN_IF_ERROR(capture(key));
  RETURN_IF_ERROR(
      check(ops().graph_launch(parts_.device->context(), stream_.get(), graphs_[key].get())));
  return wait(plan);
}

absl::Status DeviceExecutor::enqueue_decode() {
  // A graph is captured for the bucket, whatever the plan at hand needs of it.
  DeviceStepView view = step_.view();
  view.max_chunk_rows = 1;
  const device::RowCount heads{view.bounds.head_rows, view.head_count};
  RETURN_IF_ERROR(layers_.run_layers(stream_.get(), view));
  RETURN_IF_ERROR(layers_.run_head(stream_.get(), view, 0, heads));
  RETURN_IF_ERROR(layers_.run_sampler(stream_.get(), view, 0, heads));
  return results_.fetch(stream_.get(), view.bounds.head_rows);
}

absl::Status DeviceExecutor::capture(GraphKey key) {
  device::Context* context = parts_.device->context();
  RETURN_IF_ERROR(check(ops().graph_begin(context, stream_.get())));
  const absl::Status enqueued = enqueue_decode();
  device::Graph* graph = nullptr;
  const absl::Status ended = check(ops().graph_end(context, stream_.get(), &graph));
  RETURN_IF_ERROR(enqueued);
  RETURN_IF_ERROR(ended);
  graphs_[key] = device::OwnedGraph(parts_.device, graph);
  return absl::OkStatus();
}

// The one wait of a step. It spins, since a step may take less than a wake-up costs.
absl::Status DeviceExecutor::wait(const protocol::StepPlan& plan) {
  device::Context* context = parts_.device->context();
  const Deadline deadline = Deadline::after_ms(plan.deadline_ms);
  RETURN_IF_ERROR(check(ops().event_record(context, stream_.get(), done_.get())));
  for (int spins = 1;; ++spins) {
    int32_t done = 0;
    RETURN_IF_ERROR(check(ops().event_done(context, done_.get(), &done)));
    if (done != 0) return absl::OkStatus();
    if (spins % kSpinsBeforeLooking != 0) continue;
    if (parts_.exchange != nullptr) RETURN_IF_ERROR(parts_.exchange->check());
    if (deadline.expired()) break;
    std::this_thread::yield();
  }
  if (parts_.exchange != nullptr) parts_.exchange->abort();
  return absl::DeadlineExceededError(absl::StrCat("GPU ", parts_.device->index(),
                                                  " did not finish step ", plan.step, " within ",
                                                  plan.deadline_ms, " ms"));
}

void DeviceExecutor::remember_sampled(const protocol::StepPlan& plan) {
  previous_.clear();
  const std::span<const HeadRow> rows = batch_.head_rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].use != HeadRow::Use::kSample) continue;
    previous_.add(plan.chunks[static_cast<size_t>(rows[i].chunk)].sequence_id,
                  static_cast<int32_t>(i));
  }
  previous_.sort();
}

void DeviceExecutor::append_result(const protocol::StepPlan& plan,
                                   protocol::StepResult* result) const {
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    if (batch_.first_row(index) < 0) continue;
    protocol::SequenceResult& sequence = result->sequences.emplace_back();
    sequence.sequence_id = plan.chunks[index].sequence_id;
    results_.append_to(batch_, plan, static_cast<int32_t>(index), &sequence);
  }
  protocol::RankTiming& timing = result->ranks.emplace_back();
  timing.rank = options_.rank;
  timing.tokens = batch_.rows();
  timing.compute_seconds = step_seconds_;
  const auto moe_layers = static_cast<int32_t>(parts_.spec->moe_layers().size());
  for (int32_t m = 0; m < moe_layers; ++m) timing.expert_rows.push_back(results_.expert_rows(m));
  if (parts_.exchange == nullptr) return;
  timing.bytes_sent = moe_layers * parts_.exchange->bytes_per_layer(exchanged_rows_);
  timing.messages_sent = int64_t{2} * moe_layers * (options_.ranks - 1);
}

}  // namespace conclave::worker
