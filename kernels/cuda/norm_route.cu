// Norm, router and routing of few rows in one kernel. Each block norms its 8 rows itself and
// computes the logits of 16 experts for them; the block that finishes last chooses and lists, or,
// where the blocks are so few that they form a cluster, the first one. The
// same bits as the three kernels that many rows take: same threads for the same elements in the
// norm (row_norm.cuh), same segments in the product (router_segment.cuh), same sums in the softmax.

#include "kernels/cuda/few_pairs.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/route_row.cuh"
#include "kernels/cuda/router_segment.cuh"
#include "kernels/cuda/row_norm.cuh"
#include "kernels/cuda/scratch.h"
#include "kernels/device/cuda/ops.h"

namespace conclave::device::cuda {
namespace {

constexpr int kWarps = kRowThreads / 32;
static_assert(kWarps == kRouterSegments);
constexpr int kTileRows = 8;
constexpr int kRowsAtOnce = 4;
constexpr int kMaxRows = 16;
constexpr int kMaxPairs = 512;
constexpr int kMaxHidden = 16 * kRowThreads;

struct NormRoute {
  RowCount rows;
  int32_t hidden;
  const float* residual;
  const float* weight;
  float eps;
  bf16* normed;
  RouterShape shape;
  const char* gate;  // packed
  float* logits;     // [rows.bound, experts]
  int32_t* ids;
  float* weights;
  ExpertLists lists;  // counts null: not wanted
  int32_t* done;      // blocks that finished; zero between calls
};

// So many blocks form a cluster, whose first gets all logits in its shared memory.
constexpr int kNearBlocks = 8;

struct Shared {
  float squares[kRowsAtOnce][32];
  float parts[kRouterSegments][128];
  int32_t ids[kMaxPairs];
  int32_t counts[32];
  float logits[kTileRows * kNearBlocks * kPanelRows];  // near: [rows, experts]
  bool last;
};

__host__ __device__ inline int32_t row_pitch(int32_t hidden) {
  return (hidden * 2 + 15) / 16 * 16 + 16;  // 8 rows in different banks
}

// Norms of kRowsAtOnce rows from `first`, into shared memory and, by one block, to where they go.
// factors: the norm's weight at this thread's elements.
template <int kKept>
__device__ void norm_rows(const NormRoute& work, const float (&factors)[kKept], int32_t first,
                          int32_t count, bool write, char* rows, Shared& shared) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float kept[kRowsAtOnce][kKept];
#pragma unroll
  for (int r = 0; r < kRowsAtOnce; ++r) {
    const float* row = work.residual + int64_t{first + min(r, count - 1)} * work.hidden;
#pragma unroll
    for (int i = 0; i < kKept; ++i) {
      const int32_t at = threadIdx.x + i * kRowThreads;
      kept[r][i] = r < count && at < work.hidden ? row[at] : 0.0f;
    }
  }
#pragma unroll
  for (int r = 0; r < kRowsAtOnce; ++r) {
    const float sum = warp_sum(squares_of(kept[r]));
    if (lane == 0) shared.squares[r][warp] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < kRowsAtOnce; ++r) {
    if (r >= count) break;
    const float sum = warp_sum(lane < kWarps ? shared.squares[r][lane] : 0.0f);
    const float scale = norm_scale(sum, work.hidden, work.eps);
    auto* to = reinterpret_cast<bf16*>(rows + r * row_pitch(work.hidden));
    bf16* out = work.normed + int64_t{first + r} * work.hidden;
#pragma unroll
    for (int i = 0; i < kKept; ++i) {
      const int32_t at = threadIdx.x + i * kRowThreads;
      if (at >= work.hidden) continue;
      const bf16 value = from_float<bf16>(factors[i] * (kept[r][i] * scale));
      to[at] = value;
      if (write) out[at] = value;
    }
  }
  __syncthreads();
}

// Logits of this block's experts for rows [first, first + count), to `to` [rows, experts].
template <int kBlocks>
__device__ void block_logits(const NormRoute& work, const SegmentWeights<kBlocks>& weights,
                             int32_t first, int32_t count, const char* rows, float* to,
                             Shared& shared) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const auto* row =
      reinterpret_cast<const uint16_t*>(rows + min(lane / 4, count - 1) * row_pitch(work.hidden));
  float c[4] = {};
  weights.sum(work.hidden, row, warp, c);
#pragma unroll
  for (int i = 0; i < 4; ++i) shared.parts[warp][lane * 4 + i] = c[i];
  __syncthreads();
  if (threadIdx.x >= 128) return;
  float sum = 0;
#pragma unroll
  for (int s = 0; s < kRouterSegments; ++s) sum += shared.parts[s][threadIdx.x];
  const int32_t owner = threadIdx.x / 4, part = threadIdx.x % 4;
  const int32_t offset = owner % 4 * 2 + part % 2;
  const int32_t expert = blockIdx.x * kPanelRows + owner / 4 + part / 2 * 8;
  if (offset < count && expert < work.shape.experts) {
    to[int64_t{first + offset} * work.shape.experts + expert] = sum;
  }
}

