#include "worker/device_step.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"
#include "worker/device_layout.h"

namespace conclave::worker {
namespace {

// A multiple of the sizes of a block id, a count and a bias, so that each kind can be addressed by
// index from the beginning of the area.
constexpr size_t kListAlignment = 24;
static_assert(kListAlignment % sizeof(int32_t) == 0);
static_assert(kListAlignment % sizeof(device::TokenCount) == 0);
static_assert(kListAlignment % sizeof(device::TokenBias) == 0);

size_t aligned_list(size_t bytes) {
  return (bytes + kListAlignment - 1) / kListAlignment * kListAlignment;
}

// Where the counts and biases of all sampled rows begin in the area, in elements.
struct ListBegin {
  size_t counts = 0;
  size_t bias = 0;
};

size_t total_counts(const StepBatch& batch) {
  size_t total = 0;
  for (const kernels::SamplingRow& row : batch.sampling()) total += row.counts.size();
  return total;
}

size_t total_bias(const StepBatch& batch) {
  size_t total = 0;
  for (const kernels::SamplingRow& row : batch.sampling()) total += row.bias.size();
  return total;
}

ListBegin list_begin(const StepBatch& batch) {
  const size_t blocks = aligned_list(batch.attention().block_ids.size() * sizeof(int32_t));
  const size_t counts = aligned_list(total_counts(batch) * sizeof(device::TokenCount));
  return {blocks / sizeof(device::TokenCount), (blocks + counts) / sizeof(device::TokenBias)};
}

device::SamplingRow sampling_row(const kernels::SamplingRow& row) {
  device::SamplingRow out{};
  out.temperature = row.temperature;
  out.top_p = row.top_p;
  out.min_p = row.min_p;
  out.repetition_penalty = row.repetition_penalty;
  out.presence_penalty = row.presence_penalty;
  out.frequency_penalty = row.frequency_penalty;
  out.top_k = row.top_k;
  out.choice = row.choice;
  out.position = row.position;
  out.top_logprobs = row.top_logprobs;
  out.target = row.target;
  out.seed = row.seed;
  return out;
}

}  // namespace

struct DeviceStep::Layout {
  Layout(std::byte* base, const StepBounds& bounds) {
    DeviceCursor cursor(base);
    counts = cursor.take_array<int32_t>(3);
    tokens = cursor.take_array<int32_t>(static_cast<size_t>(bounds.rows));
    rows = cursor.take_array<device::AttentionRow>(static_cast<size_t>(bounds.rows));
    chunks = cursor.take_array<device::AttentionChunk>(static_cast<size_t>(bounds.chunks));
    head_index = cursor.take_array<int32_t>(static_cast<size_t>(bounds.head_rows));
    sampling = cursor.take_array<device::SamplingRow>(static_cast<size_t>(bounds.head_rows));
    bytes = cursor.used();
    lists = cursor.take(0);
  }
  int32_t* counts;
  int32_t* tokens;
  device::AttentionRow* rows;
  device::AttentionChunk* chunks;
  int32_t* head_index;
  device::SamplingRow* sampling;
  std::byte* lists;
  size_t bytes;
};

size_t DeviceStep::front_bytes(const StepBounds& bounds) const {
  return Layout(nullptr, bounds).bytes;
}

absl::Status DeviceStep::reserve(const StepBounds& bounds, size_t list_bytes) {
  bool moved = false;
  return grow(front_bytes(bounds) + aligned_list(list_bytes), &moved);
}

absl::Status DeviceStep::grow(size_t bytes, bool* moved) {
  *moved = bytes > memory_.bytes();
  if (!*moved) return absl::OkStatus();
  for (device::Memory& host : host_) {
    ASSIGN_OR_RETURN(host, device_->alloc_pinned(bytes, "step plans"));
  }
  ASSIGN_OR_RETURN(memory_, device_->alloc(bytes, "step plans"));
  return absl::OkStatus();
}

size_t DeviceStep::list_bytes(const StepBatch& batch) const {
  return list_begin(batch).bias * sizeof(device::TokenBias) +
         total_bias(batch) * sizeof(device::TokenBias);
}

bool DeviceStep::fits(const StepBatch& batch, const StepBounds& bounds) const {
  return front_bytes(bounds) + aligned_list(list_bytes(batch)) <= memory_.bytes();
}

absl::Status DeviceStep::assign(const StepBatch& batch, const protocol::StepPlan& plan,
                                const StepBounds& bounds, int32_t max_keys, bool* moved) {
  used_ = front_bytes(bounds) + aligned_list(list_bytes(batch));
  RETURN_IF_ERROR(grow(used_, moved));
  turn_ = 1 - turn_;
  const Layout host(host_[turn_].data(), bounds);
  const Layout device(memory_.data(), bounds);
  host.counts[0] = static_cast<int32_t>(batch.rows());
  host.counts[2] = static_cast<int32_t>(batch.head_rows().size());
  view_ = {bounds,      device.counts, device.counts + 1, device.counts + 2, device.tokens,
           device.rows, device.chunks, device.head_index, device.sampling,   device.lists,
           0,           max_keys};
  fill_rows(batch, plan, host);
  fill_head(batch, host);
  return absl::OkStatus();
}

void DeviceStep::fill_rows(const StepBatch& batch, const protocol::StepPlan& plan,
                           const Layout& host) {
  const kernels::AttentionBatch attention = batch.attention();
  std::copy(batch.tokens().begin(), batch.tokens().end(), host.tokens);
  for (size_t i = 0; i < attention.rows.size(); ++i) {
    host.rows[i] = {attention.rows[i].position, attention.rows[i].block_table};
  }
  std::memcpy(host.lists, attention.block_ids.data(), attention.block_ids.size_bytes());
  int32_t chunks = 0;
  view_.max_chunk_rows = 1;  // also of a rank without rows, whose grids must not be empty
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    const int32_t first = batch.first_row(index);
    if (first < 0) continue;
    const auto rows = static_cast<int32_t>(plan.chunks[index].tokens.size());
    const kernels::AttentionRow& row = attention.rows[static_cast<size_t>(first)];
    host.chunks[chunks++] = {first, rows, row.position, row.block_table};
    view_.max_chunk_rows = std::max(view_.max_chunk_rows, rows);
  }
  host.counts[1] = chunks;
}

void DeviceStep::fill_head(const StepBatch& batch, const Layout& host) {
  const ListBegin begin = list_begin(batch);
  size_t count = begin.counts;
  size_t bias = begin.bias;
  auto* counts = reinterpret_cast<device::TokenCount*>(host.lists);
  auto* biases = reinterpret_cast<device::TokenBias*>(host.lists);
  for (size_t i = 0; i < batch.head_rows().size(); ++i) {
    const kernels::SamplingRow& row = batch.sampling()[i];
    host.head_index[i] = batch.head_rows()[i].row;
    device::SamplingRow& out = host.sampling[i] = sampling_row(row);
    out.count_begin = static_cast<int32_t>(count);
    for (const kernels::TokenCount& seen : row.counts) {
      counts[count++] = {seen.token, seen.output_count, seen.in_prompt ? 1 : 0};
    }
    out.count_end = static_cast<int32_t>(count);
    out.bias_begin = static_cast<int32_t>(bias);
    for (const kernels::TokenBias& entry : row.bias) biases[bias++] = {entry.token, entry.bias};
    out.bias_end = static_cast<int32_t>(bias);
  }
}

absl::Status DeviceStep::send(device::Stream* stream) const {
  return device_->check(
      device_->ops().copy(device_->context(), stream, memory_.data(), host_[turn_].data(), used_));
}

}  // namespace conclave::worker
