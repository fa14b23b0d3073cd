#include "tests/kernels_cuda/device_kernel_set.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/device/device.h"
#include "kernels/sampling.h"

namespace conclave::kernels {
namespace {

using device::Device;
using device::Memory;

class DeviceKernelSet final : public KernelSet {
 public:
  DeviceKernelSet(std::shared_ptr<const device::Library> library, ComputeType compute)
      : device_(Device::create(library, 0, compute).value()),
        stream_(device_->make_stream(false).value()) {
    // The seam's route takes the row and the router's matrix; logits times the identity stay what
    // they are only in float32.
    if (compute == ComputeType::kBF16) router_ = make_device_kernel_set(library, ComputeType::kF32);
    reserve_device({.max_rows = 1024,
                    .max_expert_rows = 4096,
                    .hidden = 40000,
                    .max_intermediate = 4096,
                    .vocab = 4096,
                    .max_positions = 4096,
                    .max_head_rows = 64,
                    .max_experts = 1024,
                    .max_top_k = 64,
                    .max_heads = 64,
                    .max_head_dim = 512});
  }

  std::string_view name() const override { return device_->name(); }
  ComputeType compute_type() const override { return device_->compute_type(); }
  absl::Status supports(const AttentionShape& shape) const override {
    const device::AttentionShape s = to_device(shape);
    return device_->check(ops().supports_attention(context(), &s));
  }
  absl::Status supports(const RouterShape& shape) const override {
    const device::RouterShape s = to_device(shape);
    return device_->check(ops().supports_router(context(), &s));
  }
  DType stored_dtype(DType file) const override {
    return static_cast<DType>(ops().stored_dtype(context(), static_cast<int32_t>(file)));
  }
  size_t packed_bytes(int64_t n, int64_t k, DType stored) const override {
    return ops().packed_bytes(context(), n, k, static_cast<int32_t>(stored));
  }
  size_t kv_block_bytes(const AttentionShape& shape) const override {
    const device::AttentionShape s = to_device(shape);
    return ops().kv_block_bytes(context(), &s);
  }

  PackedMatrix pack_matrix(std::span<const WeightRows> parts, DType stored,
                           std::byte* out) const override {
    std::vector<Memory> memory;
    std::vector<device::WeightPart> device_parts;
    int64_t n = 0;
    for (const WeightRows& part : parts) {
      device_parts.push_back(upload_part(part, &memory));
      n += part.rows;
    }
    const int64_t k = parts[0].cols;
    const size_t bytes = packed_bytes(n, k, stored);
    const Memory packed = poisoned(bytes);
    ok(ops().pack_matrix(context(), stream(), device_parts.data(),
                         static_cast<int32_t>(device_parts.size()), static_cast<int32_t>(stored),
                         packed.data()));
    download(out, packed, bytes);
    return {out, stored, n, k};
  }
  PackedMatrix pack_gate_up(const WeightRows& gate, const WeightRows& up, DType stored,
                            std::byte* out) const override {
    std::vector<Memory> memory;
    const device::WeightPart a = upload_part(gate, &memory), b = upload_part(up, &memory);
    const size_t bytes = packed_bytes(2 * gate.rows, gate.cols, stored);
    const Memory packed = poisoned(bytes);
    ok(ops().pack_gate_up(context(), stream(), &a, &b, static_cast<int32_t>(stored),
                          packed.data()));
    download(out, packed, bytes);
    return {out, stored, 2 * gate.rows, gate.cols};
  }

  void embed(std::span<const int32_t> ids, const ConstMatrixView& table,
             const MatrixView& out) override {
    const Memory device_ids = upload(ids.data(), ids.size_bytes());
    const Memory device_table = upload(table);
    const Memory result = poisoned(bytes_of(out));
    ok(ops().embed(context(), stream(), rows(out.rows), pointer<int32_t>(device_ids),
                   device_table.data(), static_cast<int32_t>(table.dtype), table.rows, table.cols,
                   pointer<float>(result)));
    download(out, result);
  }