// By one block, which has all logits: choice, then lists.
template <int kPerLane>
__device__ void choose(const NormRoute& work, const float* logits, int32_t count, Shared& shared) {
  const int32_t top_k = work.shape.top_k;
  for (int32_t row = threadIdx.x / 32; row < work.rows.bound; row += kWarps) {
    route_or_clear<ByReductions, kPerLane>(work.shape, work.rows, row, logits, shared.ids,
                                           work.weights);
  }
  __syncthreads();
  for (int32_t p = threadIdx.x; p < work.rows.bound * top_k; p += kRowThreads) {
    work.ids[p] = shared.ids[p];
  }
  if (work.lists.counts != nullptr) {
    group_few_pairs(work.shape.experts, count * top_k, shared.ids, work.lists, shared.counts);
  }
}

// Whether this block came last, so that it sees what all others wrote.
__device__ bool is_last(const NormRoute& work, Shared& shared) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.last = atomicAdd(work.done, 1) == static_cast<int32_t>(gridDim.x * gridDim.y) - 1;
    if (shared.last) *work.done = 0;
  }
  __syncthreads();
  if (shared.last) __threadfence();
  return shared.last;
}

// kNear: the blocks are one cluster and there is one tile of rows.
template <int kKept, int kPerLane, bool kNear>
__global__ void __launch_bounds__(kRowThreads) norm_route_kernel(NormRoute work) {
  extern __shared__ __align__(16) char rows[];  // normed, of this block
  __shared__ Shared shared;
  if constexpr (kNear) cluster_arrive();
  const int64_t panel_bytes = k_blocks_of(work.hidden) * kBlockBytes;
  const char* panel = work.gate + blockIdx.x * panel_bytes;
  SegmentWeights<kKept * kRowThreads / (kRouterSegments * kBlockK)> weights;
  weights.load(work.hidden, panel, threadIdx.x / 32);
  float factors[kKept];
#pragma unroll
  for (int i = 0; i < kKept; ++i) {
    const int32_t at = threadIdx.x + i * kRowThreads;
    factors[i] = at < work.hidden ? work.weight[at] : 0.0f;
  }
  float* logits = work.logits;
  if constexpr (kNear) logits = of_cluster_block(shared.logits, 0);
  wait_for_predecessor();
  if constexpr (kNear) cluster_wait();
  const int32_t actual = actual_rows(work.rows), first = blockIdx.y * kTileRows;
  const int32_t count = min(kTileRows, actual - first);
  for (int32_t base = 0; base < count; base += kRowsAtOnce) {
    norm_rows<kKept>(work, factors, first + base, min(kRowsAtOnce, count - base), blockIdx.x == 0,
                     rows + base * row_pitch(work.hidden), shared);
  }
  if (count > 0) block_logits(work, weights, first, count, rows, logits, shared);
  if constexpr (kNear) {
    cluster_synchronize();
    if (blockIdx.x != 0) return;
  } else if (!is_last(work, shared)) {
    return;
  }
  choose<kPerLane>(work, logits, actual, shared);
}

