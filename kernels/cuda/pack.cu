// Weights from row-major file order into the layout of packed_layout.cuh, conversions, random fill.

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

constexpr int kThreads = 256;

enum class RowOrder { kStacked, kGate, kUp };

// One thread per 8 neighbouring k of one row.
__global__ void pack_panels_kernel(const void* from, int32_t dtype, int64_t rows, int64_t cols,
                                   int64_t first_row, RowOrder order, bf16* out) {
  wait_for_predecessor();
  const int64_t groups = (cols + 7) / 8;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= rows * groups) return;
  const int64_t row = index / groups;
  const int64_t k = index % groups * 8;
  const int64_t packed_row =
      order == RowOrder::kStacked ? first_row + row : gate_up_row(row, order == RowOrder::kUp);
  bf16* to = out + packed_index(k_blocks_of(cols), packed_row, k);
  for (int64_t i = 0; i < 8 && k + i < cols; ++i) {
    to[i] = from_float<bf16>(load_any(from, dtype, row * cols + k + i));
  }
}

__global__ void convert_kernel(const void* from, int32_t from_dtype, void* to, int32_t to_dtype,
                               int64_t count) {
  wait_for_predecessor();
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    store_any(to, to_dtype, i, load_any(from, from_dtype, i));
  }
}

// Same type: 16 bytes per thread and step, as fast as memory goes.
__global__ void __launch_bounds__(kThreads)
    copy_kernel(const uint4* from, uint4* to, int64_t count) {
  wait_for_predecessor();
  const int64_t step = int64_t{gridDim.x} * kThreads;
#pragma unroll 4
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    to[i] = from[i];
  }
}

// splitmix64's finaliser (Steele, Lea, Flood, OOPSLA 2014).
__device__ uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

__global__ void fill_random_kernel(void* to, int32_t dtype, int64_t count, uint64_t seed,
                                   float bound) {
  wait_for_predecessor();
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < count; i += step) {
    const uint64_t bits = mixed(seed + (static_cast<uint64_t>(i) + 1) * 0x9e3779b97f4a7c15ull);
    const float unit = static_cast<float>(bits >> 40) * 0x1p-24f;
    store_any(to, dtype, i, (2 * unit - 1) * bound);
  }
}

dim3 wide_grid(int64_t count) {
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return dim3(static_cast<unsigned>(blocks < 16384 ? blocks : 16384));
}

cudaError_t pack_part(cudaStream_t stream, const WeightPart& part, int64_t first_row,
                      RowOrder order, void* out) {
  const int64_t threads = part.rows * ((part.cols + 7) / 8);
  if (threads == 0) return cudaSuccess;
  return start(pack_panels_kernel, dim3(static_cast<unsigned>((threads + kThreads - 1) / kThreads)),
               dim3(kThreads), 0, stream, part.data, part.dtype, part.rows, part.cols, first_row,
               order, static_cast<bf16*>(out));
}

// Rows of the parts one after the other, as they are.
cudaError_t stack_rows(cudaStream_t stream, const WeightPart* parts, int32_t count, int32_t dtype,
                       void* out) {
  char* to = static_cast<char*>(out);
  for (int32_t i = 0; i < count; ++i) {
    const int64_t elements = parts[i].rows * parts[i].cols;
    if (elements == 0) continue;
    const cudaError_t error = start(convert_kernel, wide_grid(elements), dim3(kThreads), 0, stream,
                                    parts[i].data, parts[i].dtype, to, dtype, elements);
    if (error != cudaSuccess) return error;
    to += elements * type_bytes(dtype);
  }
  return cudaSuccess;
}

cudaError_t clear_padding(cudaStream_t stream, Context* context, int64_t n, int64_t k,
                          int32_t dtype, void* out) {
  if (n % kPanelRows == 0 && k % kBlockK == 0) return cudaSuccess;
  return cudaMemsetAsync(out, 0, packed_bytes(context, n, k, dtype), stream);
}

}  // namespace

int32_t stored_dtype(Context* context, int32_t file_dtype) {
  return context->compute_type == kComputeF32 ? file_dtype : kTypeBF16;
}

size_t packed_bytes(Context* context, int64_t n, int64_t k, int32_t dtype) {
  if (context->compute_type == kComputeF32) return static_cast<size_t>(n * k * type_bytes(dtype));
  return static_cast<size_t>(panels_of(n) * k_blocks_of(k) * kBlockBytes);
}

Status pack_matrix(Context* context, Stream* stream, const WeightPart* parts, int32_t count,
                   int32_t dtype, void* out) {
  if (context->compute_type == kComputeF32) {
    return check(stack_rows(native(stream), parts, count, dtype, out), "pack_matrix");
  }
  int64_t n = 0;
  for (int32_t i = 0; i < count; ++i) n += parts[i].rows;
  cudaError_t error = clear_padding(native(stream), context, n, parts[0].cols, dtype, out);
  int64_t first_row = 0;
  for (int32_t i = 0; i < count && error == cudaSuccess; ++i) {
    error = pack_part(native(stream), parts[i], first_row, RowOrder::kStacked, out);
    first_row += parts[i].rows;
  }
  return check(error, "pack_matrix");
}

Status pack_gate_up(Context* context, Stream* stream, const WeightPart* gate, const WeightPart* up,
                    int32_t dtype, void* out) {
  if (context->compute_type == kComputeF32) {
    const WeightPart parts[] = {*gate, *up};
    return check(stack_rows(native(stream), parts, 2, dtype, out), "pack_gate_up");
  }
  cudaError_t error =
      clear_padding(native(stream), context, 2 * gate->rows, gate->cols, dtype, out);
  if (error == cudaSuccess) error = pack_part(native(stream), *gate, 0, RowOrder::kGate, out);
  if (error == cudaSuccess) error = pack_part(native(stream), *up, 0, RowOrder::kUp, out);
  return check(error, "pack_gate_up");
}

Status convert(Context* context, Stream* stream, const void* from, int32_t from_dtype, void* to,
               int32_t to_dtype, int64_t count) {
  if (count == 0) return kOk;
  const int64_t bytes = count * type_bytes(from_dtype);
  const auto alignment = reinterpret_cast<uintptr_t>(from) | reinterpret_cast<uintptr_t>(to);
  if (from_dtype == to_dtype && (alignment | static_cast<uintptr_t>(bytes)) % 16 == 0) {
    return check(
        start(copy_kernel, dim3(context->machine.multiprocessors * 8), dim3(kThreads), 0, native(stream),
              static_cast<const uint4*>(from), static_cast<uint4*>(to), bytes / 16),
        "convert");
  }
  return check(start(convert_kernel, wide_grid(count), dim3(kThreads), 0, native(stream), from,
                     from_dtype, to, to_dtype, count),
               "convert");
}

Status fill_random(Context* context, Stream* stream, void* to, int32_t dtype, int64_t count,
                   uint64_t seed, float bound) {
  if (count == 0) return kOk;
  return check(start(fill_random_kernel, wide_grid(count), dim3(kThreads), 0, native(stream), to,
                     dtype, count, seed, bound),
               "fill_random");
}

}  // namespace conclave::device::cuda
