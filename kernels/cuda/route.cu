// Routing: softmax over the experts' logits, the best k of each row, and the lists of rows that
// each expert computes here.

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route_row.cuh"
#include "kernels/cuda/router.cuh"
#include "kernels/cuda/scratch.h"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

constexpr int kRouteWarps = 4;
constexpr int kMaxExperts = 1024;
constexpr int kMaxTopK = 64;
constexpr int kLogitsPerLane = kMaxExperts / 32;
constexpr int kListThreads = 512;
constexpr int kListWarps = kListThreads / 32;
constexpr int kFewRows = 16;  // a warp each

template <int kPerLane>
__global__ void __launch_bounds__(kRouteWarps * 32)
    route_kernel(RouterShape shape, RowCount rows, const float* logits, int32_t* ids,
                 float* weights) {
  wait_for_predecessor();
  const int32_t row = blockIdx.x * kRouteWarps + threadIdx.x / 32;
  if (row < rows.bound) route_or_clear<ByShuffles, kPerLane>(shape, rows, row, logits, ids, weights);
}

// Counting sort of the pairs by expert, by one block. Each warp counts and then places a contiguous
// run of pairs, in order, so that pairs of an expert ascend. counters: [warps][experts].
__device__ void group_pairs(const RouterShape& shape, int32_t rows, const int32_t* ids,
                            const ExpertOwners& owners, const ExpertLists& lists,
                            int32_t* counters) {
  const int32_t pairs = rows * shape.top_k, experts = shape.experts;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t run = (pairs + kListWarps * 32 - 1) / (kListWarps * 32) * 32;
  const int32_t begin = min(pairs, warp * run), end = min(pairs, begin + run);
  int32_t* own = counters + warp * experts;
  const auto local_expert = [&](int32_t pair) {
    const int32_t id = pair < end ? ids[pair] : -1;
    if (id < 0 || id >= experts || owners.owner == nullptr) return id < experts ? id : -1;
    const int32_t source = pair / shape.top_k / owners.rows_per_source;
    return owners.owner[int64_t{source} * experts + id] == owners.self ? id : -1;
  };
  for (int32_t i = threadIdx.x; i < kListWarps * experts; i += kListThreads) counters[i] = 0;
  __syncthreads();
  for (int32_t p = begin + lane; p < end; p += 32) {
    const int32_t expert = local_expert(p);
    if (expert >= 0) atomicAdd(&own[expert], 1);
  }
  __syncthreads();
  // Per expert: counts of the warps become starts within the expert, then the sum goes to counts.
  for (int32_t e = threadIdx.x; e < experts; e += kListThreads) {
    int32_t before = 0;
    for (int32_t w = 0; w < kListWarps; ++w) {
      const int32_t count = counters[w * experts + e];
      counters[w * experts + e] = before;
      before += count;
    }
    lists.counts[e] = before;
  }
  __syncthreads();
  if (warp == 0) {
    int32_t before = 0;
    for (int32_t base = 0; base < experts; base += 32) {
      const int32_t e = base + lane;
      const int32_t count = e < experts ? lists.counts[e] : 0;
      int32_t last = count;
#pragma unroll
      for (int step = 1; step < 32; step <<= 1) {
        const int32_t other = __shfl_up_sync(~0u, last, step);
        if (lane >= step) last += other;
      }
      if (e < experts) lists.offsets[e] = before + last - count;
      before += __shfl_sync(~0u, last, 31);
    }
    if (lane == 0) lists.offsets[experts] = before;
  }
  __syncthreads();
  for (int32_t base = begin; base < end; base += 32) {
    const int32_t p = base + lane;
    const int32_t expert = local_expert(p);
    const uint32_t peers = __match_any_sync(~0u, expert);
    const int32_t rank = __popc(peers & ((1u << lane) - 1));
    const int32_t at = expert >= 0 ? own[expert] + rank : 0;
    __syncwarp();
    if (expert >= 0) {
      lists.pairs[lists.offsets[expert] + at] = p;
      if (rank == 0) own[expert] += __popc(peers);
    }
    __syncwarp();
  }
}

__global__ void __launch_bounds__(kListThreads)
    group_kernel(RouterShape shape, RowCount rows, const int32_t* ids, ExpertOwners owners,
                 ExpertLists lists) {
  extern __shared__ int32_t counters[];
  wait_for_predecessor();
  group_pairs(shape, actual_rows(rows), ids, owners, lists, counters);
}

