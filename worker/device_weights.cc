#include "worker/device_weights.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "kernels/element.h"
#include "worker/device_layout.h"
#include "worker/device_upload.h"

namespace conclave::worker {
namespace {

using model::Tensor;

int32_t plain(DType dtype) { return static_cast<int32_t>(dtype); }

const Tensor* pointer(const std::optional<Tensor>& tensor) {
  return tensor.has_value() ? &*tensor : nullptr;
}

// Lays the weights of a rank out over device memory and lists the uploads: once without memory to
// learn the sizes, once for real.
class Layout {
 public:
  struct Memory {
    std::byte* vectors = nullptr;
    std::byte* matrices = nullptr;
    std::byte* experts = nullptr;
  };
  Layout(const DeviceLoadRequest& request, const Memory& memory)
      : request_(request),
        spec_(*request.spec),
        vectors_(memory.vectors),
        matrices_(memory.matrices),
        experts_(memory.experts) {}

  absl::Status run(DeviceWeights* out) {
    const model::Weights& weights = *request_.weights;
    const auto& frequencies = spec_.rope.inverse_freq;
    inverse_freq_ = take_vector(frequencies.size());
    std::copy(frequencies.begin(), frequencies.end(), host_vectors_.begin());
    out->embedding_dtype = stored({&weights.embedding()});
    out->embedding = table(weights.embedding(), out->embedding_dtype);
    out->layers.resize(static_cast<size_t>(spec_.layers));
    int32_t moe_index = 0;
    for (int32_t index = 0; index < spec_.layers; ++index) {
      DeviceLayer& layer = out->layers[static_cast<size_t>(index)];
      layer.moe_index = spec_.layer[static_cast<size_t>(index)].moe ? moe_index++ : -1;
      RETURN_IF_ERROR(attention(index, &layer));
      RETURN_IF_ERROR(feed_forward(index, &layer, out));
    }
    out->final_norm = vector({{&weights.final_norm(), spec_.hidden}}, 1);
    ASSIGN_OR_RETURN(out->lm_head, matrix({&weights.lm_head()}));
    return absl::OkStatus();
  }

  size_t vector_bytes() const { return vectors_.used(); }
  size_t matrix_bytes() const { return matrices_.used(); }
  size_t expert_bytes() const { return experts_.used(); }
  const std::vector<float>& host_vectors() const { return host_vectors_; }
  const std::vector<UploadJob>& jobs() const { return jobs_; }
  // [moe layers * E]
  const std::vector<device::ExpertSlot>& slots() const { return slots_; }

 private:
  struct VectorPart {
    const Tensor* tensor = nullptr;  // null: zeros
    int64_t count = 0;
  };
  const device::Device& device() const { return *request_.device; }
  const device::DeviceOps& ops() const { return device().ops(); }
  device::Context* context() const { return device().context(); }

  // Parts of different types are stored as float32 (in bf16 compute: as bfloat16, like all).
  int32_t stored(const std::vector<const Tensor*>& parts) const {
    DType source = parts[0]->dtype;
    for (const Tensor* part : parts) {
      if (part->dtype != source) source = DType::kF32;
    }
    return ops().stored_dtype(context(), plain(source));
  }

  const std::byte* table(const Tensor& tensor, int32_t dtype) {
    const size_t element = dtype_bytes(static_cast<DType>(dtype));
    std::byte* out = matrices_.take(static_cast<size_t>(tensor.rows * tensor.cols) * element);
    jobs_.push_back({UploadJob::Kind::kTable, {&tensor}, dtype, out});
    return out;
  }

  absl::StatusOr<device::PackedMatrix> pack(std::vector<const Tensor*> parts, UploadJob::Kind kind,
                                            DeviceCursor* cursor) {
    const int32_t dtype = stored(parts);
    int64_t rows = 0;
    for (const Tensor* part : parts) rows += part->rows;
    const int64_t cols = parts[0]->cols;
    const bool gate_up = kind == UploadJob::Kind::kGateUp;
    RETURN_IF_ERROR(
        device().check(ops().supports_matrix(context(), rows, cols, dtype, gate_up ? 1 : 0)));
    std::byte* out = cursor->take(ops().packed_bytes(context(), rows, cols, dtype));
    jobs_.push_back({kind, std::move(parts), dtype, out});
    return device::PackedMatrix{out, dtype, rows, cols};
  }

  absl::StatusOr<device::PackedMatrix> matrix(std::vector<const Tensor*> parts) {
    return pack(std::move(parts), UploadJob::Kind::kMatrix, &matrices_);
  }

