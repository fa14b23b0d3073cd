#include "worker/rank.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/host_resources.h"

namespace conclave::worker {
namespace {

constexpr double kKvShareOfFreeMemory = 0.4;
constexpr int64_t kMostFullSequences = 256;  // K/V for more full-length ones than this is of no use

absl::StatusOr<placement::PlacementTable> make_placement(const protocol::Configure& configure,
                                                         const model::ModelSpec& spec, int ranks,
                                                         const std::string& fingerprint) {
  if (configure.placement_json.empty()) {
    return placement::PlacementTable::contiguous(spec.moe_layers(), spec.experts, ranks);
  }
  ASSIGN_OR_RETURN(placement::PlacementTable table,
                   placement::PlacementTable::from_json(configure.placement_json, "placement"));
  const std::vector<int32_t> moe_layers = spec.moe_layers();
  RETURN_IF_ERROR(table.check_fits(moe_layers, spec.experts, ranks, fingerprint));
  return table;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Rank>> Rank::create(const protocol::Configure& configure,
                                                   std::unique_ptr<kernels::KernelSet> kernels,
                                                   const Environment& environment) {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_ptr<Rank> rank(new Rank);
  rank->kernels_ = std::move(kernels);
  RETURN_IF_ERROR(rank->load_model(configure, environment));
  RETURN_IF_ERROR(rank->make_kv(configure, environment));
  RETURN_IF_ERROR(rank->make_executor(configure, environment));
  rank->ready_.kv_blocks = rank->kv_.blocks();
  rank->ready_.kv_bytes = rank->kv_.bytes();
  rank->ready_.weight_bytes = rank->loaded_.bytes;
  rank->ready_.model_fingerprint = rank->weights_->fingerprint();
  rank->ready_.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

absl::Status Rank::load_model(const protocol::Configure& configure,
                              const Environment& environment) {
  environment.progress->enter("load");
  if (!configure.dummy_shape_json.empty()) {
    ASSIGN_OR_RETURN(spec_, model::parse_shape(configure.dummy_shape_json, "shape"));
    const DType dtype = spec_.weight_dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
    weights_ = model::Weights::dummy(spec_, dtype, configure.dummy_seed);
  } else {
    ASSIGN_OR_RETURN(model::ModelDescription description,
                     model::read_model_description(configure.model_path));
    spec_ = std::move(description.spec);
    ASSIGN_OR_RETURN(weights_, model::Weights::open(configure.model_path, &spec_));
  }
  ASSIGN_OR_RETURN(placement_, make_placement(configure, spec_, environment.communicator->size(),
                                              weights_->fingerprint()));
  LoadRequest request;
  request.spec = &spec_;
  request.weights = weights_;
  request.kernels = kernels_.get();
  request.placement = &placement_;
  request.rank = environment.communicator->rank();
  request.progress = environment.load_progress;
  ASSIGN_OR_RETURN(loaded_, load_weights(request));
  return absl::OkStatus();
}

absl::Status Rank::make_kv(const protocol::Configure& configure, const Environment& environment) {
  KvCache::Options options;
  for (const LayerWeights& layer : loaded_.model.layers) {
    options.block_bytes.push_back(kernels_->kv_block_bytes(layer.attention));
  }
  options.blocks = configure.kv_blocks;
  options.memory_bytes = configure.kv_memory_bytes;
  if (options.blocks == 0 && options.memory_bytes == 0) {
    options.memory_bytes =
        static_cast<uint64_t>(kKvShareOfFreeMemory * static_cast<double>(available_memory_bytes()) /
                              std::max(1, environment.ranks_on_host));
    const int64_t blocks_of_sequence =
        (int64_t{configure.max_model_len} + kernels::kKvBlockTokens - 1) / kernels::kKvBlockTokens;
    options.max_blocks = static_cast<int32_t>(
        std::min<int64_t>(options.max_blocks, kMostFullSequences * blocks_of_sequence));
  }
  ASSIGN_OR_RETURN(kv_, KvCache::create(options));
  return absl::OkStatus();
}

absl::Status Rank::make_executor(const protocol::Configure& configure,
                                 const Environment& environment) {
  kernels::KernelSet::Limits limits;
  limits.max_rows = configure.max_step_tokens;
  limits.max_expert_rows = ExpertExchange::max_call_rows(limits.max_rows, spec_.top_k);
  limits.hidden = spec_.hidden;
  limits.max_intermediate =
      std::max({spec_.expert_width, spec_.shared_expert_width, spec_.dense_width});
  limits.vocab = spec_.vocab;
  limits.max_positions = configure.max_model_len;
  RETURN_IF_ERROR(kernels_->reserve(limits));

  if (placement_.layers() > 0) {
    ExpertExchange::Options options;
    options.max_rows = configure.max_step_tokens;
    options.hidden = spec_.hidden;
    options.top_k = spec_.top_k;
    ASSIGN_OR_RETURN(options.overlap, parse_overlap_mode(configure.overlap));
    options.expert.weight_bytes = static_cast<double>(loaded_.experts->slot_bytes());
    options.expert.flops_per_row = 6.0 * spec_.hidden * spec_.expert_width;
    options.rates.flops_per_second *= std::max(1, configure.threads);
    ASSIGN_OR_RETURN(exchange_,
                     ExpertExchange::create({kernels_.get(), environment.communicator,
                                             loaded_.experts.get(), &placement_,
                                             environment.progress, environment.clock},
                                            options));
  }
  ASSIGN_OR_RETURN(
      executor_,
      Executor::create({&spec_, &loaded_.model, kernels_.get(), loaded_.experts.get(),
                        exchange_.get(), &kv_, environment.progress, environment.clock},
                       {environment.communicator->rank(), environment.communicator->size(),
                        configure.max_step_tokens, configure.max_model_len, environment.fault}));
  return absl::OkStatus();
}

}  // namespace conclave::worker
