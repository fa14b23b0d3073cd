#include "tests/support/fake_device_ops.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/element.h"
#include "kernels/kernel_set.h"
#include "kernels/reference/reference_kernels.h"
#include "kernels/sampling.h"
#include "tests/support/fake_device_comm.h"

namespace conclave::device {

struct Stream {};
struct Event {};
struct Graph {
  std::vector<std::function<void()>> calls;
};

struct Context {
  std::unique_ptr<kernels::KernelSet> kernels;
  std::string message;
  Graph* capturing = nullptr;
  bool failed = false;  // a collective broke in work that was enqueued

  DType act() const { return kernels->act_dtype(); }
  size_t act_bytes() const { return dtype_bytes(act()); }
  Status fail(Status status, std::string text) {
    message = std::move(text);
    return status;
  }
  // What a stream does with a call.
  template <typename Call>
  Status enqueue(Call call) {
    if (capturing != nullptr) {
      capturing->calls.emplace_back(std::move(call));
    } else {
      call();
    }
    return kOk;
  }
};

namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

int32_t actual_of(RowCount rows) {
  return rows.actual != nullptr ? std::min(*rows.actual, rows.bound) : rows.bound;
}
MatrixView f32(float* data, int64_t rows, int64_t cols) {
  return {data, DType::kF32, rows, cols, cols};
}
MatrixView view(void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}
ConstMatrixView view(const void* data, DType dtype, int64_t rows, int64_t cols) {
  return {data, dtype, rows, cols, cols};
}
kernels::PackedMatrix packed(const PackedMatrix& m) {
  return {static_cast<const std::byte*>(m.data), static_cast<DType>(m.dtype), m.n, m.k};
}
kernels::ExpertWeights expert_weights(const ExpertShape& shape, const ExpertSlot& slot) {
  const auto dtype = static_cast<DType>(shape.dtype);
  return {
      {static_cast<const std::byte*>(slot.gate_up), dtype, 2 * shape.intermediate, shape.hidden},
      {static_cast<const std::byte*>(slot.down), dtype, shape.hidden, shape.intermediate}};
}
kernels::AttentionShape attention_shape(const AttentionShape& s) {
  return {s.heads,
          s.kv_heads,
          s.head_dim,
          s.rotary_dim,
          s.sliding_window,
          s.scale,
          static_cast<kernels::QkNorm>(s.qk_norm),
          s.norm_eps,
          s.clip};
}
kernels::RouterShape router_shape(const RouterShape& s) {
  return {s.experts, s.top_k, s.normalize_top_k != 0};
}
absl::Status unsupported(Context* context, const absl::Status& status) {
  if (!status.ok()) context->message = std::string(status.message());
  return status;
}

// --- devices, memory, order

Status device_count(int32_t* count, char*, size_t) {
  *count = kFakeDevices;
  return kOk;
}
Status device_info(int32_t index, DeviceInfo* info, char*, size_t) {
  *info = DeviceInfo{};
  std::snprintf(info->name, sizeof info->name, "host memory");
  info->index = index;
  info->memory_total = info->memory_free = uint64_t{1} << 30;
  return kOk;
}
Status create(int32_t index, int32_t compute_type, Context** out, char* message, size_t bytes) {
  if (index < 0 || index >= kFakeDevices) {
    std::snprintf(message, bytes, "there is no device %d", index);
    return kNoDevice;
  }
  auto context = std::make_unique<Context>();
  context->kernels = kernels::make_reference_kernels(
      compute_type == kComputeF32 ? ComputeType::kF32 : ComputeType::kBF16);
  *out = context.release();
  return kOk;
}
void destroy(Context* context) { delete context; }
const char* message(Context* context) { return context->message.c_str(); }
Status reserve(Context* context, const Limits* limits) {
  return context->kernels
                 ->reserve({limits->max_rows, limits->max_expert_rows, limits->hidden,
                            limits->max_intermediate, limits->vocab, limits->max_positions})
                 .ok()
             ? kOk
             : kNoMemory;
}
Status alloc(Context*, size_t bytes, void** out) {
  constexpr size_t kAlignment = 256;
  *out = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  std::memset(*out, 0xff, bytes);  // NaN, -1
  return kOk;
}
Status free_memory(Context*, void* memory) {
  std::free(memory);
  return kOk;
}
Status copy(Context* context, Stream*, void* to, const void* from, size_t bytes) {
  return context->enqueue([=] { std::memmove(to, from, bytes); });
}
Status fill(Context* context, Stream*, void* to, int32_t byte, size_t bytes) {
  return context->enqueue([=] { std::memset(to, byte, bytes); });
}
Status memory_info(Context*, uint64_t* free_bytes, uint64_t* total_bytes) {
  *free_bytes = *total_bytes = uint64_t{1} << 26;
  return kOk;
}
Status stream_create(Context*, int32_t, Stream** out) {
  *out = new Stream;
  return kOk;
}
Status stream_destroy(Context*, Stream* stream) {
  delete stream;
  return kOk;
}
Status stream_synchronize(Context* context, Stream*) {
  return context->capturing == nullptr ? kOk
                                       : context->fail(kInvalidArgument, "waited while capturing");
}
Status event_create(Context*, int32_t, Event** out) {
  *out = new Event;
  return kOk;
}
Status event_destroy(Context*, Event* event) {
  delete event;
  return kOk;
}
Status event_record(Context*, Stream*, Event*) { return kOk; }
Status event_wait(Context*, Stream*, Event*) { return kOk; }
Status event_done(Context* context, Event*, int32_t* done) {
  *done = 1;
  return context->failed ? context->fail(kPeerLost, "a rank is late or gone") : kOk;
}
Status event_elapsed_ms(Context*, Event*, Event*, float* ms) {
  *ms = 0;
  return kOk;
}
Status graph_begin(Context* context, Stream*) {
  context->capturing = new Graph;
  return kOk;
}
Status graph_end(Context* context, Stream*, Graph** out) {
  *out = std::exchange(context->capturing, nullptr);
  return kOk;
}
Status graph_launch(Context*, Stream*, Graph* graph) {
  for (const auto& call : graph->calls) call();
  return kOk;
}
Status graph_destroy(Context*, Graph* graph) {
  delete graph;
  return kOk;
}

// --- weights

Status supports_attention(Context* context, const AttentionShape* shape) {
  const absl::Status status = context->kernels->supports(attention_shape(*shape));
  return unsupported(context, status).ok() ? kOk : kUnimplemented;
}
Status supports_router(Context* context, const RouterShape* shape) {
  const absl::Status status = context->kernels->supports(router_shape(*shape));
  return unsupported(context, status).ok() ? kOk : kUnimplemented;
}
Status supports_matrix(Context*, int64_t, int64_t, int32_t, int32_t) { return kOk; }
int32_t stored_dtype(Context* context, int32_t file_dtype) {
  return static_cast<int32_t>(context->kernels->stored_dtype(static_cast<DType>(file_dtype)));
}
size_t packed_bytes(Context* context, int64_t n, int64_t k, int32_t dtype) {
  return context->kernels->packed_bytes(n, k, static_cast<DType>(dtype));
}
size_t kv_block_bytes(Context* context, const AttentionShape* shape) {
  return context->kernels->kv_block_bytes(attention_shape(*shape));
}
kernels::WeightRows rows_of(const WeightPart& part) {
  return {part.data, static_cast<DType>(part.dtype), part.rows, part.cols};
}
Status pack_matrix(Context* context, Stream*, const WeightPart* parts, int32_t count, int32_t dtype,
                   void* out) {
  std::vector<kernels::WeightRows> rows;
  for (int32_t i = 0; i < count; ++i) rows.push_back(rows_of(parts[i]));
  context->kernels->pack_matrix(rows, static_cast<DType>(dtype), static_cast<std::byte*>(out));
  return kOk;
}
Status pack_gate_up(Context* context, Stream*, const WeightPart* gate, const WeightPart* up,
                    int32_t dtype, void* out) {
  context->kernels->pack_gate_up(rows_of(*gate), rows_of(*up), static_cast<DType>(dtype),
                                 static_cast<std::byte*>(out));
  return kOk;
}
Status convert(Context*, Stream*, const void* from, int32_t from_dtype, void* to, int32_t to_dtype,
               int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    kernels::store_element(to, static_cast<DType>(to_dtype), i,
                           kernels::load_element(from, static_cast<DType>(from_dtype), i));
  }
  return kOk;
}
Status fill_random(Context*, Stream*, void* to, int32_t dtype, int64_t count, uint64_t seed,
                   float bound) {
  for (int64_t i = 0; i < count; ++i) {
    const float unit = kernels::uniform_random(seed, 0, static_cast<uint32_t>(i), 0);
    kernels::store_element(to, static_cast<DType>(dtype), i, (2 * unit - 1) * bound);
  }
  return kOk;
}