  // The device holds a row-major table also when it is tied.
  void embed(std::span<const int32_t>, const PackedMatrix&, const MatrixView&) override {
    ADD_FAILURE() << "the seam has no lookup in packed matrices";
  }

  void rms_norm(const ConstMatrixView& x, const float* weight, float eps,
                const MatrixView& out) override {
    const Memory input = upload(x);
    const Memory weights = upload(weight, static_cast<size_t>(x.cols) * sizeof(float));
    const Memory result = poisoned(bytes_of(out));
    ok(ops().add_rms_norm(context(), stream(), rows(x.rows), x.cols, pointer<float>(input), nullptr,
                          pointer<float>(weights), eps, result.data()));
    download(out, result);
  }

  void matmul(const ConstMatrixView& x, const PackedMatrix& weight, const float* bias,
              const MatrixView& out) override {
    const Memory input = upload(x);
    const Memory packed = upload(weight.data, packed_bytes(weight.n, weight.k, weight.dtype));
    const Memory device_bias =
        upload(bias, bias == nullptr ? 0 : static_cast<size_t>(weight.n) * sizeof(float));
    const Memory result = poisoned(bytes_of(out));
    const device::PackedMatrix matrix{packed.data(), static_cast<int32_t>(weight.dtype), weight.n,
                                      weight.k};
    ok(ops().matmul(context(), stream(), rows(x.rows), input.data(), &matrix,
                    bias == nullptr ? nullptr : pointer<float>(device_bias), 0,
                    pointer<float>(result)));
    download(out, result);
  }

  void append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
                 const AttentionBatch& batch, const MatrixView& qkv, const KvLayerView& kv,
                 const MatrixView& q_out) override {
    const DeviceBatch on_device(*this, batch);
    const Cache cache(*this, shape, batch, kv);
    const size_t d = static_cast<size_t>(shape.head_dim);
    const bool full = shape.qk_norm == QkNorm::kFullWidth;
    const size_t q_norm = d * static_cast<size_t>(full ? shape.heads : 1);
    const size_t k_norm = d * static_cast<size_t>(full ? shape.kv_heads : 1);
    const Memory q_weight = upload_floats(parameters.q_norm, q_norm);
    const Memory k_weight = upload_floats(parameters.k_norm, k_norm);
    const Memory frequency =
        upload_floats(parameters.inverse_freq, static_cast<size_t>(shape.rotary_dim / 2));
    const device::AttentionParameters device_parameters{
        parameters.q_norm == nullptr ? nullptr : pointer<float>(q_weight),
        parameters.k_norm == nullptr ? nullptr : pointer<float>(k_weight),
        pointer<float>(frequency), parameters.attention_factor};
    const Memory projected = upload(qkv);
    const Memory result = poisoned(bytes_of(q_out));
    const device::AttentionShape s = to_device(shape);
    ok(ops().append_kv(context(), stream(), &s, &device_parameters, &on_device.batch,
                       pointer<float>(projected), &cache.layer, result.data()));
    download(q_out, result);
    download(kv.data, cache.memory, cache.memory.bytes());
  }

  void attention(const AttentionShape& shape, const AttentionBatch& batch, const ConstMatrixView& q,
                 const KvLayerView& kv, const MatrixView& out) override {
    const DeviceBatch on_device(*this, batch);
    const Cache cache(*this, shape, batch, kv);
    const Memory query = upload(q);
    const Memory result = poisoned(bytes_of(out));
    const device::AttentionShape s = to_device(shape);
    ok(ops().attention(context(), stream(), &s, &on_device.batch, query.data(), &cache.layer,
                       result.data()));
    download(out, result);
  }