// Few rows: choice and lists in one block.
template <int kPerLane>
__global__ void __launch_bounds__(kListThreads)
    route_and_group_kernel(RouterShape shape, RowCount rows, const float* logits, int32_t* ids,
                           float* weights, ExpertLists lists) {
  extern __shared__ int32_t counters[];
  wait_for_predecessor();
  for (int32_t row = threadIdx.x / 32; row < rows.bound; row += kListThreads / 32) {
    route_or_clear<ByShuffles, kPerLane>(shape, rows, row, logits, ids, weights);
  }
  __syncthreads();
  group_pairs(shape, actual_rows(rows), ids, {nullptr, 0, 0}, lists, counters);
}

size_t list_shared_bytes(int32_t experts) {
  return static_cast<size_t>(experts) * kListWarps * sizeof(int32_t);
}

template <int kPerLane>
cudaError_t start_route(const RouterShape& shape, RowCount rows, const float* logits, int32_t* ids,
                        float* weights, const ExpertLists* lists, cudaStream_t stream) {
  if (lists != nullptr && rows.bound <= kFewRows) {
    return start(route_and_group_kernel<kPerLane>, dim3(1), dim3(kListThreads),
                 list_shared_bytes(shape.experts), stream, shape, rows, logits, ids, weights,
                 *lists);
  }
  return start(route_kernel<kPerLane>, dim3((rows.bound + kRouteWarps - 1) / kRouteWarps),
               dim3(kRouteWarps * 32), 0, stream, shape, rows, logits, ids, weights);
}

template <int kPerLane>
cudaError_t prepare_route() {
  return allow_shared(route_and_group_kernel<kPerLane>, list_shared_bytes(kMaxExperts));
}

}  // namespace

cudaError_t prepare_route() {
  cudaError_t error = allow_shared(group_kernel, list_shared_bytes(kMaxExperts));
  if (error == cudaSuccess) error = prepare_route<1>();
  if (error == cudaSuccess) error = prepare_route<2>();
  if (error == cudaSuccess) error = prepare_route<4>();
  if (error == cudaSuccess) error = prepare_route<8>();
  if (error == cudaSuccess) error = prepare_route<kLogitsPerLane>();
  return error;
}

Status supports_router(Context*, const RouterShape* shape) {
  if (shape->experts < 1 || shape->top_k < 1 || shape->top_k > shape->experts) {
    return fail(kInvalidArgument, "router: cannot choose %d of %d experts", shape->top_k,
                shape->experts);
  }
  if (shape->experts > kMaxExperts || shape->top_k > kMaxTopK) {
    return fail(kUnimplemented, "router: top %d of %d experts; at most %d of %d", shape->top_k,
                shape->experts, kMaxTopK, kMaxExperts);
  }
  return kOk;
}

Status route(Context* context, Stream* stream, const RouterShape* shape, RowCount rows,
             const void* x, const PackedMatrix* gate, int32_t* ids, float* weights,
             const ExpertLists* lists) {
  if (rows.bound == 0) return kOk;
  float* logits = context->scratch->router_logits;
  Status status = context->compute_type == kComputeF32
                      ? matmul(context, stream, rows, x, gate, nullptr, 0, logits)
                      : check(router_logits(rows, x, gate->data, shape->experts,
                                            static_cast<int32_t>(gate->k), logits, native(stream)),
                              "router");
  if (status != kOk) return status;
  const int32_t per_lane = (shape->experts + 31) / 32;
  const auto run = per_lane <= 1   ? start_route<1>
                   : per_lane <= 2 ? start_route<2>
                   : per_lane <= 4 ? start_route<4>
                   : per_lane <= 8 ? start_route<8>
                                   : start_route<kLogitsPerLane>;
  status = check(run(*shape, rows, logits, ids, weights, lists, native(stream)), "route");
  if (status != kOk || lists == nullptr || rows.bound <= kFewRows) return status;
  const ExpertOwners everywhere{nullptr, 0, 0};
  return group_experts(context, stream, shape, rows, ids, &everywhere, lists);
}

Status group_experts(Context*, Stream* stream, const RouterShape* shape, RowCount rows,
                     const int32_t* ids, const ExpertOwners* owners, const ExpertLists* lists) {
  if (rows.bound == 0) return kOk;
  const ExpertOwners all = owners == nullptr ? ExpertOwners{nullptr, 0, 0} : *owners;
  return check(start(group_kernel, dim3(1), dim3(kListThreads), list_shared_bytes(shape->experts),
                     native(stream), *shape, rows, ids, all, *lists),
               "group_experts");
}

}  // namespace conclave::device::cuda