int32_t shared_bytes(int32_t hidden, int32_t rows) {
  return (rows < kTileRows ? rows : kTileRows) * row_pitch(hidden);
}

template <int kKept, int kPerLane>
cudaError_t start_kernel(const NormRoute& work, bool near, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(panels_of(work.shape.experts)),
                  (work.rows.bound + kTileRows - 1) / kTileRows);
  const auto bytes = static_cast<size_t>(shared_bytes(work.hidden, work.rows.bound));
  if (near && grid.x <= kNearBlocks && grid.y == 1) {
    return start_clusters(norm_route_kernel<kKept, kPerLane, true>, grid, grid.x, dim3(kRowThreads),
                          bytes, stream, work);
  }
  return start(norm_route_kernel<kKept, kPerLane, false>, grid, dim3(kRowThreads), bytes, stream,
               work);
}

template <int kKept>
cudaError_t run(const NormRoute& work, bool near, cudaStream_t stream) {
  const int32_t per_lane = (work.shape.experts + 31) / 32;
  if (per_lane <= 2) return start_kernel<kKept, 2>(work, near, stream);
  return per_lane <= 4 ? start_kernel<kKept, 4>(work, near, stream)
                       : start_kernel<kKept, 8>(work, near, stream);
}

template <int kKept, int kPerLane>
cudaError_t prepare_kernel() {
  const auto bytes = static_cast<size_t>(shared_bytes(kKept * kRowThreads, kTileRows));
  const cudaError_t error = allow_shared(norm_route_kernel<kKept, kPerLane, false>, bytes);
  return error != cudaSuccess ? error
                              : allow_shared(norm_route_kernel<kKept, kPerLane, true>, bytes);
}

bool fits(const Context& context, const RouterShape& shape, RowCount rows, int64_t hidden) {
  return context.machine.tuning.fuse != 0 && context.compute_type == kComputeBF16 &&
         rows.bound <= kMaxRows && rows.bound * shape.top_k <= kMaxPairs && hidden <= kMaxHidden &&
         shape.experts <= 256;
}

}  // namespace

cudaError_t prepare_norm_route() {
  cudaError_t error = prepare_kernel<8, 2>();
  if (error == cudaSuccess) error = prepare_kernel<8, 4>();
  if (error == cudaSuccess) error = prepare_kernel<8, 8>();
  if (error == cudaSuccess) error = prepare_kernel<16, 2>();
  if (error == cudaSuccess) error = prepare_kernel<16, 4>();
  if (error == cudaSuccess) error = prepare_kernel<16, 8>();
  return error;
}

Status norm_route(Context* context, Stream* stream, RowCount rows, int64_t hidden, float* residual,
                  const float* addend, const float* norm_weight, float eps, void* normed,
                  const RouterShape* shape, const PackedMatrix* gate, int32_t* ids, float* weights,
                  const ExpertLists* lists) {
  if (rows.bound == 0) return kOk;
  if (addend != nullptr || !fits(*context, *shape, rows, hidden)) {
    const Status status =
        add_rms_norm(context, stream, rows, hidden, residual, addend, norm_weight, eps, normed);
    if (status != kOk) return status;
    return route(context, stream, shape, rows, normed, gate, ids, weights, lists);
  }
  const NormRoute work{rows,
                       static_cast<int32_t>(hidden),
                       residual,
                       norm_weight,
                       eps,
                       static_cast<bf16*>(normed),
                       *shape,
                       static_cast<const char*>(gate->data),
                       context->scratch->router_logits,
                       ids,
                       weights,
                       lists == nullptr ? ExpertLists{} : *lists,
                       context->scratch->blocks_done};
  const auto chosen = hidden <= 8 * kRowThreads ? run<8> : run<16>;
  return check(chosen(work, context->machine.tuning.near != 0, native(stream)), "norm_route");
}

}  // namespace conclave::device::cuda