// --- a step

Status resolve_tokens(Context* context, Stream*, RowCount rows, const int32_t* plan,
                      const SamplingResult* previous, int32_t vocab, int32_t* out) {
  return context->enqueue([=] {
    for (int32_t i = 0; i < actual_of(rows); ++i) {
      const int32_t token = plan[i] >= 0 ? plan[i] : previous[-1 - plan[i]].token;
      out[i] = std::clamp(token, 0, vocab - 1);
    }
  });
}
Status embed(Context* context, Stream*, RowCount rows, const int32_t* ids, const void* table,
             int32_t dtype, int64_t vocab, int64_t hidden, float* out) {
  return context->enqueue([=] {
    const auto count = static_cast<size_t>(actual_of(rows));
    context->kernels->embed({ids, count}, view(table, static_cast<DType>(dtype), vocab, hidden),
                            f32(out, actual_of(rows), hidden));
  });
}
Status add_rms_norm(Context* context, Stream*, RowCount rows, int64_t hidden, float* residual,
                    const float* addend, const float* weight, float eps, void* out) {
  return context->enqueue([=] {
    const int64_t n = actual_of(rows);
    const MatrixView stream = f32(residual, n, hidden);
    if (addend != nullptr) {
      context->kernels->add(stream, view(addend, DType::kF32, n, hidden));
    }
    if (out == nullptr) return;
    context->kernels->rms_norm(stream, weight, eps, view(out, context->act(), n, hidden));
  });
}
Status matmul(Context* context, Stream*, RowCount rows, const void* x, const PackedMatrix* weight,
              const float* bias, int32_t accumulate, float* out) {
  return context->enqueue([=, weight = packed(*weight)] {
    const int64_t n = actual_of(rows);
    const ConstMatrixView input = view(x, context->act(), n, weight.k);
    if (accumulate == 0) {
      context->kernels->matmul(input, weight, bias, f32(out, n, weight.n));
      return;
    }
    std::vector<float> product(static_cast<size_t>(n * weight.n));
    context->kernels->matmul(input, weight, bias, f32(product.data(), n, weight.n));
    context->kernels->add(f32(out, n, weight.n), f32(product.data(), n, weight.n));
  });
}

