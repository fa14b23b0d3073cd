#include "worker/kv_publisher.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

size_t query_floats(const kernels::AttentionShape& shape) {
  return static_cast<size_t>(shape.heads) * static_cast<size_t>(shape.head_dim);
}

}  // namespace

KvPublisher::KvPublisher(const Parts& parts, int32_t max_rows, const Scratch& scratch)
    : parts_(parts), max_rows_(static_cast<size_t>(max_rows)), scratch_(scratch) {
  const auto ranks = static_cast<size_t>(parts.communicator->size());
  kept_.resize(parts.weights->layers.size());
  attention_rows_.reserve(max_rows_);
  send_.resize(ranks);
  received_.resize(ranks);
}

size_t KvPublisher::key_floats(int32_t layer) const {
  const kernels::AttentionShape& shape =
      parts_.weights->layers[static_cast<size_t>(layer)].attention;
  return 2 * static_cast<size_t>(shape.kv_heads) * static_cast<size_t>(shape.head_dim);
}

absl::StatusOr<std::unique_ptr<KvPublisher>> KvPublisher::create(const Parts& parts,
                                                                 int32_t max_rows,
                                                                 const Scratch& scratch) {
  std::unique_ptr<KvPublisher> publisher(new KvPublisher(parts, max_rows, scratch));
  const auto lay_out = [&](RegionCursor* cursor) {
    for (size_t layer = 0; layer < publisher->kept_.size(); ++layer) {
      publisher->kept_[layer].ids = cursor->take(publisher->max_rows_ * 4);
      publisher->kept_[layer].values = cursor->take(
          publisher->max_rows_ * publisher->key_floats(static_cast<int32_t>(layer)) * 4);
    }
  };
  RegionCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(publisher->memory_, HostRegion::create(measure.used(), "published K/V"));
  RegionCursor cursor(publisher->memory_.data());
  lay_out(&cursor);
  return publisher;
}

void KvPublisher::begin_step() {
  for (Kept& kept : kept_) kept.rows = 0;
  timing_ = Timing{};
  timing_.traffic.plan = protocol::TrafficPlan::kCoherent;
  timing_.traffic.direction = protocol::TrafficDirection::kKeyValue;
}

void KvPublisher::keep(int32_t layer, const kernels::MatrixView& qkv,
                       std::span<const int32_t> step_rows) {
  Kept& kept = kept_[static_cast<size_t>(layer)];
  const size_t floats = key_floats(layer);
  const size_t query = query_floats(parts_.weights->layers[static_cast<size_t>(layer)].attention);
  const auto* data = static_cast<const float*>(qkv.data);
  for (size_t row = 0; row < step_rows.size(); ++row) {
    std::memcpy(kept.ids + kept.rows * 4, &step_rows[row], 4);
    std::memcpy(kept.values + kept.rows * floats * 4,
                data + row * static_cast<size_t>(qkv.stride) + query, floats * 4);
    ++kept.rows;
  }
}

size_t KvPublisher::message_bytes() const {
  size_t bytes = 0;
  for (size_t layer = 0; layer < kept_.size(); ++layer) {
    bytes += 4 + kept_[layer].rows * 4 * (1 + key_floats(static_cast<int32_t>(layer)));
  }
  return bytes;
}

absl::Status KvPublisher::publish(std::span<const kernels::AttentionRow> rows,
                                  std::span<const int32_t> block_ids, int64_t step,
                                  Deadline deadline) {
  message_.resize(message_bytes());
  std::byte* out = message_.data();
  const auto append_bytes = [&out](const void* data, size_t bytes) {
    if (bytes > 0) std::memcpy(out, data, bytes);
    out += bytes;
  };
  size_t published = 0;
  for (size_t layer = 0; layer < kept_.size(); ++layer) {
    const auto count = static_cast<uint32_t>(kept_[layer].rows);
    const size_t value_bytes = count * key_floats(static_cast<int32_t>(layer)) * 4;
    append_bytes(&count, 4);
    append_bytes(kept_[layer].ids, size_t{count} * 4);
    append_bytes(kept_[layer].values, value_bytes);
    published += value_bytes;
  }
  const int peers = parts_.communicator->size() - 1;
  for (auto& message : send_) message = message_;
  send_[static_cast<size_t>(parts_.communicator->rank())] = {};
  timing_.bytes_sent += static_cast<int64_t>(message_.size()) * peers;
  timing_.messages_sent += peers;
  timing_.traffic.messages += published > 0 ? peers : 0;
  timing_.traffic.bytes += static_cast<int64_t>(published) * peers;

  const double begin = parts_.clock();
  const comm::OpContext context{"publish K/V", -1, step, deadline};
  ASSIGN_OR_RETURN(const comm::ExchangeTicket ticket,
                   parts_.communicator->begin_exchange(context, send_));
  RETURN_IF_ERROR(parts_.communicator->finish_exchange(ticket, received_));
  timing_.exchange_seconds += parts_.clock() - begin;
  absl::Status status;
  for (int from = 0; from < parts_.communicator->size() && status.ok(); ++from) {
    if (from == parts_.communicator->rank()) continue;
    status = append(from, received_[static_cast<size_t>(from)], rows, block_ids);
  }
  parts_.communicator->release_exchange(ticket);
  return status;
}

absl::Status KvPublisher::append(int from, std::span<const std::byte> message,
                                 std::span<const kernels::AttentionRow> rows,
                                 std::span<const int32_t> block_ids) {
  const auto bad = [&] {
    return absl::InternalError(absl::StrCat(
        "rank ", from, " (host ", parts_.communicator->host(from), ") published malformed K/V"));
  };
  const std::byte* in = message.data();
  const std::byte* end = in + message.size();
  for (size_t layer = 0; layer < kept_.size(); ++layer) {
    const LayerWeights& weights = parts_.weights->layers[layer];
    const size_t floats = key_floats(static_cast<int32_t>(layer));
    const size_t query = query_floats(weights.attention);
    uint32_t count = 0;
    if (end - in < 4) return bad();
    std::memcpy(&count, in, 4);
    in += 4;
    if (count > rows.size() || static_cast<size_t>(end - in) < count * 4 * (1 + floats))
      return bad();
    const std::byte* ids = in;
    const std::byte* values = in + size_t{count} * 4;
    in = values + count * floats * 4;
    for (size_t first = 0; first < count; first += max_rows_) {
      const size_t part = std::min(max_rows_, count - first);
      attention_rows_.clear();
      for (size_t i = 0; i < part; ++i) {
        int32_t id = 0;
        std::memcpy(&id, ids + (first + i) * 4, 4);
        if (id < 0 || static_cast<size_t>(id) >= rows.size()) return bad();
        attention_rows_.push_back(rows[static_cast<size_t>(id)]);
        float* row = scratch_.qkv + i * (query + floats);
        std::fill(row, row + query, 0.0f);  // queries stay where they were computed
        std::memcpy(row + query, values + (first + i) * floats * 4, floats * 4);
      }
      if (part == 0) break;
      const auto n = static_cast<int64_t>(part);
      const auto q = static_cast<int64_t>(query);
      const auto width = static_cast<int64_t>(query + floats);
      parts_.kernels->append_kv(weights.attention, weights.parameters, {attention_rows_, block_ids},
                                {scratch_.qkv, DType::kF32, n, width, width},
                                parts_.kv->layer(static_cast<int32_t>(layer)),
                                {scratch_.query, parts_.kernels->act_dtype(), n, q, q});
    }
  }
  return in == end ? absl::OkStatus() : bad();
}

}  // namespace conclave::worker