  void route(const RouterShape& shape, const ConstMatrixView& logits, std::span<int32_t> ids,
             std::span<float> weights) override {
    if (router_ != nullptr) return router_->route(shape, logits, ids, weights);
    const auto k = static_cast<size_t>(shape.top_k);
    for (int64_t t = 0; t < logits.rows; ++t) {
      const auto first = static_cast<size_t>(t) * k;
      route_row(shape, static_cast<const float*>(logits.data) + t * logits.stride,
                ids.subspan(first, k), weights.subspan(first, k));
    }
  }

  // Pair p is output row p, with its input row copied to row p.
  void expert_ffn(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                  const MatrixView& output) override {
    if (output.rows == 0) return;
    const size_t row_bytes = static_cast<size_t>(input.cols) * dtype_bytes(input.dtype);
    std::vector<std::byte> gathered(static_cast<size_t>(output.rows) * row_bytes);
    std::vector<int32_t> counts, offsets{0}, pairs;
    std::vector<Memory> weights;
    std::vector<device::ExpertSlot> slots;
    device::ExpertShape shape{};
    for (const ExpertGroup& group : groups) {
      const PackedMatrix& up = group.expert->gate_up;
      const PackedMatrix& down = group.expert->down;
      shape = {static_cast<int32_t>(up.dtype), up.k, up.n / 2};
      weights.push_back(upload(up.data, packed_bytes(up.n, up.k, up.dtype)));
      weights.push_back(upload(down.data, packed_bytes(down.n, down.k, down.dtype)));
      slots.push_back({weights[weights.size() - 2].data(), weights.back().data()});
      for (size_t i = 0; i < group.in_rows.size(); ++i) {
        std::memcpy(
            gathered.data() + static_cast<size_t>(group.out_rows[i]) * row_bytes,
            static_cast<const std::byte*>(input.data) +
                static_cast<size_t>(group.in_rows[i] * input.stride) * dtype_bytes(input.dtype),
            row_bytes);
      }
      counts.push_back(static_cast<int32_t>(group.in_rows.size()));
      offsets.push_back(offsets.back() + counts.back());
      pairs.insert(pairs.end(), group.out_rows.begin(), group.out_rows.end());
    }
    const Memory x = upload(gathered.data(), gathered.size());
    const Memory device_counts = upload(counts.data(), counts.size() * 4);
    const Memory device_offsets = upload(offsets.data(), offsets.size() * 4);
    const Memory device_pairs = upload(pairs.data(), pairs.size() * 4);
    const Memory device_slots = upload(slots.data(), slots.size() * sizeof slots[0]);
    const device::ExpertLists lists{pointer<int32_t>(device_counts),
                                    pointer<int32_t>(device_offsets),
                                    pointer<int32_t>(device_pairs)};
    const device::RouterShape router{static_cast<int32_t>(groups.size()), 1, 0};
    const Memory result = poisoned(bytes_of(output));
    ok(ops().expert_ffn(context(), stream(), &router, &shape, rows(output.rows), x.data(), &lists,
                        pointer<const device::ExpertSlot>(device_slots), result.data()));
    download(output, result);
  }

