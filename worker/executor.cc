#include "worker/executor.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {
namespace {

constexpr int64_t kSamplesPerStep = 8;

}  // namespace

Executor::Executor(const Parts& parts, const Options& options)
    : parts_(parts),
      options_(options),
      batch_({options.ranks, options.max_step_tokens,
              std::min(options.max_model_len, parts.spec->max_positions), parts.kv->blocks(),
              parts.spec->vocab, parts.coherent != nullptr}),
      routing_(*parts.spec, options.max_step_tokens),
      recorder_(options.max_step_tokens, static_cast<int32_t>(parts.spec->moe_layers().size()),
                parts.spec->top_k),
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
  leader_.resize(rows, 0);
  samples_.reserve(kSamplesPerStep);
  items_.reserve(rows);
  states_ = {residual_};
  if (parts_.spec->ladder_residual) states_.push_back(attention_out_);
  if (parts_.coherent != nullptr) {
    ASSIGN_OR_RETURN(publisher_, KvPublisher::create({parts_.weights, parts_.kernels,
                                                      parts_.communicator, parts_.kv, parts_.clock},
                                                     options_.max_step_tokens, {qkv_, query_}));
  }
  previous_.reserve(rows);
  return head_.reserve();
}

absl::Status Executor::run(const protocol::StepPlan& plan) {
  const double begin = parts_.clock();
  step_ = plan.step;
  deadline_ = Deadline::after_ms(plan.deadline_ms);
  parts_.progress->begin_step(plan.step);
  parts_.progress->trace(plan.trace);
  parts_.progress->enter("plan");
  RETURN_IF_ERROR(batch_.assign(plan, options_.rank, previous_));
  routing_.record(batch_.wants_routing(), batch_.rows());
  if (parts_.exchange != nullptr) parts_.exchange->reset_timing();
  if (publisher_ != nullptr) {
    parts_.coherent->reset_timing();
    publisher_->begin_step();
    items_.assign(batch_.start_items().begin(), batch_.start_items().end());
    // A token of a top-1 model is where its only expert is: results of coherent rows need no way back.
    const bool all_coherent =
        std::all_of(plan.chunks.begin(), plan.chunks.end(),
                    [](const protocol::SequenceChunk& chunk) { return chunk.coherent; });
    returns_ = parts_.spec->top_k > 1 || !all_coherent;
  }
  recorder_.begin_step(plan.record_routing);
  begin_samples(plan);
  begin_rank_hits(plan);
  if (!plan.kv_moves.empty()) {
    parts_.progress->enter("move K/V");
    RETURN_IF_ERROR(KvMover(parts_.communicator, parts_.kv, parts_.spec->layers)
                        .run(plan.kv_moves, plan.step, deadline_));
  }

  if (batch_.rows() > 0) {
    parts_.progress->enter("embed");
    const ModelWeights& weights = *parts_.weights;
    const kernels::MatrixView rows = float_view(residual_, parts_.spec->hidden);
    if (weights.embedding.data != nullptr) {
      parts_.kernels->embed(batch_.tokens(), weights.embedding, rows);
    } else {
      parts_.kernels->embed(batch_.tokens(), weights.lm_head, rows);
    }
  }
  RETURN_IF_ERROR(parts_.spec->ladder_residual ? run_ladder_layers() : run_layers());
  if (batch_.shared_kv() && !plan.chunks.empty()) RETURN_IF_ERROR(publish_kv());
  if (batch_.has_coherent()) batch_.finish_coherent(plan, items_);
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
  // Views are made for each use: coherent rows come and go with every layer.
  const auto view = [this](float* data) { return float_view(data, parts_.spec->hidden); };
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(begin_layer(layer));
    attention(layer, view(attention_out_));
    add(view(residual_), view(attention_out_), layer);
    RETURN_IF_ERROR(feed_forward(layer, view(mlp_out_)));
    add(view(residual_), view(mlp_out_), layer);
  }
  return absl::OkStatus();
}

// Ladder residual (Zhang et al., ICML 2025, arXiv 2501.06589): each module reads the stream without the
// output of the module before it.
absl::Status Executor::run_ladder_layers() {
  const auto view = [this](float* data) { return float_view(data, parts_.spec->hidden); };
  for (int32_t layer = 0; layer < parts_.spec->layers; ++layer) {
    RETURN_IF_ERROR(begin_layer(layer));
    if (layer > 0) add(view(residual_), view(attention_out_), layer);
    attention(layer, view(attention_out_));
    if (layer > 0) add(view(residual_), view(mlp_out_), layer);
    RETURN_IF_ERROR(feed_forward(layer, view(mlp_out_)));
  }
  add(view(residual_), view(attention_out_), parts_.spec->layers - 1);
  add(view(residual_), view(mlp_out_), parts_.spec->layers - 1);
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
  if (batch_.shared_kv()) publisher_->keep(index, qkv, batch_.step_rows());
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
  const kernels::MatrixView normed = !is_moe ? act_view(normed_, parts_.spec->hidden)
                                     : batch_.has_coherent() ? parts_.coherent->input(batch_.rows())
                                                             : parts_.exchange->input(batch_.rows());
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
    recorder_.note(layer.moe_index, batch_.step_rows(), routing_.ids(layer.moe_index, rows),
                   routing_.weights(layer.moe_index, rows));
    count_routing(layer.moe_index);
    count_rank_hits(layer.moe_index);
    const int32_t later = routing_.pre_gated_by(layer);
    if (later >= 0) RETURN_IF_ERROR(parts_.experts->prefetch(later, routing_.ids(later, rows)));
  }
  if (batch_.has_coherent()) return coherent_moe(index, out);
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