// The batch as the host kernels take it. Block tables may lie anywhere behind block_ids.
kernels::AttentionBatch batch_of(const AttentionBatch& batch,
                                 std::vector<kernels::AttentionRow>* rows) {
  size_t ids = 0;
  for (int32_t i = 0; i < actual_of(batch.rows); ++i) {
    rows->push_back({batch.row[i].position, batch.row[i].block_table});
    const int32_t blocks = batch.row[i].position / kernels::kKvBlockTokens + 1;
    ids = std::max(ids, static_cast<size_t>(batch.row[i].block_table + blocks));
  }
  return {*rows, {batch.block_ids, ids}};
}
Status append_kv(Context* context, Stream*, const AttentionShape* shape,
                 const AttentionParameters* parameters, const AttentionBatch* batch, float* qkv,
                 const KvLayer* kv, void* q_out) {
  return context->enqueue(
      [=, shape = attention_shape(*shape), p = *parameters, batch = *batch, kv = *kv] {
        std::vector<kernels::AttentionRow> rows;
        const kernels::AttentionBatch host = batch_of(batch, &rows);
        const auto n = static_cast<int64_t>(rows.size());
        const int64_t query = int64_t{shape.heads} * shape.head_dim;
        const int64_t key = int64_t{shape.kv_heads} * shape.head_dim;
        context->kernels->append_kv(shape, {p.q_norm, p.k_norm, p.inverse_freq, p.attention_factor},
                                    host, f32(qkv, n, query + 2 * key),
                                    {static_cast<std::byte*>(kv.data), kv.block_stride_bytes},
                                    view(q_out, context->act(), n, query));
      });
}
Status attention(Context* context, Stream*, const AttentionShape* shape,
                 const AttentionBatch* batch, const void* q, const KvLayer* kv, void* out) {
  return context->enqueue([=, shape = attention_shape(*shape), batch = *batch, kv = *kv] {
    std::vector<kernels::AttentionRow> rows;
    const kernels::AttentionBatch host = batch_of(batch, &rows);
    const auto n = static_cast<int64_t>(rows.size());
    const int64_t query = int64_t{shape.heads} * shape.head_dim;
    context->kernels->attention(shape, host, view(q, context->act(), n, query),
                                {static_cast<std::byte*>(kv.data), kv.block_stride_bytes},
                                view(out, context->act(), n, query));
  });
}