  // Odd pairs come from another rank.
  void combine(const CombineInput& input, const MatrixView& out) override {
    const size_t k = static_cast<size_t>(input.top_k);
    const size_t pairs = static_cast<size_t>(out.rows) * k;
    const size_t width = static_cast<size_t>(out.cols) * dtype_bytes(act_dtype());
    std::vector<std::byte> local(pairs * width), remote(2 * pairs * width);
    std::vector<int32_t> ids(pairs), owner(k);
    for (size_t j = 0; j < k; ++j) owner[j] = static_cast<int32_t>(j % 2);
    for (size_t p = 0; p < pairs; ++p) {
      ids[p] = static_cast<int32_t>(p % k);
      const ConstMatrixView& source = input.sources[static_cast<size_t>(input.source_of[p])];
      const auto* from =
          static_cast<const std::byte*>(source.data) +
          static_cast<size_t>(input.row_of[p] * source.stride) * dtype_bytes(source.dtype);
      std::memcpy(p % k % 2 == 0 ? &local[p * width] : &remote[(pairs + p) * width], from, width);
    }
    const Memory device_local = upload(local.data(), local.size());
    const Memory device_remote = upload(remote.data(), remote.size());
    const Memory device_owner = upload(owner.data(), owner.size() * 4);
    const Memory device_ids = upload(ids.data(), ids.size() * 4);
    const Memory weights = upload_floats(input.weights.data(), pairs);
    const Memory shared = input.shared.data == nullptr ? Memory() : upload(input.shared);
    const Memory gate = upload_floats(input.shared_gate, static_cast<size_t>(out.rows));
    const device::CombineSources sources{device_local.data(), device_remote.data(),
                                         pointer<int32_t>(device_owner), 0};
    const Memory result = poisoned(bytes_of(out));
    ok(ops().combine(
        context(), stream(), rows(out.rows), out.cols, input.top_k, pointer<int32_t>(device_ids),
        pointer<float>(weights), &sources, input.shared.data == nullptr ? nullptr : shared.data(),
        input.shared_gate == nullptr ? nullptr : pointer<float>(gate), 0, pointer<float>(result)));
    download(out, result);
  }

  void add(const MatrixView& r, const ConstMatrixView& a) override {
    const Memory residual = upload(r), addend = upload(a);
    ok(ops().add_rms_norm(context(), stream(), rows(r.rows), r.cols, pointer<float>(residual),
                          pointer<float>(addend), nullptr, 0, nullptr));
    download(r, residual);
  }

  // The seam gathers for the head norm only; a copy needs no kernel.
  void gather_rows(const ConstMatrixView& x, std::span<const int32_t> wanted,
                   const MatrixView& out) override {
    for (size_t i = 0; i < wanted.size(); ++i) {
      std::memcpy(static_cast<float*>(out.data) + static_cast<int64_t>(i) * out.stride,
                  static_cast<const float*>(x.data) + wanted[i] * x.stride,
                  static_cast<size_t>(x.cols) * sizeof(float));
    }
  }

  void sample(const MatrixView& logits, std::span<const SamplingRow> wanted,
              std::span<SamplingResult> results) override {
    std::vector<device::SamplingRow> device_rows;
    std::vector<device::TokenCount> counts(1);
    std::vector<device::TokenBias> bias(1);
    for (const SamplingRow& row : wanted) {
      device::SamplingRow& to = device_rows.emplace_back();
      to = {row.temperature,
            row.top_p,
            row.min_p,
            row.repetition_penalty,
            row.presence_penalty,
            row.frequency_penalty,
            row.top_k,
            row.choice,
            row.position,
            row.top_logprobs,
            row.target,
            static_cast<int32_t>(counts.size()),
            0,
            static_cast<int32_t>(bias.size()),
            0,
            0,
            row.seed};
      for (const TokenCount& c : row.counts)
        counts.push_back({c.token, c.output_count, c.in_prompt ? 1 : 0});
      for (const TokenBias& b : row.bias) bias.push_back({b.token, b.bias});
      to.count_end = static_cast<int32_t>(counts.size());
      to.bias_end = static_cast<int32_t>(bias.size());
    }
    const Memory device_logits = upload(logits);
    const Memory requests = upload(device_rows.data(), device_rows.size() * sizeof device_rows[0]);
    const Memory device_counts = upload(counts.data(), counts.size() * sizeof counts[0]);
    const Memory device_bias = upload(bias.data(), bias.size() * sizeof bias[0]);
    static_assert(sizeof(device::SamplingResult) == sizeof(SamplingResult));
    const Memory result = poisoned(results.size_bytes());
    ok(ops().sample(
        context(), stream(), rows(logits.rows), logits.cols, pointer<float>(device_logits),
        pointer<device::SamplingRow>(requests), pointer<device::TokenCount>(device_counts),
        pointer<device::TokenBias>(device_bias), pointer<device::SamplingResult>(result)));
    download(results.data(), result, results.size_bytes());
  }

