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
      step_(parts_.device),
      layers_({parts_.device, parts_.spec, parts_.weights, parts_.exchange, parts_.kv},
              {options.max_step_tokens, kHeadRowsPerRow * options.max_step_tokens, piece_rows_}),
      flights_{Flight(step_limits(), parts_, &layers_, results_shape()),
               Flight(step_limits(), parts_, &layers_, results_shape())} {}

StepLimits DeviceExecutor::step_limits() const {
  return {options_.ranks,
          options_.max_step_tokens,
          std::min(options_.max_model_len, parts_.spec->max_positions),
          options_.kv_blocks,
          parts_.spec->vocab,
          /*coherent=*/false,
          /*previous_by_reference=*/true};
}

DeviceResults::Shape DeviceExecutor::results_shape() const {
  return {kHeadRowsPerRow * options_.max_step_tokens,
          static_cast<int32_t>(parts_.spec->moe_layers().size()), parts_.spec->experts,
          parts_.spec->top_k, parts_.spec->vocab};
}

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
  const int32_t rows = options_.max_step_tokens;
  RETURN_IF_ERROR(step_.reserve({rows, rows, kHeadRowsPerRow * rows}, kFirstListBytes));
  RETURN_IF_ERROR(layers_.reserve());
  for (Flight& flight : flights_) {
    ASSIGN_OR_RETURN(flight.done, parts_.device->make_event(/*timing=*/false));
    RETURN_IF_ERROR(flight.results.reserve());
  }
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
  RETURN_IF_ERROR(enqueue(plan));
  return finish();
}

absl::Status DeviceExecutor::enqueue(const protocol::StepPlan& plan) {
  if (flying_ == flights_.size()) {
    return absl::InternalError(absl::StrCat("step ", plan.step, " came while two steps run"));
  }
  Flight& flight = flights_[next_];
  flight.ended = flight.watched = false;
  flight.step = plan.step;
  flight.deadline_ms = plan.deadline_ms;
  flight.begin = parts_.clock();
  flight.operation = "plan";
  flight.looks = 0;
  if (flying_ == 0) RETURN_IF_ERROR(watch(&flight));
  RETURN_IF_ERROR(flight.batch.assign(plan, options_.rank, previous_));
  const Extent extent = extent_of(plan);
  flight.exchanged_rows = extent.rows;
  flight.overlaps = extent.decode;
  if (flying_ > 0 && !(extent.decode && oldest().overlaps)) RETURN_IF_ERROR(drain());
  if (flying_ > 0 && !oldest().ended) ++steps_overlapped_;
  flight.results.begin();
  const bool alone = parts_.exchange == nullptr;
  flight.ended = extent.rows == 0 || (flight.batch.rows() == 0 && alone);
  if (!flight.ended) RETURN_IF_ERROR(enqueue_rows(plan, extent, &flight));
  remember_sampled(plan, flight.batch);
  next_ = (next_ + 1) % flights_.size();
  ++flying_;
  return absl::OkStatus();
}

// The step is the one that the rank is at: what heartbeats say, where faults strike, whose time
// runs.
absl::Status DeviceExecutor::watch(Flight* flight) {
  flight->watched = true;
  flight->begin = std::max(flight->begin, last_end_);
  flight->deadline = Deadline::after_ms(flight->deadline_ms);
  parts_.progress->begin_step(flight->step);
  parts_.progress->enter(flight->operation);
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(options_.fault.strike(options_.rank, flight->step, layer));
  }
  return absl::OkStatus();
}

void DeviceExecutor::enter(Flight* flight, const char* operation) {
  flight->operation = operation;
  if (flight->watched) parts_.progress->enter(operation);
}

absl::Status DeviceExecutor::enqueue_rows(const protocol::StepPlan& plan, const Extent& extent,
                                          Flight* flight) {
  RETURN_IF_ERROR(extent.decode && options_.graphs ? run_decode(plan, extent, flight)
                                                   : run_eagerly(plan, extent, flight));
  return check(ops().event_record(parts_.device->context(), stream_.get(), flight->done.get()));
}

absl::Status DeviceExecutor::assign(const protocol::StepPlan& plan, const StepBounds& bounds,
                                    int32_t max_keys, const Flight& flight) {
  if (!step_.fits(flight.batch, bounds)) RETURN_IF_ERROR(drain());
  bool moved = false;
  RETURN_IF_ERROR(step_.assign(flight.batch, plan, bounds, max_keys, &moved));
  if (moved) graphs_.clear();
  return step_.send(stream_.get());
}

absl::Status DeviceExecutor::run_eagerly(const protocol::StepPlan& plan, const Extent& extent,
                                         Flight* flight) {
  const auto head_rows = static_cast<int32_t>(flight->batch.head_rows().size());
  RETURN_IF_ERROR(assign(plan, {extent.rows, std::max(1, extent.own_chunks), head_rows},
                         extent.max_keys, *flight));
  const DeviceStepView& view = step_.view();
  DeviceResults& results = flight->results;
  enter(flight, "device layers");
  RETURN_IF_ERROR(layers_.run_layers(stream_.get(), view));
  if (flight->batch.wants_routing()) {
    RETURN_IF_ERROR(results.keep_routing(stream_.get(), flight->batch.rows()));
  }
  for (int32_t first = 0; first < head_rows; first += piece_rows_) {
    const device::RowCount piece{std::min(piece_rows_, head_rows - first), nullptr};
    RETURN_IF_ERROR(layers_.run_head(stream_.get(), view, first, piece));
    RETURN_IF_ERROR(results.keep_logits(stream_.get(), flight->batch, first, piece.bound));
    RETURN_IF_ERROR(layers_.run_sampler(stream_.get(), view, first, piece));
  }
  return results.fetch(stream_.get(), head_rows);
}