void group(const RouterShape& shape, RowCount rows, const int32_t* ids, const ExpertOwners* owners,
           const ExpertLists& lists) {
  std::fill_n(lists.counts, shape.experts, 0);
  int32_t listed = 0;
  for (int32_t expert = 0; expert < shape.experts; ++expert) {
    lists.offsets[expert] = listed;
    for (int32_t pair = 0; pair < actual_of(rows) * shape.top_k; ++pair) {
      if (ids[pair] != expert) continue;
      if (owners != nullptr && owners->owner != nullptr) {
        const int32_t source = pair / shape.top_k / owners->rows_per_source;
        if (owners->owner[source * shape.experts + expert] != owners->self) continue;
      }
      lists.pairs[listed++] = pair;
      ++lists.counts[expert];
    }
  }
  lists.offsets[shape.experts] = listed;
}
Status group_experts(Context* context, Stream*, const RouterShape* shape, RowCount rows,
                     const int32_t* ids, const ExpertOwners* owners, const ExpertLists* lists) {
  const bool owned = owners != nullptr;
  return context->enqueue(
      [=, shape = *shape, lists = *lists, owners = owned ? *owners : ExpertOwners{}] {
        group(shape, rows, ids, owned ? &owners : nullptr, lists);
      });
}
Status route(Context* context, Stream*, const RouterShape* shape, RowCount rows, const void* x,
             const PackedMatrix* gate, int32_t* ids, float* weights, const ExpertLists* lists) {
  const bool listed = lists != nullptr;
  return context->enqueue(
      [=, shape = *shape, gate = packed(*gate), lists = listed ? *lists : ExpertLists{}] {
        const int64_t n = actual_of(rows);
        const auto pairs = static_cast<size_t>(n * shape.top_k);
        std::vector<float> logits(static_cast<size_t>(n * shape.experts));
        const MatrixView logits_view = f32(logits.data(), n, shape.experts);
        context->kernels->matmul(view(x, context->act(), n, gate.k), gate, nullptr, logits_view);
        context->kernels->route(router_shape(shape), logits_view, {ids, pairs}, {weights, pairs});
        const auto all = static_cast<size_t>(rows.bound) * static_cast<size_t>(shape.top_k);
        std::fill(ids + pairs, ids + all, -1);
        std::fill(weights + pairs, weights + all, 0.0f);
        if (listed) group(shape, rows, ids, nullptr, lists);
      });
}
Status expert_ffn(Context* context, Stream*, const RouterShape* router, const ExpertShape* shape,
                  RowCount rows, const void* x, const ExpertLists* lists, const ExpertSlot* slots,
                  void* out) {
  return context->enqueue([=, router = *router, shape = *shape, lists = *lists] {
    for (int32_t expert = 0; expert < router.experts; ++expert) {
      const int32_t* first = lists.pairs + lists.offsets[expert];
      const std::vector<int32_t> pairs(first, first + lists.counts[expert]);
      if (pairs.empty()) continue;
      std::vector<int32_t> in_rows;
      for (const int32_t pair : pairs) in_rows.push_back(pair / router.top_k);
      const kernels::ExpertWeights weights = expert_weights(shape, slots[expert]);
      const kernels::ExpertGroup all{&weights, in_rows, pairs};
      context->kernels->expert_ffn(
          {&all, 1}, view(x, context->act(), rows.bound, shape.hidden),
          view(out, context->act(), int64_t{rows.bound} * router.top_k, shape.hidden));
    }
  });
}
Status dense_ffn(Context* context, Stream*, const ExpertShape* shape, RowCount rows, const void* x,
                 const ExpertSlot* slot, void* out) {
  return context->enqueue([=, shape = *shape, slot = *slot] {
    std::vector<int32_t> own;
    for (int32_t i = 0; i < actual_of(rows); ++i) own.push_back(i);
    const kernels::ExpertWeights weights = expert_weights(shape, slot);
    const kernels::ExpertGroup all{&weights, own, own};
    context->kernels->expert_ffn({&all, 1}, view(x, context->act(), rows.bound, shape.hidden),
                                 view(out, context->act(), rows.bound, shape.hidden));
  });
}
Status combine(Context* context, Stream*, RowCount rows, int64_t hidden, int32_t top_k,
               const int32_t* ids, const float* weights, const CombineSources* sources,
               const void* shared, const float* shared_gate, int32_t accumulate, float* out) {
  return context->enqueue([=, from = *sources] {
    const int64_t n = actual_of(rows);
    const DType act = context->act();
    const int64_t pairs = n * top_k;
    const int64_t remote_rows = int64_t{rows.bound} * top_k;
    const ConstMatrixView views[] = {view(from.local, act, remote_rows, hidden),
                                     view(from.remote, act, remote_rows, hidden)};
    std::vector<int32_t> source_of, row_of;
    for (int64_t p = 0; p < pairs; ++p) {
      const int32_t owner = from.owner == nullptr ? from.self : from.owner[ids[p]];
      const bool local = owner == from.self;
      source_of.push_back(local ? 0 : 1);
      row_of.push_back(static_cast<int32_t>(local ? p : owner * remote_rows + p));
    }
    kernels::CombineInput input;
    input.sources = views;
    input.source_of = source_of;
    input.row_of = row_of;
    input.weights = {weights, static_cast<size_t>(pairs)};
    input.top_k = top_k;
    if (shared != nullptr) input.shared = view(shared, act, n, hidden);
    input.shared_gate = shared_gate;
    std::vector<float> sum(static_cast<size_t>(n * hidden));
    context->kernels->combine(input, f32(sum.data(), n, hidden));
    if (accumulate == 0) std::fill_n(out, n * hidden, 0.0f);
    context->kernels->add(f32(out, n, hidden), f32(sum.data(), n, hidden));
  });
}
Status gather_rms_norm(Context* context, Stream*, RowCount rows, int64_t hidden,
                       const float* residual, const int32_t* index, const float* weight, float eps,
                       void* out) {
  return context->enqueue([=] {
    const int64_t n = actual_of(rows);
    std::vector<float> gathered(static_cast<size_t>(n * hidden));
    for (int64_t i = 0; i < n; ++i) {
      std::copy_n(residual + std::max(index[i], 0) * hidden, hidden, gathered.begin() + i * hidden);
    }
    context->kernels->rms_norm(f32(gathered.data(), n, hidden), weight, eps,
                               view(out, context->act(), n, hidden));
  });
}