  absl::Status reserve(const Limits&) override { return absl::OkStatus(); }

 private:
  const device::DeviceOps& ops() const { return device_->ops(); }
  device::Context* context() const { return device_->context(); }
  device::Stream* stream() const { return stream_.get(); }
  static device::RowCount rows(int64_t count) { return {static_cast<int32_t>(count), nullptr}; }
  template <typename T>
  static T* pointer(const Memory& memory) {
    return reinterpret_cast<T*>(memory.data());
  }
  static size_t bytes_of(const MatrixView& m) {
    return static_cast<size_t>(m.rows * m.cols) * dtype_bytes(m.dtype);
  }
  static device::AttentionShape to_device(const AttentionShape& s) {
    return {s.heads,      s.kv_heads,       s.head_dim,
            s.rotary_dim, s.sliding_window, static_cast<int32_t>(s.qk_norm),
            s.scale,      s.norm_eps,       s.clip};
  }
  static device::RouterShape to_device(const RouterShape& s) {
    return {s.experts, s.top_k, s.normalize_top_k ? 1 : 0};
  }

  void ok(device::Status status) const {
    const absl::Status result = device_->check(status);
    ASSERT_TRUE(result.ok()) << result;
    const absl::Status done = device_->check(ops().stream_synchronize(context(), stream()));
    ASSERT_TRUE(done.ok()) << done;
  }
  // The row is ones and the router's matrix the diagonal of the logits: infinities and NaN stay
  // where they are.
  void route_row(const RouterShape& shape, const float* logits, std::span<int32_t> ids,
                 std::span<float> weights) const {
    const auto e = static_cast<size_t>(shape.experts);
    std::vector<float> diagonal(e * e);
    for (size_t i = 0; i < e; ++i) diagonal[i * e + i] = logits[i];
    const std::vector<float> ones(e, 1.0f);
    const Memory gate = upload_floats(diagonal.data(), e * e), x = upload_floats(ones.data(), e);
    const device::PackedMatrix matrix{gate.data(), device::kTypeF32, shape.experts, shape.experts};
    const Memory device_ids = poisoned(ids.size_bytes());
    const Memory device_weights = poisoned(weights.size_bytes());
    const device::RouterShape s = to_device(shape);
    ok(ops().route(context(), stream(), &s, rows(1), x.data(), &matrix,
                   pointer<int32_t>(device_ids), pointer<float>(device_weights), nullptr));
    download(ids.data(), device_ids, ids.size_bytes());
    download(weights.data(), device_weights, weights.size_bytes());
  }

  void reserve_device(const device::Limits& limits) { ok(ops().reserve(context(), &limits)); }

