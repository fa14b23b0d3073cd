#include "worker/executor.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {

Executor::Executor(const Parts& parts, const Options& options)
    : parts_(parts),
      options_(options),
      batch_({options.ranks, options.max_step_tokens,
              std::min(options.max_model_len, parts.spec->max_positions), parts.kv->blocks(),
              parts.spec->vocab}),
      routing_(*parts.spec, options.max_step_tokens),
      head_(parts.spec, parts.weights, parts.kernels, options.max_step_tokens) {}

absl::StatusOr<std::unique_ptr<Executor>> Executor::create(const Parts& parts,
                                                           const Options& options) {
  if (options.max_step_tokens < 1 || options.max_model_len < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("a rank needs room for at least one token: max_step_tokens is ",
                     options.max_step_tokens, ", max_model_len ", options.max_model_len));
  }
  std::unique_ptr<Executor> executor(new Executor(parts, options));
  RETURN_IF_ERROR(executor->reserve());
  return executor;
}

void Executor::lay_out(RegionCursor* cursor) {
  const auto rows = static_cast<size_t>(options_.max_step_tokens);
  const auto hidden = static_cast<size_t>(parts_.spec->hidden);
  const size_t query = static_cast<size_t>(parts_.spec->heads) * parts_.spec->head_dim;
  const size_t key = static_cast<size_t>(parts_.spec->kv_heads) * parts_.spec->head_dim;
  const size_t act_bytes = dtype_bytes(parts_.kernels->act_dtype());
  residual_ = cursor->take_array<float>(rows * hidden);
  attention_out_ = cursor->take_array<float>(rows * hidden);
  mlp_out_ = cursor->take_array<float>(rows * hidden);
  qkv_ = cursor->take_array<float>(rows * (query + 2 * key));
  normed_ = cursor->take(rows * hidden * act_bytes);
  query_ = cursor->take(rows * query * act_bytes);
  context_ = cursor->take(rows * query * act_bytes);
  dense_out_ = cursor->take(rows * hidden * act_bytes);
}

absl::Status Executor::reserve() {
  RegionCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(memory_, HostRegion::create(measure.used(), "activations"));
  RegionCursor cursor(memory_.data());
  lay_out(&cursor);
  const auto rows = static_cast<size_t>(options_.max_step_tokens);
  own_rows_.resize(rows);
  std::iota(own_rows_.begin(), own_rows_.end(), 0);
  zeros_.resize(rows, 0);
  ones_.resize(rows, 1.0f);
  previous_.reserve(rows);
  return head_.reserve();
}

absl::Status Executor::run(const protocol::StepPlan& plan) {
  const double begin = parts_.clock();
  step_ = plan.step;
  deadline_ = Deadline::after_ms(plan.deadline_ms);
  parts_.progress->begin_step(plan.step);
  parts_.progress->enter("plan");
  RETURN_IF_ERROR(batch_.assign(plan, options_.rank, previous_));
  routing_.record(batch_.wants_routing(), batch_.rows());
  if (parts_.exchange != nullptr) parts_.exchange->reset_timing();

  if (batch_.rows() > 0) {
    parts_.progress->enter("embed");
    parts_.kernels->embed(batch_.tokens(), parts_.weights->embedding,
                          float_view(residual_, parts_.spec->hidden));
  }
  RETURN_IF_ERROR(parts_.spec->ladder_residual ? run_ladder_layers() : run_layers());
  parts_.progress->enter("head");
  head_.run(batch_, float_view(residual_, parts_.spec->hidden));
  remember_sampled(plan);
  step_seconds_ = parts_.clock() - begin;
  return absl::OkStatus();
}

absl::Status Executor::begin_layer(int32_t layer) {
  parts_.progress->enter("layer begin", layer);
  return options_.fault.strike(options_.rank, step_, layer);
}