absl::Status DeviceExecutor::run_decode(const protocol::StepPlan& plan, const Extent& extent,
                                        Flight* flight) {
  const GraphKey key{bucket_of(extent.rows), keys_bucket(extent.max_keys, options_.max_model_len)};
  RETURN_IF_ERROR(assign(plan, {key.rows, key.rows, key.rows}, key.max_keys, *flight));
  const auto found = graphs_.find(key);
  enter(flight, "device decode");
  if (found == graphs_.end()) {
    // The first time without a graph: whatever kernels load or set up lazily must not be captured.
    graphs_[key];
    RETURN_IF_ERROR(enqueue_decode());
  } else {
    if (found->second.get() == nullptr) RETURN_IF_ERROR(capture(key));
    RETURN_IF_ERROR(
        check(ops().graph_launch(parts_.device->context(), stream_.get(), graphs_[key].get())));
  }
  // Not in the graph: each of two steps in a row has a place of its own for its results.
  return flight->results.fetch(stream_.get(),
                               static_cast<int32_t>(flight->batch.head_rows().size()));
}

absl::Status DeviceExecutor::enqueue_decode() {
  // A graph is captured for the bucket, whatever the plan at hand needs of it.
  DeviceStepView view = step_.view();
  view.max_chunk_rows = 1;
  const device::RowCount heads{view.bounds.head_rows, view.head_count};
  RETURN_IF_ERROR(layers_.run_layers(stream_.get(), view));
  RETURN_IF_ERROR(layers_.run_head(stream_.get(), view, 0, heads));
  return layers_.run_sampler(stream_.get(), view, 0, heads);
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

absl::StatusOr<bool> DeviceExecutor::done() {
  if (flying_ == 0) return true;
  Flight& flight = oldest();
  if (!flight.watched) RETURN_IF_ERROR(watch(&flight));
  if (flight.ended) return true;
  int32_t ended = 0;
  RETURN_IF_ERROR(check(ops().event_done(parts_.device->context(), flight.done.get(), &ended)));
  flight.ended = ended != 0;
  if (flight.ended || ++flight.looks % kSpinsBeforeLooking != 0) return flight.ended;
  if (parts_.exchange != nullptr) RETURN_IF_ERROR(parts_.exchange->check());
  if (flight.deadline.expired()) return late(flight);
  std::this_thread::yield();
  return false;
}

absl::Status DeviceExecutor::late(const Flight& flight) {
  if (parts_.exchange != nullptr) parts_.exchange->abort();
  return absl::DeadlineExceededError(absl::StrCat("GPU ", parts_.device->index(),
                                                  " did not finish step ", flight.step, " within ",
                                                  flight.deadline_ms, " ms"));
}

// The one wait of a step. It spins, since a step may take less than a wake-up costs.
absl::Status DeviceExecutor::drain() {
  while (true) {
    ASSIGN_OR_RETURN(const bool ended, done());
    if (ended) return absl::OkStatus();
  }
}

absl::Status DeviceExecutor::finish() {
  if (flying_ == 0) return absl::InternalError("no step runs on the device");
  RETURN_IF_ERROR(drain());
  Flight& flight = oldest();
  last_ = static_cast<size_t>(&flight - flights_.data());
  last_end_ = parts_.clock();
  flight.seconds = last_end_ - flight.begin;
  --flying_;
  return absl::OkStatus();
}

void DeviceExecutor::remember_sampled(const protocol::StepPlan& plan, const StepBatch& batch) {
  previous_.clear();
  const std::span<const HeadRow> rows = batch.head_rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].use != HeadRow::Use::kSample) continue;
    previous_.add(plan.chunks[static_cast<size_t>(rows[i].chunk)].sequence_id,
                  static_cast<int32_t>(i));
  }
  previous_.sort();
}

void DeviceExecutor::append_result(const protocol::StepPlan& plan,
                                   protocol::StepResult* result) const {
  const Flight& flight = flights_[last_];
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    if (flight.batch.first_row(index) < 0) continue;
    protocol::SequenceResult& sequence = result->sequences.emplace_back();
    sequence.sequence_id = plan.chunks[index].sequence_id;
    flight.results.append_to(flight.batch, plan, static_cast<int32_t>(index), &sequence);
  }
  protocol::RankTiming& timing = result->ranks.emplace_back();
  timing.rank = options_.rank;
  timing.tokens = flight.batch.rows();
  timing.compute_seconds = flight.seconds;
  const auto moe_layers = static_cast<int32_t>(parts_.spec->moe_layers().size());
  for (int32_t m = 0; m < moe_layers; ++m)
    timing.expert_rows.push_back(flight.results.expert_rows(m));
  if (parts_.exchange == nullptr) return;
  timing.bytes_sent = moe_layers * parts_.exchange->bytes_per_layer(flight.exchanged_rows);
  timing.messages_sent = int64_t{2} * moe_layers * (options_.ranks - 1);
}

}  // namespace conclave::worker
