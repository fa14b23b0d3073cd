// The fake device: what it supports, and packing.

#include <string>
#include <vector>

#include "kernels/element.h"
#include "kernels/sampling.h"
#include "tests/support/fake_device_context.h"
#include "tests/support/fake_device_ops.h"

namespace conclave::device {
namespace fake {
namespace {

absl::Status unsupported(Context* context, const absl::Status& status) {
  if (!status.ok()) context->message = std::string(status.message());
  return status;
}
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

}  // namespace

void add_weights(DeviceOps* table) {
  table->supports_attention = supports_attention;
  table->supports_router = supports_router;
  table->supports_matrix = supports_matrix;
  table->stored_dtype = stored_dtype;
  table->packed_bytes = packed_bytes;
  table->kv_block_bytes = kv_block_bytes;
  table->pack_matrix = pack_matrix;
  table->pack_gate_up = pack_gate_up;
  table->convert = convert;
  table->fill_random = fill_random;
}

}  // namespace fake
}  // namespace conclave::device