  Memory poisoned(size_t bytes) const {
    Memory memory = device_->alloc(bytes, "a test").value();
    if (bytes > 0) ok(ops().fill(context(), stream(), memory.data(), 0xff, bytes));
    return memory;
  }
  Memory upload(const void* data, size_t bytes) const {
    Memory memory = device_->alloc(bytes, "a test").value();
    if (bytes > 0) ok(ops().copy(context(), stream(), memory.data(), data, bytes));
    return memory;
  }
  Memory upload_floats(const float* data, size_t count) const {
    return upload(data, data == nullptr ? 0 : count * sizeof(float));
  }
  Memory upload(const ConstMatrixView& m) const {
    const size_t width = static_cast<size_t>(m.cols) * dtype_bytes(m.dtype);
    std::vector<std::byte> dense(static_cast<size_t>(m.rows) * width);
    for (int64_t r = 0; r < m.rows; ++r) {
      std::memcpy(dense.data() + static_cast<size_t>(r) * width,
                  static_cast<const std::byte*>(m.data) +
                      static_cast<size_t>(r * m.stride) * dtype_bytes(m.dtype),
                  width);
    }
    return upload(dense.data(), dense.size());
  }
  void download(void* to, const Memory& from, size_t bytes) const {
    if (bytes > 0) ok(ops().copy(context(), stream(), to, from.data(), bytes));
  }
  void download(const MatrixView& to, const Memory& from) const {
    const size_t width = static_cast<size_t>(to.cols) * dtype_bytes(to.dtype);
    std::vector<std::byte> dense(static_cast<size_t>(to.rows) * width);
    download(dense.data(), from, dense.size());
    for (int64_t r = 0; r < to.rows; ++r) {
      std::memcpy(static_cast<std::byte*>(to.data) +
                      static_cast<size_t>(r * to.stride) * dtype_bytes(to.dtype),
                  dense.data() + static_cast<size_t>(r) * width, width);
    }
  }
  device::WeightPart upload_part(const WeightRows& part, std::vector<Memory>* memory) const {
    memory->push_back(
        upload(part.data, static_cast<size_t>(part.rows * part.cols) * dtype_bytes(part.dtype)));
    return {memory->back().data(), static_cast<int32_t>(part.dtype), part.rows, part.cols};
  }

  struct DeviceBatch {
    DeviceBatch(const DeviceKernelSet& set, const AttentionBatch& from) {
      std::vector<device::AttentionRow> row;
      std::vector<device::AttentionChunk> chunk;
      int32_t most = 1, keys = 1;
      for (size_t t = 0; t < from.rows.size(); ++t) {
        const AttentionRow& r = from.rows[t];
        row.push_back({r.position, r.block_table});
        keys = std::max(keys, r.position + 1);
        if (chunk.empty() || chunk.back().block_table != r.block_table ||
            chunk.back().position + chunk.back().rows != r.position) {
          chunk.push_back({static_cast<int32_t>(t), 0, r.position, r.block_table});
        }
        most = std::max(most, ++chunk.back().rows);
      }
      memory[0] = set.upload(row.data(), row.size() * sizeof row[0]);
      memory[1] = set.upload(chunk.data(), chunk.size() * sizeof chunk[0]);
      memory[2] = set.upload(from.block_ids.data(), from.block_ids.size_bytes());
      batch = {rows(static_cast<int64_t>(row.size())),
               rows(static_cast<int64_t>(chunk.size())),
               pointer<device::AttentionRow>(memory[0]),
               pointer<device::AttentionChunk>(memory[1]),
               pointer<int32_t>(memory[2]),
               most,
               keys};
    }
    Memory memory[3];
    device::AttentionBatch batch{};
  };
  // The layer's blocks, as many as the batch names.
  struct Cache {
    Cache(const DeviceKernelSet& set, const AttentionShape& shape, const AttentionBatch& batch,
          const KvLayerView& kv) {
      int32_t last = 0;
      for (const int32_t id : batch.block_ids) last = std::max(last, id);
      const size_t bytes =
          static_cast<size_t>(last * kv.block_stride_bytes) + set.kv_block_bytes(shape);
      memory = set.upload(kv.data, bytes);
      layer = {memory.data(), kv.block_stride_bytes};
    }
    Memory memory;
    device::KvLayer layer{};
  };

  std::unique_ptr<Device> device_;
  device::OwnedStream stream_;
  std::unique_ptr<KernelSet> router_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const device::Library>> test_device_library() {
  absl::StatusOr<std::shared_ptr<const device::Library>> library =
      device::Library::load(device::cuda_plugin_path());
  if (!library.ok()) return library.status();
  const absl::StatusOr<int> devices = (*library)->device_count();
  if (!devices.ok()) return devices.status();
  return library;
}

std::unique_ptr<KernelSet> make_device_kernel_set(std::shared_ptr<const device::Library> library,
                                                  ComputeType compute) {
  return std::make_unique<DeviceKernelSet>(std::move(library), compute);
}

}  // namespace conclave::kernels
