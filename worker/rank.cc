#include "worker/rank.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/exchange_calibration.h"
#include "worker/host_resources.h"

namespace conclave::worker {
namespace {

constexpr double kKvShareOfFreeMemory = 0.4;
constexpr int32_t kRoutingSamples = 256;  // whole rows kept between two reports
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
  rank->make_switcher(environment);
  rank->ready_.kv_blocks = rank->kv_.blocks();
  rank->ready_.kv_bytes = rank->kv_.bytes();
  rank->ready_.weight_bytes = rank->loaded_.bytes;
  rank->ready_.model_fingerprint = rank->weights_->fingerprint();
  rank->ready_.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

absl::StatusOr<std::unique_ptr<Rank>> Rank::create(const protocol::Configure& configure,
                                                   std::unique_ptr<device::Device> device,
                                                   const DeviceOptions& options,
                                                   const Environment& environment) {
  const auto begin = std::chrono::steady_clock::now();
  std::unique_ptr<Rank> rank(new Rank);
  if (configure.plan != "fixed") {
    return absl::UnimplementedError(
        absl::StrCat("--plan ", configure.plan, " is for the CPU; use --plan fixed with a GPU"));
  }
  RETURN_IF_ERROR(rank->open_model(configure, environment));
  rank->on_prepared_ = environment.on_prepared;
  DeviceRank::Parts parts;
  parts.device = std::move(device);
  parts.spec = &rank->spec_;
  parts.weights = rank->weights_.get();
  parts.placement = &rank->placement_;
  parts.communicator = environment.communicator;
  parts.progress = environment.progress;
  parts.fault = environment.fault;
  parts.load_progress = environment.load_progress;
  parts.clock = environment.clock;
  parts.options = options;
  ASSIGN_OR_RETURN(rank->device_, DeviceRank::create(configure, std::move(parts)));
  rank->device_->describe(&rank->ready_);
  rank->ready_.model_fingerprint = rank->weights_->fingerprint();
  rank->ready_.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return rank;
}

absl::Status Rank::open_model(const protocol::Configure& configure,
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
  return absl::OkStatus();
}

absl::Status Rank::load_model(const protocol::Configure& configure,
                              const Environment& environment) {
  RETURN_IF_ERROR(open_model(configure, environment));
  LoadRequest request;
  request.spec = &spec_;
  request.weights = weights_;
  request.kernels = kernels_.get();
  request.placement = &placement_;
  request.rank = environment.communicator->rank();
  request.progress = environment.load_progress;
  const int32_t slots = std::max(configure.expert_slots, largest_share());
  if (environment.communicator->size() > 1) {
    // Room for the layers to grow to `slots`, and for one layer's worth of arrivals.
    request.extra_expert_slots = slots * (placement_.layers() + 1);
    for (int32_t m = 0; m < placement_.layers(); ++m) {
      request.extra_expert_slots -= static_cast<int32_t>(placement_.experts_of(m, request.rank).size());
    }
    ready_.spare_expert_slots = slots;
  }
  ready_.expert_slots = slots;
  ASSIGN_OR_RETURN(loaded_, load_weights(request));
  return absl::OkStatus();
}

// Experts of one layer on the rank that has most of them, any rank: equal on all ranks.
int32_t Rank::largest_share() const {
  size_t most = 0;
  for (int32_t layer = 0; layer < placement_.layers(); ++layer) {
    for (int32_t rank = 0; rank < placement_.ranks(); ++rank) {
      most = std::max(most, placement_.experts_of(layer, rank).size());
    }
  }
  return static_cast<int32_t>(most);
}

void Rank::make_switcher(const Environment& environment) {
  clock_ = environment.clock;
  if (placement_.layers() == 0) return;
  ready_.expert_slot_bytes = loaded_.experts->slot_bytes();
  auto on_prepared = environment.on_prepared;
  if (!on_prepared) on_prepared = [](const protocol::Prepared&) {};
  switcher_ = std::make_unique<PlacementSwitcher>(
      PlacementSwitcher::Parts{loaded_.experts.get(), environment.communicator->rank(),
                               std::move(on_prepared)},
      placement_, [this](int32_t moe_layer, const std::vector<std::vector<int32_t>>& holders) {
        exchange_->set_holders(moe_layer, holders);
        rank_hits_->set_holders(moe_layer, holders);
        if (coherent_ != nullptr) coherent_->set_holders(moe_layer, holders);
      });
}

absl::Status Rank::run(const protocol::StepPlan& plan) {
  RETURN_IF_ERROR(enqueue(plan));
  return finish();
}

absl::StatusOr<bool> Rank::done() {
  if (device_ == nullptr) return true;
  return device_->done();
}

absl::Status Rank::finish() { return device_ == nullptr ? absl::OkStatus() : device_->finish(); }

absl::Status Rank::enqueue(const protocol::StepPlan& plan) {
  if (device_ != nullptr) return enqueue_on_device(plan);
  switch_seconds_ = 0;
  if (switcher_ != nullptr) {
    if (plan.placement_epoch != switcher_->epoch()) {
      const double begin = clock_();
      RETURN_IF_ERROR(switcher_->switch_to(plan.placement_epoch));
      switch_seconds_ = clock_() - begin;
    }
    if (plan.prepare) RETURN_IF_ERROR(switcher_->prepare(*plan.prepare));
  }
  return executor_->run(plan);
}

// Devices keep the placement they started with: an update is answered with that.
absl::Status Rank::enqueue_on_device(const protocol::StepPlan& plan) {
  if (plan.placement_epoch != placement_.epoch()) {
    return absl::UnimplementedError("a device cannot switch to another expert placement");
  }
  if (!plan.kv_moves.empty() || plan.shared_kv) {
    return absl::UnimplementedError("a device keeps the K/V of a sequence where it was computed");
  }
  if (plan.prepare && on_prepared_) {
    protocol::Prepared refusal;
    refusal.epoch = plan.prepare->epoch;
    refusal.error = "experts on a GPU keep the placement they started with";
    on_prepared_(refusal);
  }
  return device_->enqueue(plan);
}

void Rank::append_result(const protocol::StepPlan& plan, protocol::StepResult* result) {
  if (device_ != nullptr) return device_->append_result(plan, result);
  executor_->append_result(plan, result);
  result->ranks.back().switch_seconds = switch_seconds_;
  if (plan.report_routing && counter_ != nullptr) result->routing.push_back(counter_->take());
}

absl::Status Rank::make_kv(const protocol::Configure& configure, const Environment& environment) {
  KvCache::Options options;
  for (const LayerWeights& layer : loaded_.model.layers) {
    options.block_bytes.push_back(kernels_->kv_block_bytes(layer.attention));
  }
  options.blocks = configure.kv_blocks;
  options.memory_bytes = configure.kv_memory_bytes;
  options.available_bytes =
      available_memory_bytes() / static_cast<uint64_t>(std::max(1, environment.ranks_on_host));
  if (options.blocks == 0 && options.memory_bytes == 0) {
    options.memory_bytes =
        static_cast<uint64_t>(kKvShareOfFreeMemory * static_cast<double>(options.available_bytes));
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
    rank_hits_ = std::make_unique<RankHits>(placement_);
    counter_ = std::make_unique<RoutingCounter>(placement_.layers(), spec_.experts, spec_.top_k,
                                                kRoutingSamples);
    ExpertExchange::Options options;
    options.max_rows = configure.max_step_tokens;
    options.hidden = spec_.hidden;
    options.top_k = spec_.top_k;
    ASSIGN_OR_RETURN(options.overlap, parse_overlap_mode(configure.overlap));
    options.expert.weight_bytes = static_cast<double>(loaded_.experts->slot_bytes());
    options.expert.flops_per_row = 6.0 * spec_.hidden * spec_.expert_width;
    options.rates.flops_per_second *= std::max(1, configure.threads);
    const ExpertExchange::Parts parts{kernels_.get(),        environment.communicator,
                                      loaded_.experts.get(), &placement_,
                                      environment.progress,  environment.clock};
    ASSIGN_OR_RETURN(exchange_, ExpertExchange::create(parts, options));
    const bool pre_gated = spec_.pre_gate_distance > 0;
    const bool wanted = configure.plan == "coherent" || (configure.plan == "auto" && !pre_gated);
    if (wanted && environment.communicator->size() > 1) {
      if (pre_gated) {
        return absl::InvalidArgumentError(
            "a pre-gated model cannot run the coherent plan: its routing would have to travel with "
            "the tokens; use --plan fixed");
      }
      ASSIGN_OR_RETURN(coherent_, CoherentExchange::create(parts, options,
                                                           spec_.ladder_residual ? 2 : 1));
      if (configure.plan == "auto") {
        ASSIGN_OR_RETURN(const ExchangeFigures figures,
                         calibrate_exchange(environment.communicator, environment.clock));
        ready_.exchange_latency_seconds = figures.latency_seconds;
        ready_.exchange_bytes_per_second = figures.bytes_per_second;
      }
    }
  }
  ASSIGN_OR_RETURN(
      executor_,
      Executor::create({&spec_, &loaded_.model, kernels_.get(), loaded_.experts.get(),
                        exchange_.get(), coherent_.get(), environment.communicator, &kv_,
                        counter_.get(), rank_hits_.get(), environment.progress,
                        environment.clock},
                       {environment.communicator->rank(), environment.communicator->size(),
                        configure.max_step_tokens, configure.max_model_len, environment.fault}));
  return absl::OkStatus();
}

}  // namespace conclave::worker
