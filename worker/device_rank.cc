#include "worker/device_rank.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "kernels/kernel_set.h"
#include "worker/device_layout.h"

namespace conclave::worker {
namespace {

constexpr int kMostLoaderThreads = 8;
// Activations, graphs and what the driver takes come after the K/V cache.
constexpr double kKvShareOfFreeMemory = 0.85;
constexpr int64_t kMostFullSequences = 256;  // K/V for more full-length ones than this is of no use

void log_load(const device::Device& gpu, uint64_t bytes, int threads, double seconds) {
  const double gigabytes = static_cast<double>(bytes) * 1e-9;
  log_info("weights are on the GPU",
           {{"gpu", std::string(gpu.info().name)},
            {"gigabytes", absl::StrFormat("%.2f", gigabytes)},
            {"seconds", absl::StrFormat("%.2f", seconds)},
            {"gigabytes_per_second", absl::StrFormat("%.2f", gigabytes / seconds)},
            {"threads", absl::StrCat(threads)}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeviceRank>> DeviceRank::create(const protocol::Configure& configure,
                                                               Parts parts) {
  std::unique_ptr<DeviceRank> rank(new DeviceRank(std::move(parts)));
  RETURN_IF_ERROR(rank->load_weights(configure));
  RETURN_IF_ERROR(rank->make_exchange(configure));
  RETURN_IF_ERROR(rank->make_kv(configure));
  RETURN_IF_ERROR(rank->make_executor(configure));
  return rank;
}

absl::Status DeviceRank::load_weights(const protocol::Configure& configure) {
  DeviceLoadRequest request;
  request.spec = parts_.spec;
  request.weights = parts_.weights;
  request.device = parts_.device.get();
  request.placement = parts_.placement;
  request.rank = parts_.communicator->rank();
  request.threads = std::clamp(configure.threads, 1, kMostLoaderThreads);
  request.progress = parts_.load_progress;
  const auto begin = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(weights_, load_device_weights(request));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  log_load(*parts_.device, weights_.bytes(), request.threads, taken.count());

  const model::ModelSpec& spec = *parts_.spec;
  const int64_t ranks = parts_.communicator->size();
  device::Limits limits{};
  limits.max_rows = ranks * configure.max_step_tokens;  // with an exchange the rows of all ranks
  limits.max_expert_rows = limits.max_rows * std::max(1, spec.top_k);
  limits.hidden = spec.hidden;
  limits.max_intermediate =
      std::max({spec.expert_width, spec.shared_expert_width, spec.dense_width});
  limits.vocab = spec.vocab;
  limits.max_positions = configure.max_model_len;
  limits.max_head_rows = DeviceExecutor::piece_rows(spec, configure.max_step_tokens);
  limits.max_experts = spec.experts;
  limits.max_top_k = spec.top_k;
  limits.max_heads = spec.heads;
  limits.max_head_dim = spec.head_dim;
  return parts_.device->check(parts_.device->ops().reserve(parts_.device->context(), &limits));
}

absl::Status DeviceRank::make_exchange(const protocol::Configure& configure) {
  if (parts_.communicator->size() == 1 || parts_.placement->layers() == 0) return absl::OkStatus();
  DeviceExchange::Options options;
  options.max_rows = configure.max_step_tokens;
  options.hidden = parts_.spec->hidden;
  options.top_k = parts_.spec->top_k;
  options.kind = parts_.options.comm_kind;
  ASSIGN_OR_RETURN(exchange_, DeviceExchange::create(parts_.device.get(), parts_.communicator,
                                                     *parts_.placement, options));
  return absl::OkStatus();
}

absl::Status DeviceRank::make_kv(const protocol::Configure& configure) {
  const device::DeviceOps& ops = parts_.device->ops();
  device::Context* context = parts_.device->context();
  DeviceCursor block(nullptr);
  for (const DeviceLayer& layer : weights_.layers) {
    block.take(ops.kv_block_bytes(context, &layer.attention));
  }
  uint64_t memory = configure.kv_memory_bytes;
  kv_blocks_ = configure.kv_blocks;
  if (kv_blocks_ == 0) {
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    RETURN_IF_ERROR(parts_.device->check(ops.memory_info(context, &free_bytes, &total_bytes)));
    if (memory == 0)
      memory = static_cast<uint64_t>(kKvShareOfFreeMemory * static_cast<double>(free_bytes));
    const int64_t of_sequence =
        (int64_t{configure.max_model_len} + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens;
    kv_blocks_ = static_cast<int32_t>(std::min<uint64_t>(
        memory / block.used(), static_cast<uint64_t>(kMostFullSequences * of_sequence)));
  }
  if (kv_blocks_ <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("K/V memory of ", memory, " bytes on GPU ", parts_.device->index(),
                     " holds no block: one of ", kernels::kKvBlockTokens, " tokens takes ",
                     block.used(), " bytes; raise the K/V memory or take a smaller model"));
  }
  ASSIGN_OR_RETURN(
      kv_, parts_.device->alloc(block.used() * static_cast<uint64_t>(kv_blocks_), "the K/V cache"));
  DeviceCursor cursor(kv_.data());
  for (const DeviceLayer& layer : weights_.layers) {
    DeviceCursor one(nullptr);
    one.take(ops.kv_block_bytes(context, &layer.attention));
    kv_layers_.push_back({cursor.take(one.used() * static_cast<size_t>(kv_blocks_)),
                          static_cast<int64_t>(one.used())});
  }
  return absl::OkStatus();
}

absl::Status DeviceRank::make_executor(const protocol::Configure& configure) {
  DeviceExecutor::Options options;
  options.rank = parts_.communicator->rank();
  options.ranks = parts_.communicator->size();
  options.max_step_tokens = configure.max_step_tokens;
  options.max_model_len = configure.max_model_len;
  options.kv_blocks = kv_blocks_;
  options.graphs = parts_.options.graphs;
  options.fault = parts_.fault;
  ASSIGN_OR_RETURN(executor_, DeviceExecutor::create(
                                  {parts_.device.get(), parts_.spec, &weights_, exchange_.get(),
                                   kv_layers_, parts_.progress, parts_.clock},
                                  options));
  return absl::OkStatus();
}

void DeviceRank::describe(protocol::Ready* ready) const {
  ready->kv_blocks = kv_blocks_;
  ready->kv_bytes = kv_.bytes();
  ready->weight_bytes = weights_.bytes();
}

}  // namespace conclave::worker