SamplingResult result_of(const kernels::SamplingResult& result) {
  SamplingResult out{};
  out.token = result.token;
  out.logprob = result.logprob;
  out.rank = result.rank;
  out.top_count = result.top_count;
  for (int32_t i = 0; i < result.top_count; ++i) {
    out.top[i] = {result.top[i].token, result.top[i].logprob};
  }
  return out;
}
void sample_one(Context* context, int64_t vocab, float* logits, const SamplingRow& row,
                const TokenCount* counts, const TokenBias* bias, SamplingResult* out) {
  std::vector<kernels::TokenCount> seen;
  std::vector<kernels::TokenBias> biases;
  for (int32_t i = row.count_begin; i < row.count_end; ++i) {
    seen.push_back({counts[i].token, counts[i].output_count, counts[i].in_prompt != 0});
  }
  for (int32_t i = row.bias_begin; i < row.bias_end; ++i) {
    biases.push_back({bias[i].token, bias[i].bias});
  }
  kernels::SamplingRow host;
  host.temperature = row.temperature;
  host.top_k = row.top_k;
  host.top_p = row.top_p;
  host.min_p = row.min_p;
  host.repetition_penalty = row.repetition_penalty;
  host.presence_penalty = row.presence_penalty;
  host.frequency_penalty = row.frequency_penalty;
  host.counts = seen;
  host.bias = biases;
  host.seed = row.seed;
  host.choice = row.choice;
  host.position = row.position;
  host.top_logprobs = row.top_logprobs;
  host.target = row.target;
  kernels::SamplingResult result;
  context->kernels->sample(f32(logits, 1, vocab), {&host, 1}, {&result, 1});
  *out = result_of(result);
}
Status sample(Context* context, Stream*, RowCount rows, int64_t vocab, float* logits,
              const SamplingRow* row, const TokenCount* counts, const TokenBias* bias,
              SamplingResult* results) {
  return context->enqueue([=] {
    for (int32_t i = 0; i < actual_of(rows); ++i) {
      sample_one(context, vocab, logits + i * vocab, row[i], counts, bias, results + i);
    }
  });
}