  absl::StatusOr<device::ExpertSlot> expert(const model::MlpTensors& tensors, DeviceCursor* cursor,
                                            device::ExpertShape* shape) {
    ASSIGN_OR_RETURN(const device::PackedMatrix gate_up,
                     pack({&tensors.gate, &tensors.up}, UploadJob::Kind::kGateUp, cursor));
    ASSIGN_OR_RETURN(const device::PackedMatrix down,
                     pack({&tensors.down}, UploadJob::Kind::kMatrix, cursor));
    if (gate_up.dtype != down.dtype) {
      return absl::UnimplementedError(
          "an expert's gate, up and down weights have different types; use --compute bf16");
    }
    *shape = {gate_up.dtype, gate_up.k, gate_up.n / 2};
    return device::ExpertSlot{gate_up.data, down.data};
  }

  float* take_vector(size_t count) {
    float* out = vectors_.take_array<float>(count);
    host_vectors_.resize(vectors_.used() / sizeof(float));
    return out;
  }

  // Dummy vectors are `dummy_value` throughout: ones for norms, zeros for biases.
  const float* vector(const std::vector<VectorPart>& parts, float dummy_value) {
    int64_t count = 0;
    for (const VectorPart& part : parts) count += part.count;
    size_t at = host_vectors_.size();
    const float* out = take_vector(static_cast<size_t>(count));
    for (const VectorPart& part : parts) {
      for (int64_t i = 0; i < part.count; ++i, ++at) {
        if (part.tensor == nullptr) continue;
        host_vectors_[at] = part.tensor->data == nullptr
                                ? dummy_value
                                : kernels::load_element(part.tensor->data, part.tensor->dtype, i);
      }
    }
    return out;
  }

  absl::Status attention(int32_t index, DeviceLayer* layer) {
    const model::LayerTensors& tensors = request_.weights->layer(index);
    layer->attention = attention_shape(index);
    RETURN_IF_ERROR(device().check(ops().supports_attention(context(), &layer->attention)));
    layer->input_norm = vector({{&tensors.input_norm, spec_.hidden}}, 1);
    layer->post_attention_norm = vector({{&tensors.post_attention_norm, spec_.hidden}}, 1);
    ASSIGN_OR_RETURN(layer->qkv, matrix({&tensors.q, &tensors.k, &tensors.v}));
    ASSIGN_OR_RETURN(layer->o, matrix({&tensors.o}));
    if (tensors.q_bias || tensors.k_bias || tensors.v_bias) {
      layer->qkv_bias = vector({{pointer(tensors.q_bias), tensors.q.rows},
                                {pointer(tensors.k_bias), tensors.k.rows},
                                {pointer(tensors.v_bias), tensors.v.rows}},
                               0);
    }
    if (tensors.o_bias) layer->o_bias = vector({{pointer(tensors.o_bias), spec_.hidden}}, 0);
    const Tensor* q_norm = pointer(tensors.q_norm);
    const Tensor* k_norm = pointer(tensors.k_norm);
    if (q_norm != nullptr) layer->parameters.q_norm = vector({{q_norm, q_norm->cols}}, 1);
    if (k_norm != nullptr) layer->parameters.k_norm = vector({{k_norm, k_norm->cols}}, 1);
    layer->parameters.inverse_freq = inverse_freq_;
    layer->parameters.attention_factor = spec_.rope.attention_factor;
    return absl::OkStatus();
  }

  absl::Status feed_forward(int32_t index, DeviceLayer* layer, DeviceWeights* out) {
    const model::LayerTensors& tensors = request_.weights->layer(index);
    if (layer->moe_index < 0) {
      if (!tensors.dense) return absl::OkStatus();
      ASSIGN_OR_RETURN(layer->dense, expert(*tensors.dense, &matrices_, &out->dense_shape));
      return absl::OkStatus();
    }
    if (tensors.gate) {
      ASSIGN_OR_RETURN(layer->gate, matrix({pointer(tensors.gate)}));
    }
    if (tensors.pre_gate) {
      ASSIGN_OR_RETURN(layer->pre_gate, matrix({pointer(tensors.pre_gate)}));
    }
    if (tensors.shared) {
      layer->has_shared = true;
      ASSIGN_OR_RETURN(layer->shared, expert(*tensors.shared, &matrices_, &out->shared_shape));
    }
    if (tensors.shared_gate) {
      ASSIGN_OR_RETURN(layer->shared_gate, matrix({pointer(tensors.shared_gate)}));
    }
    return routed_experts(*layer, tensors, out);
  }