absl::Status Executor::run_layers() {
  const kernels::MatrixView residual = float_view(residual_, parts_.spec->hidden);
  const kernels::MatrixView attended = float_view(attention_out_, parts_.spec->hidden);
  const kernels::MatrixView mlp = float_view(mlp_out_, parts_.spec->hidden);
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(begin_layer(layer));
    attention(layer, attended);
    add(residual, attended, layer);
    RETURN_IF_ERROR(feed_forward(layer, mlp));
    add(residual, mlp, layer);
  }
  return absl::OkStatus();
}

// Ladder residual (Zhang et al., ICML 2025, arXiv 2501.06589): each module reads the stream without the
// output of the module before it.
absl::Status Executor::run_ladder_layers() {
  const kernels::MatrixView residual = float_view(residual_, parts_.spec->hidden);
  const kernels::MatrixView attended = float_view(attention_out_, parts_.spec->hidden);
  const kernels::MatrixView mlp = float_view(mlp_out_, parts_.spec->hidden);
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(begin_layer(layer));
    if (layer > 0) add(residual, attended, layer);
    attention(layer, attended);
    if (layer > 0) add(residual, mlp, layer);
    RETURN_IF_ERROR(feed_forward(layer, mlp));
  }
  add(residual, attended, parts_.spec->layers - 1);
  add(residual, mlp, parts_.spec->layers - 1);
  return absl::OkStatus();
}

void Executor::add(const kernels::MatrixView& residual, const kernels::MatrixView& output,
                   int32_t layer) {
  if (batch_.rows() == 0) return;
  parts_.progress->enter("residual", layer);
  parts_.kernels->add(residual, output);
}

void Executor::attention(int32_t index, const kernels::MatrixView& out) {
  if (batch_.rows() == 0) return;
  const LayerWeights& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const kernels::AttentionShape& shape = layer.attention;
  const int64_t query_width = int64_t{shape.heads} * shape.head_dim;
  const int64_t key_width = int64_t{shape.kv_heads} * shape.head_dim;
  const kernels::MatrixView normed = act_view(normed_, parts_.spec->hidden);
  const kernels::MatrixView qkv = float_view(qkv_, query_width + 2 * key_width);
  const kernels::MatrixView query = act_view(query_, query_width);
  const kernels::MatrixView context = act_view(context_, query_width);
  const kernels::KvLayerView kv = parts_.kv->layer(index);
  const kernels::AttentionBatch rows = batch_.attention();
  kernels::KernelSet& kernels = *parts_.kernels;

  parts_.progress->enter("qkv", index);
  kernels.rms_norm(float_view(residual_, parts_.spec->hidden), layer.input_norm,
                   parts_.spec->norm_eps, normed);
  kernels.matmul(normed, layer.qkv, layer.qkv_bias, qkv);
  parts_.progress->enter("append kv", index);
  kernels.append_kv(shape, layer.parameters, rows, qkv, kv, query);
  parts_.progress->enter("attention", index);
  kernels.attention(shape, rows, query, kv, context);
  parts_.progress->enter("out projection", index);
  kernels.matmul(context, layer.o, layer.o_bias, out);
}

absl::Status Executor::feed_forward(int32_t index, const kernels::MatrixView& out) {
  const LayerWeights& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const bool is_moe = layer.moe_index >= 0;
  // Rows that may travel are written where the exchange wants them.
  const kernels::MatrixView normed = is_moe ? parts_.exchange->input(batch_.rows())
                                            : act_view(normed_, parts_.spec->hidden);
  if (batch_.rows() > 0) {
    parts_.progress->enter("norm", index);
    parts_.kernels->rms_norm(float_view(residual_, parts_.spec->hidden),
                             layer.post_attention_norm, parts_.spec->norm_eps, normed);
  }
  if (is_moe) return moe(index, normed, out);
  if (batch_.rows() > 0) dense(index, normed, out);
  return absl::OkStatus();
}