absl::Status Executor::coherent_moe(int32_t index, const kernels::MatrixView& out) {
  const LayerWeights& weights = parts_.weights->layers[static_cast<size_t>(index)];
  CoherentExchange::Layer layer;
  layer.number = index;
  layer.weights = &weights;
  layer.ids = routing_.ids(weights.moe_index, batch_.rows());
  layer.expert_weights = routing_.weights(weights.moe_index, batch_.rows());
  layer.step = step_;
  layer.deadline = deadline_;
  layer.returns = returns_;
  CoherentExchange::Rows rows;
  rows.count = batch_.rows();
  rows.fixed = batch_.fixed_rows();
  rows.items = &items_;
  rows.leaders = &leader_;
  rows.states = states_;
  RETURN_IF_ERROR(parts_.coherent->run(layer, &rows, out));
  batch_.set_coherent(items_);
  return absl::OkStatus();
}

absl::Status Executor::publish_kv() {
  parts_.progress->enter("publish K/V");
  return publisher_->publish(batch_.plan_rows(), batch_.block_ids(), step_, deadline_);
}

// A few rows of each step, spread evenly, at another offset each time.
void Executor::begin_samples(const protocol::StepPlan& plan) {
  samples_.clear();
  if (parts_.counter == nullptr || batch_.rows() == 0) return;
  const int64_t stride = std::max<int64_t>(1, batch_.rows() / kSamplesPerStep);
  int64_t next = plan.step % stride;
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    const int64_t first = batch_.first_row(index);
    if (first < 0) continue;
    const int64_t end = first + static_cast<int64_t>(plan.chunks[index].tokens.size());
    for (; next < end && samples_.size() < kSamplesPerStep; next += stride) {
      const int32_t slot = parts_.counter->begin_sample(plan.chunks[index].sequence_id);
      if (slot >= 0) samples_.push_back({static_cast<int32_t>(next), slot});
    }
  }
}

void Executor::begin_rank_hits(const protocol::StepPlan& plan) {
  hits_.clear();
  for (size_t index = 0; parts_.rank_hits != nullptr && index < plan.chunks.size(); ++index) {
    if (!plan.chunks[index].want_rank_hits || batch_.first_row(index) < 0) continue;
    hits_.push_back({static_cast<int32_t>(index), batch_.first_row(index),
                     static_cast<int64_t>(plan.chunks[index].tokens.size())});
  }
  if (hits_.empty()) return;
  hit_counts_.assign(hits_.size() * static_cast<size_t>(parts_.rank_hits->ranks()), 0);
}

void Executor::count_rank_hits(int32_t moe_layer) {
  if (hits_.empty()) return;
  const std::span<const int32_t> ids = routing_.ids(moe_layer, batch_.rows());
  const int32_t k = routing_.top_k();
  const auto ranks = static_cast<size_t>(parts_.rank_hits->ranks());
  for (size_t i = 0; i < hits_.size(); ++i) {
    parts_.rank_hits->count(moe_layer,
                            ids.subspan(static_cast<size_t>(hits_[i].first_row * k),
                                        static_cast<size_t>(hits_[i].rows * k)),
                            k, std::span(hit_counts_).subspan(i * ranks, ranks));
  }
}

