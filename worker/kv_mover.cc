#include "worker/kv_mover.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {

absl::Status KvMover::check(const protocol::KvMove& move) const {
  const auto good_rank = [this](int32_t rank) { return rank >= 0 && rank < communicator_->size(); };
  const auto good_blocks = [this](const std::vector<int32_t>& blocks) {
    return std::all_of(blocks.begin(), blocks.end(),
                       [this](int32_t block) { return block >= 0 && block < kv_->blocks(); });
  };
  // The two caches may differ in size: each rank knows its own.
  const bool good = good_rank(move.from_rank) && good_rank(move.to_rank) &&
                    move.from_rank != move.to_rank &&
                    move.from_blocks.size() == move.to_blocks.size() &&
                    (move.from_rank != communicator_->rank() || good_blocks(move.from_blocks)) &&
                    (move.to_rank != communicator_->rank() || good_blocks(move.to_blocks));
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the plan moves ", move.from_blocks.size(), " K/V blocks from rank ", move.from_rank,
      " to rank ", move.to_rank, ", which names ranks or blocks that do not exist"));
}

size_t KvMover::bytes(size_t blocks) const {
  size_t stride = 0;
  for (int32_t layer = 0; layer < layers_; ++layer) {
    stride += static_cast<size_t>(kv_->layer(layer).block_stride_bytes);
  }
  return blocks * stride;
}

void KvMover::pack(const protocol::KvMove& move, std::vector<std::byte>* out) const {
  for (int32_t layer = 0; layer < layers_; ++layer) {
    const kernels::KvLayerView view = kv_->layer(layer);
    for (const int32_t block : move.from_blocks) {
      const std::byte* data = view.data + block * view.block_stride_bytes;
      out->insert(out->end(), data, data + view.block_stride_bytes);
    }
  }
}

void KvMover::unpack(const protocol::KvMove& move, const std::byte* in) const {
  for (int32_t layer = 0; layer < layers_; ++layer) {
    const kernels::KvLayerView view = kv_->layer(layer);
    for (const int32_t block : move.to_blocks) {
      std::memcpy(view.data + block * view.block_stride_bytes, in,
                  static_cast<size_t>(view.block_stride_bytes));
      in += view.block_stride_bytes;
    }
  }
}

absl::Status KvMover::run(std::span<const protocol::KvMove> moves, int64_t step,
                          Deadline deadline) {
  if (moves.empty()) return absl::OkStatus();
  const auto ranks = static_cast<size_t>(communicator_->size());
  const int self = communicator_->rank();
  std::vector<std::vector<std::byte>> messages(ranks);
  std::vector<size_t> expected(ranks, 0);
  for (const protocol::KvMove& move : moves) {
    RETURN_IF_ERROR(check(move));
    if (move.from_rank == self) pack(move, &messages[static_cast<size_t>(move.to_rank)]);
    if (move.to_rank == self) {
      expected[static_cast<size_t>(move.from_rank)] += bytes(move.to_blocks.size());
    }
  }
  std::vector<std::span<const std::byte>> send(messages.begin(), messages.end());
  std::vector<std::span<const std::byte>> received(ranks);
  const comm::OpContext context{"move K/V", -1, step, deadline};
  ASSIGN_OR_RETURN(const comm::ExchangeTicket ticket, communicator_->begin_exchange(context, send));
  RETURN_IF_ERROR(communicator_->finish_exchange(ticket, received));
  absl::Status status;
  std::vector<size_t> taken(ranks, 0);
  for (const protocol::KvMove& move : moves) {
    const auto from = static_cast<size_t>(move.from_rank);
    if (move.to_rank != self || !status.ok()) continue;
    if (received[from].size() != expected[from]) {
      status = absl::InternalError(
          absl::StrCat("rank ", from, " (host ", communicator_->host(move.from_rank), ") sent ",
                       received[from].size(), " bytes of K/V blocks instead of ", expected[from]));
      continue;
    }
    unpack(move, received[from].data() + taken[from]);
    taken[from] += bytes(move.to_blocks.size());
  }
  communicator_->release_exchange(ticket);
  return status;
}

}  // namespace conclave::worker