absl::Status Executor::moe(int32_t index, const kernels::ConstMatrixView& normed,
                           const kernels::MatrixView& out) {
  const LayerWeights& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const int64_t rows = batch_.rows();
  if (rows > 0) {
    parts_.progress->enter("router", index);
    routing_.decide(parts_.kernels, layer, normed);
    routing_.note(layer.moe_index, rows);
    const int32_t later = routing_.pre_gated_by(layer);
    if (later >= 0) RETURN_IF_ERROR(parts_.experts->prefetch(later, routing_.ids(later, rows)));
  }
  ExpertExchange::Request request;
  request.layer = index;
  request.weights = &layer;
  request.rows = rows;
  request.ids = routing_.ids(layer.moe_index, rows);
  request.expert_weights = routing_.weights(layer.moe_index, rows);
  request.step = step_;
  request.deadline = deadline_;
  ASSIGN_OR_RETURN(const ExpertExchange::Ticket ticket, parts_.exchange->dispatch(request));
  return parts_.exchange->combine(ticket, out);
}

// A dense MLP is one expert that all rows use with weight one.
void Executor::dense(int32_t index, const kernels::ConstMatrixView& normed,
                     const kernels::MatrixView& out) {
  const LayerWeights& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const auto rows = static_cast<size_t>(batch_.rows());
  const std::span<const int32_t> own(own_rows_.data(), rows);
  const kernels::ExpertGroup group{&layer.dense, own, own};
  const kernels::MatrixView output = act_view(dense_out_, parts_.spec->hidden);
  parts_.progress->enter("dense mlp", index);
  parts_.kernels->expert_ffn({&group, 1}, normed, output);
  const kernels::ConstMatrixView source = output;
  kernels::CombineInput input;
  input.sources = {&source, 1};
  input.source_of = {zeros_.data(), rows};
  input.row_of = own;
  input.weights = {ones_.data(), rows};
  input.top_k = 1;
  parts_.kernels->combine(input, out);
}

void Executor::remember_sampled(const protocol::StepPlan& plan) {
  previous_.clear();
  const std::span<const HeadRow> rows = batch_.head_rows();
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].use != HeadRow::Use::kSample) continue;
    previous_.add(plan.chunks[static_cast<size_t>(rows[i].chunk)].sequence_id,
                  head_.results()[i].token);
  }
  previous_.sort();
}

void Executor::append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const {
  const int32_t k = routing_.top_k();
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    const protocol::SequenceChunk& chunk = plan.chunks[index];
    if (batch_.first_row(index) < 0) continue;
    protocol::SequenceResult& sequence = result->sequences.emplace_back();
    sequence.sequence_id = chunk.sequence_id;
    head_.append_to(batch_, static_cast<int32_t>(index), &sequence);
    if (!chunk.want_routing) continue;
    for (int32_t m = 0; m < routing_.moe_layers(); ++m) {
      const std::span<const int32_t> ids = routing_.recorded(m, batch_.rows());
      const int32_t* first = ids.data() + static_cast<int64_t>(batch_.first_row(index)) * k;
      sequence.routing.insert(sequence.routing.end(), first,
                              first + static_cast<int64_t>(chunk.tokens.size()) * k);
    }
  }
  protocol::RankTiming& timing = result->ranks.emplace_back();
  timing.rank = options_.rank;
  timing.tokens = batch_.rows();
  timing.compute_seconds = step_seconds_;
  if (parts_.exchange == nullptr) return;
  const ExpertExchange::Timing& exchange = parts_.exchange->timing();
  timing.exchange_seconds = exchange.exchange_seconds;
  timing.exchange_exposed_seconds = exchange.exposed_seconds;
  timing.compute_seconds -= exchange.exposed_seconds;
  timing.bytes_sent = exchange.bytes_sent;
  timing.messages_sent = exchange.messages_sent;
  timing.expert_rows.assign(parts_.exchange->expert_rows().begin(),
                            parts_.exchange->expert_rows().end());
}

}  // namespace conclave::worker