void Executor::count_routing(int32_t moe_layer) {
  if (parts_.counter == nullptr && !batch_.has_coherent()) return;
  const auto k = static_cast<size_t>(routing_.top_k());
  const std::span<const int32_t> ids = routing_.ids(moe_layer, batch_.rows());
  const std::span<const float> weights = routing_.weights(moe_layer, batch_.rows());
  for (size_t row = 0; row < static_cast<size_t>(batch_.rows()); ++row) {
    const std::span<const int32_t> chosen = ids.subspan(row * k, k);
    const int32_t leading = RoutingCounter::leader(chosen, weights.subspan(row * k, k));
    if (parts_.counter != nullptr) {
      parts_.counter->count(moe_layer, chosen, leader_[row], leading);
    }
    leader_[row] = leading;
  }
  for (const Sample& sample : samples_) {
    const size_t first = static_cast<size_t>(sample.row) * k;
    parts_.counter->sample(sample.slot, moe_layer, ids.subspan(first, k), weights.subspan(first, k));
  }
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

void Executor::append_spans(protocol::RankTiming* timing) const {
  if (!parts_.progress->tracing()) return;
  int64_t end_ns = 0;
  const std::span<const StepProgress::Mark> marks = parts_.progress->end_trace(&end_ns);
  timing->spans.reserve(marks.size());
  for (size_t i = 0; i < marks.size(); ++i) {
    const int64_t end = i + 1 < marks.size() ? marks[i + 1].at_ns : end_ns;
    timing->spans.push_back({marks[i].operation, marks[i].layer,
                             1e-9 * static_cast<double>(marks[i].at_ns - marks[0].at_ns),
                             1e-9 * static_cast<double>(end - marks[0].at_ns)});
  }
}

void Executor::append_result(const protocol::StepPlan& plan, protocol::StepResult* result) const {
  const int32_t k = routing_.top_k();
  for (size_t index = 0; index < plan.chunks.size(); ++index) {
    const protocol::SequenceChunk& chunk = plan.chunks[index];
    if (batch_.first_row(index) < 0) continue;
    protocol::SequenceResult& sequence = result->sequences.emplace_back();
    sequence.sequence_id = chunk.sequence_id;
    head_.append_to(batch_, static_cast<int32_t>(index), &sequence);
    for (size_t i = 0; i < hits_.size(); ++i) {
      if (hits_[i].chunk != static_cast<int32_t>(index)) continue;
      const auto ranks = static_cast<int64_t>(parts_.rank_hits->ranks());
      const auto first = hit_counts_.begin() + static_cast<int64_t>(i) * ranks;
      sequence.rank_hits.assign(first, first + ranks);
    }
    if (!chunk.want_routing) continue;
    for (int32_t m = 0; m < routing_.moe_layers(); ++m) {
      const std::span<const int32_t> ids = routing_.recorded(m, batch_.rows());
      const int32_t* first = ids.data() + static_cast<int64_t>(batch_.first_row(index)) * k;
      sequence.routing.insert(sequence.routing.end(), first,
                              first + static_cast<int64_t>(chunk.tokens.size()) * k);
    }
  }
  if (plan.record_routing) result->rows.add(recorder_.recorded());
  protocol::RankTiming& timing = result->ranks.emplace_back();
  timing.rank = options_.rank;
  timing.tokens = batch_.rows();
  timing.compute_seconds = step_seconds_;
  append_spans(&timing);
  if (parts_.exchange == nullptr) return;
  const ExpertExchange::Timing& exchange = parts_.exchange->timing();
  timing.exchange_seconds = exchange.exchange_seconds;
  timing.exchange_exposed_seconds = exchange.exposed_seconds;
  timing.combine_seconds = exchange.combine_seconds;
  timing.bytes_sent = exchange.bytes_sent;
  timing.messages_sent = exchange.messages_sent;
  timing.expert_rows.assign(parts_.exchange->expert_rows().begin(),
                            parts_.exchange->expert_rows().end());
  append_traffic(&timing);
  for (size_t m = 0; publisher_ != nullptr && m < timing.expert_rows.size(); ++m) {
    timing.expert_rows[m] += parts_.coherent->expert_rows()[m];
  }
  timing.compute_seconds -= timing.exchange_exposed_seconds;
}

void Executor::append_traffic(protocol::RankTiming* timing) const {
  const ExpertExchange::Timing& exchange = parts_.exchange->timing();
  const auto add = [timing](protocol::TrafficDirection direction, int64_t messages, int64_t bytes) {
    if (messages == 0) return;
    timing->traffic.push_back({protocol::TrafficPlan::kFixed, direction, messages, bytes});
  };
  add(protocol::TrafficDirection::kDispatch, exchange.rows_dispatched, exchange.bytes_dispatched);
  add(protocol::TrafficDirection::kReturn, exchange.rows_served, exchange.bytes_returned);
  if (publisher_ == nullptr) return;
  const CoherentExchange::Timing& coherent = parts_.coherent->timing();
  const KvPublisher::Timing& published = publisher_->timing();
  timing->exchange_seconds += coherent.exchange_seconds + published.exchange_seconds;
  timing->exchange_exposed_seconds += coherent.exposed_seconds + published.exchange_seconds;
  timing->bytes_sent += coherent.bytes_sent + published.bytes_sent;
  timing->messages_sent += coherent.messages_sent + published.messages_sent;
  for (const auto& plan : coherent.traffic) {
    for (const protocol::Traffic& traffic : plan) {
      if (traffic.messages > 0) timing->traffic.push_back(traffic);
    }
  }
  if (published.traffic.messages > 0) timing->traffic.push_back(published.traffic);
}

}  // namespace conclave::worker
