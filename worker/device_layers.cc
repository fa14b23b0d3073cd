#include "worker/device_layers.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "worker/device_layout.h"

namespace conclave::worker {

DeviceLayers::DeviceLayers(Parts parts, const Options& options)
    : parts_(std::move(parts)),
      options_(options),
      router_{parts_.spec->experts, parts_.spec->top_k, parts_.spec->normalize_top_k ? 1 : 0},
      moe_layers_(static_cast<int32_t>(parts_.spec->moe_layers().size())) {}

void DeviceLayers::lay_out(DeviceCursor* cursor) {
  const model::ModelSpec& spec = *parts_.spec;
  const auto rows = static_cast<size_t>(options_.max_rows);
  const auto piece = static_cast<size_t>(options_.piece_rows);
  const auto width = static_cast<size_t>(spec.hidden);
  const size_t query = static_cast<size_t>(spec.heads) * static_cast<size_t>(spec.head_dim);
  const size_t key = static_cast<size_t>(spec.kv_heads) * static_cast<size_t>(spec.head_dim);
  const size_t act = dtype_bytes(parts_.device->act_dtype());
  const size_t pairs = rows * static_cast<size_t>(spec.top_k);
  const auto layers = static_cast<size_t>(moe_layers_);
  const size_t ranks =
      parts_.exchange == nullptr ? 1 : static_cast<size_t>(parts_.exchange->ranks());
  tokens_ = cursor->take_array<int32_t>(rows);
  residual_ = cursor->take_array<float>(rows * width);
  if (spec.ladder_residual) {
    attended_ = cursor->take_array<float>(rows * width);
    mlp_out_ = cursor->take_array<float>(rows * width);
  }
  qkv_ = cursor->take_array<float>(rows * (query + 2 * key));
  normed_ = cursor->take(rows * width * act);
  query_ = cursor->take(rows * query * act);
  context_rows_ = cursor->take(rows * query * act);
  if (parts_.exchange == nullptr) pair_rows_ = cursor->take(pairs * width * act);
  shared_rows_ = cursor->take(rows * width * act);
  shared_gate_ = cursor->take_array<float>(rows);
  ids_ = cursor->take_array<int32_t>(layers * pairs);
  weights_ = cursor->take_array<float>(layers * pairs);
  counts_ = cursor->take_array<int32_t>(layers * static_cast<size_t>(spec.experts));
  offsets_ = cursor->take_array<int32_t>(static_cast<size_t>(spec.experts) + 1);
  pairs_ = cursor->take_array<int32_t>(pairs * ranks);
  head_rows_ = cursor->take(piece * width * act);
  logits_ = cursor->take_array<float>(piece * static_cast<size_t>(spec.vocab));
  results_ =
      cursor->take_array<device::SamplingResult>(static_cast<size_t>(options_.max_head_rows));
}

absl::Status DeviceLayers::reserve() {
  DeviceCursor measure(nullptr);
  lay_out(&measure);
  ASSIGN_OR_RETURN(memory_, parts_.device->alloc(measure.used(), "activations"));
  DeviceCursor cursor(memory_.data());
  lay_out(&cursor);
  return absl::OkStatus();
}

const int32_t* DeviceLayers::ids(int32_t moe_layer) const { return mutable_ids(moe_layer); }

int32_t* DeviceLayers::mutable_ids(int32_t moe_layer) const {
  return ids_ + int64_t{moe_layer} * options_.max_rows * router_.top_k;
}

float* DeviceLayers::expert_weights(int32_t moe_layer) const {
  return weights_ + int64_t{moe_layer} * options_.max_rows * router_.top_k;
}

device::ExpertLists DeviceLayers::lists(int32_t moe_layer) const {
  return {counts_ + int64_t{moe_layer} * router_.experts, offsets_, pairs_};
}

device::RowCount DeviceLayers::rows(const DeviceStepView& step) const {
  return {step.bounds.rows, step.row_count};
}

absl::Status DeviceLayers::run_layers(device::Stream* stream, const DeviceStepView& step) {
  const model::ModelSpec& spec = *parts_.spec;
  stream_ = stream;
  step_ = &step;
  const device::RowCount count = rows(step);
  RETURN_IF_ERROR(check(
      ops().resolve_tokens(context(), stream, count, step.tokens, results_, spec.vocab, tokens_)));
  RETURN_IF_ERROR(
      check(ops().embed(context(), stream, count, tokens_, parts_.weights->embedding,
                        parts_.weights->embedding_dtype, spec.vocab, spec.hidden, residual_)));
  // Ladder residual (Zhang et al., ICML 2025, arXiv 2501.06589): each module reads the stream
  // without the output of the module before it, which is added by the next norm but one.
  const bool ladder = spec.ladder_residual;
  for (int32_t layer = 0; layer < spec.layers; ++layer) {
    const bool late = ladder && layer > 0;
    RETURN_IF_ERROR(attention(layer, late ? attended_ : nullptr, ladder ? attended_ : nullptr));
    RETURN_IF_ERROR(feed_forward(layer, late ? mlp_out_ : nullptr, ladder ? mlp_out_ : nullptr));
  }
  if (!ladder) return absl::OkStatus();
  RETURN_IF_ERROR(norm(attended_, nullptr, nullptr));
  return norm(mlp_out_, nullptr, nullptr);
}

absl::Status DeviceLayers::norm(const float* addend, const float* weight, void* out) {
  return check(ops().add_rms_norm(context(), stream_, rows(*step_), hidden(), residual_, addend,
                                  weight, parts_.spec->norm_eps, out));
}

absl::Status DeviceLayers::attention(int32_t index, const float* addend, float* out) {
  const DeviceLayer& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const device::RowCount count = rows(*step_);
  const device::AttentionBatch batch{
      count,          {step_->bounds.chunks, step_->chunk_count}, step_->rows,
      step_->chunks,  static_cast<const int32_t*>(step_->lists),  step_->max_chunk_rows,
      step_->max_keys};
  const device::KvLayer& kv = parts_.kv[static_cast<size_t>(index)];
  // Elsewhere the layer before left it behind (add_output).
  if (index == 0 || parts_.spec->ladder_residual) {
    RETURN_IF_ERROR(norm(addend, layer.input_norm, normed_));
  }
  RETURN_IF_ERROR(
      check(ops().matmul(context(), stream_, count, normed_, &layer.qkv, layer.qkv_bias, 0, qkv_)));
  RETURN_IF_ERROR(
      check(ops().append_attention(context(), stream_, &layer.attention, &layer.parameters, &batch,
                                   qkv_, &kv, query_, context_rows_)));
  return check(ops().matmul(context(), stream_, count, context_rows_, &layer.o, layer.o_bias,
                            out == nullptr ? 1 : 0, out == nullptr ? residual_ : out));
}

absl::Status DeviceLayers::feed_forward(int32_t index, const float* addend, float* out) {
  const DeviceLayer& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const bool is_moe = layer.moe_index >= 0;
  // Rows that travel are written where the exchange wants them.
  void* normed =
      is_moe && parts_.exchange != nullptr ? parts_.exchange->rows(step_->bounds.rows) : normed_;
  if (is_moe) {
    RETURN_IF_ERROR(decide(layer, addend, normed));
    return moe(index, normed, out);
  }
  RETURN_IF_ERROR(norm(addend, layer.post_attention_norm, normed));
  RETURN_IF_ERROR(check(ops().dense_ffn(context(), stream_, &parts_.weights->dense_shape,
                                        rows(*step_), normed, &layer.dense, shared_rows_)));
  return add_output(index, {}, out);
}

// Where there is another norm before the next module reads the stream, it rides along.
absl::Status DeviceLayers::add_output(int32_t index, const Output& output, float* out) {
  const DeviceLayer& layer = parts_.weights->layers[static_cast<size_t>(index)];
  const bool is_moe = layer.moe_index >= 0;
  const int32_t top_k = is_moe ? router_.top_k : 0;
  const int32_t* chosen = is_moe ? ids(layer.moe_index) : nullptr;
  const float* weights = is_moe ? expert_weights(layer.moe_index) : nullptr;
  const void* shared = is_moe && !layer.has_shared ? nullptr : shared_rows_;
  const float* gate = output.shared_is_gated ? shared_gate_ : nullptr;
  if (out != nullptr || index + 1 == parts_.spec->layers) {
    return check(ops().combine(context(), stream_, rows(*step_), hidden(), top_k, chosen, weights,
                               &output.sources, shared, gate, out == nullptr ? 1 : 0,
                               out == nullptr ? residual_ : out));
  }
  const DeviceLayer& next = parts_.weights->layers[static_cast<size_t>(index) + 1];
  return check(ops().combine_norm(context(), stream_, rows(*step_), hidden(), top_k, chosen,
                                  weights, &output.sources, shared, gate, residual_,
                                  next.input_norm, parts_.spec->norm_eps, normed_));
}

// Norms what the experts read and runs the routers that this layer hosts: its own gate, and the
// pre-gate of a later layer.
absl::Status DeviceLayers::decide(const DeviceLayer& layer, const float* addend, void* normed) {
  const bool alone = parts_.exchange == nullptr;
  if (layer.gate.data != nullptr) {
    const device::ExpertLists own = lists(layer.moe_index);
    RETURN_IF_ERROR(check(ops().norm_route(
        context(), stream_, rows(*step_), hidden(), residual_, addend, layer.post_attention_norm,
        parts_.spec->norm_eps, normed, &router_, &layer.gate, mutable_ids(layer.moe_index),
        expert_weights(layer.moe_index), alone ? &own : nullptr)));
  } else {
    RETURN_IF_ERROR(norm(addend, layer.post_attention_norm, normed));
    if (alone) {
      const device::ExpertLists own = lists(layer.moe_index);
      RETURN_IF_ERROR(check(ops().group_experts(context(), stream_, &router_, rows(*step_),
                                                ids(layer.moe_index), nullptr, &own)));
    }
  }
  if (layer.pre_gate.data == nullptr) return absl::OkStatus();
  const int32_t later = layer.moe_index + parts_.spec->pre_gate_distance;
  return check(ops().route(context(), stream_, &router_, rows(*step_), normed, &layer.pre_gate,
                           mutable_ids(later), expert_weights(later), nullptr));
}

absl::Status DeviceLayers::moe(int32_t index, const void* normed, float* out) {
  const DeviceLayer& layer = parts_.weights->layers[static_cast<size_t>(index)];
  Output output;
  if (parts_.exchange == nullptr) {
    RETURN_IF_ERROR(local_experts(layer, normed, &output.sources));
    RETURN_IF_ERROR(shared_expert(layer, normed));
  } else {
    RETURN_IF_ERROR(shared_expert(layer, normed));
    RETURN_IF_ERROR(exchanged_experts(layer, &output.sources));
  }
  output.shared_is_gated = layer.has_shared && layer.shared_gate.data != nullptr;
  return add_output(index, output, out);
}

absl::Status DeviceLayers::local_experts(const DeviceLayer& layer, const void* normed,
                                         device::CombineSources* sources) {
  const device::ExpertLists own = lists(layer.moe_index);
  sources->local = pair_rows_;
  return check(ops().expert_ffn(context(), stream_, &router_, &parts_.weights->expert_shape,
                                rows(*step_), normed, &own, layer.experts, pair_rows_));
}

absl::Status DeviceLayers::shared_expert(const DeviceLayer& layer, const void* normed) {
  if (!layer.has_shared) return absl::OkStatus();
  const device::RowCount count = rows(*step_);
  RETURN_IF_ERROR(check(ops().dense_ffn(context(), stream_, &parts_.weights->shared_shape, count,
                                        normed, &layer.shared, shared_rows_)));
  if (layer.shared_gate.data == nullptr) return absl::OkStatus();
  return check(ops().matmul(context(), stream_, count, normed, &layer.shared_gate, nullptr, 0,
                            shared_gate_));
}

absl::Status DeviceLayers::exchanged_experts(const DeviceLayer& layer,
                                             device::CombineSources* sources) {
  DeviceExchange& exchange = *parts_.exchange;
  const int32_t bound = step_->bounds.rows;
  const device::ExpertLists own = lists(layer.moe_index);
  const device::ExpertOwners owners = exchange.owners(layer.moe_index, bound);
  const device::RowCount all{bound * exchange.ranks(), nullptr};
  RETURN_IF_ERROR(exchange.gather(stream_, bound, ids(layer.moe_index)));
  RETURN_IF_ERROR(check(
      ops().group_experts(context(), stream_, &router_, all, exchange.all_ids(), &owners, &own)));
  if (parts_.weights->expert_shape.hidden > 0) {
    RETURN_IF_ERROR(
        check(ops().expert_ffn(context(), stream_, &router_, &parts_.weights->expert_shape, all,
                               exchange.all_rows(), &own, layer.experts, exchange.pair_rows())));
  }
  *sources = exchange.sources(layer.moe_index, bound);
  return exchange.send_home(stream_, bound, own);
}

absl::Status DeviceLayers::run_head(device::Stream* stream, const DeviceStepView& step,
                                    int32_t first, device::RowCount rows) {
  RETURN_IF_ERROR(check(ops().gather_rms_norm(context(), stream, rows, hidden(), residual_,
                                              step.head_index + first, parts_.weights->final_norm,
                                              parts_.spec->norm_eps, head_rows_)));
  return check(ops().matmul(context(), stream, rows, head_rows_, &parts_.weights->lm_head, nullptr,
                            0, logits_));
}

absl::Status DeviceLayers::run_sampler(device::Stream* stream, const DeviceStepView& step,
                                       int32_t first, device::RowCount rows) {
  return check(ops().sample(context(), stream, rows, parts_.spec->vocab, logits_,
                            step.sampling + first,
                            static_cast<const device::TokenCount*>(step.lists),
                            static_cast<const device::TokenBias*>(step.lists), results_ + first));
}

}  // namespace conclave::worker