// --- ranks

Status comm_create(Context* context, const CommBootstrap* bootstrap, int32_t, Comm** out) {
  const Status status = fake_comm_create(bootstrap, out);
  return status == kOk ? kOk : context->fail(status, "the ranks did not meet");
}
void comm_destroy(Context*, Comm* comm) { fake_comm_destroy(comm); }
const char* comm_name(Context*, Comm*) { return "fake"; }
Status comm_alloc(Context*, Comm* comm, size_t bytes, void** out) {
  return fake_comm_alloc(comm, bytes, out);
}
Status comm_all_gather(Context* context, Stream*, Comm* comm, const GatherPart* parts,
                       int32_t count) {
  const std::vector<GatherPart> all(parts, parts + count);
  return context->enqueue([=] {
    for (const GatherPart& part : all) {
      if (!fake_all_gather(comm, part)) context->failed = true;
    }
  });
}
Status comm_all_to_all(Context* context, Stream*, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count) {
  return context->enqueue([=] {
    if (!fake_all_to_all(comm, send, recv, rows_per_rank, row_bytes, rows, count)) {
      context->failed = true;
    }
  });
}
Status comm_all_reduce(Context* context, Stream*, Comm* comm, const float* send, float* recv,
                       int64_t count) {
  return context->enqueue([=] {
    if (!fake_all_reduce(comm, send, recv, count)) context->failed = true;
  });
}
Status comm_check(Context* context, Comm* comm, int32_t* peer) {
  *peer = -1;
  return comm->meeting->broken() ? context->fail(kPeerLost, "a rank is late or gone") : kOk;
}
void comm_abort(Context*, Comm* comm) { comm->meeting->abort(); }

constexpr DeviceOps kTable = {
    .abi_version = kAbiVersion,
    .struct_bytes = sizeof(DeviceOps),
    .name = "fake",
    .device_count = device_count,
    .device_info = device_info,
    .create = create,
    .destroy = destroy,
    .message = message,
    .reserve = reserve,
    .alloc = alloc,
    .free = free_memory,
    .alloc_pinned = alloc,
    .free_pinned = free_memory,
    .copy = copy,
    .fill = fill,
    .memory_info = memory_info,
    .stream_create = stream_create,
    .stream_destroy = stream_destroy,
    .stream_synchronize = stream_synchronize,
    .event_create = event_create,
    .event_destroy = event_destroy,
    .event_record = event_record,
    .event_wait = event_wait,
    .event_done = event_done,
    .event_elapsed_ms = event_elapsed_ms,
    .graph_begin = graph_begin,
    .graph_end = graph_end,
    .graph_launch = graph_launch,
    .graph_destroy = graph_destroy,
    .supports_attention = supports_attention,
    .supports_router = supports_router,
    .supports_matrix = supports_matrix,
    .stored_dtype = stored_dtype,
    .packed_bytes = packed_bytes,
    .kv_block_bytes = kv_block_bytes,
    .pack_matrix = pack_matrix,
    .pack_gate_up = pack_gate_up,
    .convert = convert,
    .fill_random = fill_random,
    .resolve_tokens = resolve_tokens,
    .embed = embed,
    .add_rms_norm = add_rms_norm,
    .matmul = matmul,
    .append_kv = append_kv,
    .attention = attention,
    .route = route,
    .group_experts = group_experts,
    .expert_ffn = expert_ffn,
    .dense_ffn = dense_ffn,
    .combine = combine,
    .gather_rms_norm = gather_rms_norm,
    .sample = sample,
    .comm_create = comm_create,
    .comm_destroy = comm_destroy,
    .comm_name = comm_name,
    .comm_alloc = comm_alloc,
    .comm_all_gather = comm_all_gather,
    .comm_all_to_all = comm_all_to_all,
    .comm_all_reduce = comm_all_reduce,
    .comm_check = comm_check,
    .comm_abort = comm_abort,
};

}  // namespace

const DeviceOps* fake_device_ops() { return &kTable; }

}  // namespace conclave::device