  absl::Status routed_experts(const DeviceLayer& layer, const model::LayerTensors& tensors,
                              DeviceWeights* out) {
    const auto experts = static_cast<size_t>(spec_.experts);
    slots_.resize((static_cast<size_t>(layer.moe_index) + 1) * experts);
    for (const int32_t e : request_.placement->experts_of(layer.moe_index, request_.rank)) {
      device::ExpertShape shape{};
      ASSIGN_OR_RETURN(slots_[static_cast<size_t>(layer.moe_index) * experts + e],
                       expert(tensors.experts[static_cast<size_t>(e)], &experts_, &shape));
      if (out->expert_shape.hidden != 0 && shape.dtype != out->expert_shape.dtype) {
        return absl::UnimplementedError(
            "the experts of this model are stored in different types; use --compute bf16");
      }
      out->expert_shape = shape;
    }
    return absl::OkStatus();
  }

  device::AttentionShape attention_shape(int32_t index) const {
    device::AttentionShape shape{};
    shape.heads = spec_.heads;
    shape.kv_heads = spec_.kv_heads;
    shape.head_dim = spec_.head_dim;
    shape.rotary_dim = spec_.rope.rotary_dim;
    shape.sliding_window = spec_.layer[static_cast<size_t>(index)].sliding_window;
    shape.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(spec_.head_dim)));
    shape.qk_norm = spec_.qk_norm == model::QkNormKind::kNone      ? device::kQkNormNone
                    : spec_.qk_norm == model::QkNormKind::kPerHead ? device::kQkNormPerHead
                                                                   : device::kQkNormFullWidth;
    shape.norm_eps = spec_.norm_eps;
    shape.clip = spec_.clip_qkv;
    return shape;
  }

  const DeviceLoadRequest& request_;
  const model::ModelSpec& spec_;
  DeviceCursor vectors_;
  DeviceCursor matrices_;
  DeviceCursor experts_;
  std::vector<float> host_vectors_;
  std::vector<UploadJob> jobs_;
  std::vector<device::ExpertSlot> slots_;
  const float* inverse_freq_ = nullptr;
};

// From ordinary memory: the copy is done when it returns.
absl::Status copy_now(const device::Device& device, device::Stream* stream,
                      const device::Memory& to, const void* from, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const device::DeviceOps& ops = device.ops();
  RETURN_IF_ERROR(device.check(ops.copy(device.context(), stream, to.data(), from, bytes)));
  return device.check(ops.stream_synchronize(device.context(), stream));
}

}  // namespace

absl::StatusOr<DeviceWeights> load_device_weights(const DeviceLoadRequest& request) {
  const device::Device& device = *request.device;
  const device::RouterShape router{request.spec->experts, request.spec->top_k,
                                   request.spec->normalize_top_k ? 1 : 0};
  if (!request.spec->moe_layers().empty()) {
    RETURN_IF_ERROR(device.check(device.ops().supports_router(device.context(), &router)));
  }
  DeviceWeights loaded;
  Layout measure(request, {});
  RETURN_IF_ERROR(measure.run(&loaded));
  loaded = DeviceWeights();
  ASSIGN_OR_RETURN(loaded.vectors, device.alloc(measure.vector_bytes(), "norms"));
  ASSIGN_OR_RETURN(loaded.matrices, device.alloc(measure.matrix_bytes(), "weights"));
  ASSIGN_OR_RETURN(loaded.experts, device.alloc(measure.expert_bytes(), "experts"));

  Layout layout(request, {loaded.vectors.data(), loaded.matrices.data(), loaded.experts.data()});
  RETURN_IF_ERROR(layout.run(&loaded));
  UploadOptions options;
  options.threads = request.threads;
  uint64_t total = 0;
  for (const UploadJob& job : layout.jobs()) total += job.source_bytes();
  if (request.progress != nullptr) {
    options.progress = [&](uint64_t done) { return request.progress(done, total); };
  }
  RETURN_IF_ERROR(upload(device, *request.weights, layout.jobs(), options));
  if (request.progress != nullptr) RETURN_IF_ERROR(request.progress(total, total));

  ASSIGN_OR_RETURN(const device::OwnedStream stream, device.make_stream(false));
  RETURN_IF_ERROR(copy_now(device, stream.get(), loaded.vectors, layout.host_vectors().data(),
                           layout.host_vectors().size() * sizeof(float)));
  const size_t slot_bytes = layout.slots().size() * sizeof(device::ExpertSlot);
  ASSIGN_OR_RETURN(loaded.slots, device.alloc(slot_bytes, "expert table"));
  RETURN_IF_ERROR(copy_now(device, stream.get(), loaded.slots, layout.slots().data(), slot_bytes));
  const auto* slots = reinterpret_cast<const device::ExpertSlot*>(loaded.slots.data());
  for (DeviceLayer& layer : loaded.layers) {
    if (layer.moe_index >= 0)
      layer.experts = slots + int64_t{layer.moe_index} * request.spec->experts;
  }
  return loaded;
}

}  // namespace conclave::worker
