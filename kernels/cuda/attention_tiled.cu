// Prefill attention: a block takes 128 (row, head) pairs of one chunk and kv head, 16 per warp, and
// walks the units of 128 keys in order. Another warp keeps two units of K/V in shared memory.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_unit.cuh"
#include "kernels/cuda/launch.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kWarps = 8;
constexpr int kPairs = kWarps * 16;
constexpr int kStages = 2;
constexpr int kThreads = kWarps * 32 + 128;  // a whole warpgroup, so that it can give up registers

template <int kHeadDim>
struct TiledShared {
  alignas(128) char kv[kStages][kUnitBytes<kHeadDim>];
  alignas(128) char q[kPairs * kHeadDim * 2];
  uint64_t full[kStages], empty[kStages];
};

struct Span {
  int32_t first_pair, pairs;  // of the chunk
  int32_t first_unit, end_unit, end_key;
};

template <int kHeadDim>
__device__ void load_units(const AttentionCall& call, TiledShared<kHeadDim>& shared,
                           const AttentionChunk& chunk, const Span& span) {
  const int32_t lane = threadIdx.x % 32;
  for (int32_t unit = span.first_unit; unit < span.end_unit; ++unit) {
    const int32_t turn = unit - span.first_unit, stage = turn % kStages;
    if (turn >= kStages) barrier_wait(&shared.empty[stage], (turn / kStages - 1) & 1);
    const int32_t keys = min(kUnitKeys, span.end_key - unit * kUnitKeys);
    const int32_t blocks = (keys + kKvTokens - 1) / kKvTokens;
    if (lane == 0) barrier_arrive_expect(&shared.full[stage], blocks * kKvBlockBytes<kHeadDim>);
    __syncwarp();
    if (lane < blocks) {
      const int32_t id = call.batch.block_ids[chunk.block_table + unit * kUnitBlocks + lane];
      bulk_load(shared.kv[stage] + lane * kKvBlockBytes<kHeadDim>,
                static_cast<const char*>(call.kv.data) + id * call.kv.block_stride_bytes +
                    int64_t{blockIdx.y} * kKvBlockBytes<kHeadDim>,
                kKvBlockBytes<kHeadDim>, &shared.full[stage]);
    }
  }
}

// Row of q and out of a pair.
__device__ inline int64_t pair_row(const AttentionCall& call, const AttentionChunk& chunk,
                                   int32_t pair) {
  const int32_t group = call.shape.heads / call.shape.kv_heads;
  return int64_t{chunk.first_row + pair / group} * call.shape.heads + blockIdx.y * group +
         pair % group;
}

template <int kHeadDim>
struct State {
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0, 0};
  float out[kHeadDim / 8][4] = {};
};

// One unit for the 16 rows of a warp, joined to what came before.
template <int kHeadDim>
__device__ inline void attend_unit(State<kHeadDim>& state, uint32_t q, uint32_t kv,
                                   int32_t first_key, int32_t blocks, const Sight& sight) {
  JoinFactors factors[2];
  uint32_t p[kUnitBlocks][4];
  {
    float s[kUnitBlocks * 2][4];
    unit_scores<kHeadDim, kUnitBlocks>(s, q, kv, first_key, blocks, sight);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float max = -INFINITY;
#pragma unroll
      for (int i = 0; i < kUnitBlocks * 2; ++i)
        max = fmaxf(max, fmaxf(s[i][r * 2], s[i][r * 2 + 1]));
      max = quad_max(max);
      uint32_t halves[kUnitBlocks * 2];
      float sums[kUnitBlocks / 2];
      unit_probabilities<kUnitBlocks>(s, r, max, halves, sums);
#pragma unroll
      for (int i = 0; i < kUnitBlocks * 2; ++i) p[i / 2][i % 2 * 2 + r] = halves[i];
      factors[r] = join_factors(state.max[r], max);
      state.max[r] = factors[r].max;
      state.sum[r] = joined(factors[r], state.sum[r], ((sums[0] + sums[1]) + sums[2]) + sums[3]);
    }
  }
  constexpr int kTogether = 4;  // independent chains keep the tensor cores busy
#pragma unroll
  for (int first = 0; first < kHeadDim / 16; first += kTogether) {
    float sums[kTogether * 2][4] = {};
#pragma unroll
    for (int block = 0; block < kUnitBlocks; ++block) {
      if (block >= blocks) continue;
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        add_values<kHeadDim>(sums[i * 2], sums[i * 2 + 1], p[block],
                             kv + block * kKvBlockBytes<kHeadDim>, (first + i) * 16);
      }
    }
#pragma unroll
    for (int i = 0; i < kTogether * 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        state.out[first * 2 + i][j] =
            joined(factors[j / 2], state.out[first * 2 + i][j], sums[i][j]);
      }
    }
  }
}

// The warp's rows, through the place of its queries so that stores are 16 bytes wide.
template <int kHeadDim>
__device__ void write_out(const AttentionCall& call, const AttentionChunk& chunk, const Span& span,
                          const State<kHeadDim>& state, char* rows) {
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  constexpr int kChunks = kHeadDim / 8;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t row = lane / 4 + r * 8;
#pragma unroll
    for (int i = 0; i < kChunks; ++i) {
      const uint32_t pair =
          pack_bf16(state.out[i][r * 2] / state.sum[r], state.out[i][r * 2 + 1] / state.sum[r]);
      *reinterpret_cast<uint32_t*>(rows + row * kHeadDim * 2 + (i ^ (row % 8)) * 16 +
                                   lane % 4 * 4) = pair;
    }
  }
  __syncwarp();
  for (int32_t i = lane; i < 16 * kChunks; i += 32) {
    const int32_t row = i / kChunks, c = i % kChunks;
    const int32_t pair = warp * 16 + row;
    if (pair >= span.pairs) continue;
    *reinterpret_cast<uint4*>(static_cast<bf16*>(call.out) +
                              pair_row(call, chunk, span.first_pair + pair) * kHeadDim + c * 8) =
        *reinterpret_cast<const uint4*>(rows + row * kHeadDim * 2 + (c ^ (row % 8)) * 16);
  }
}

template <int kHeadDim>
__device__ void attend(const AttentionCall& call, TiledShared<kHeadDim>& shared,
                       const AttentionChunk& chunk, const Span& span) {
  const int32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t group = call.shape.heads / call.shape.kv_heads;
  constexpr int kChunks = kHeadDim / 8;
  char* rows = shared.q + warp * 16 * kHeadDim * 2;
  for (int32_t i = lane; i < 16 * kChunks; i += 32) {
    const int32_t row = i / kChunks, c = i % kChunks;
    const int32_t pair = span.first_pair + min(warp * 16 + row, span.pairs - 1);
    *reinterpret_cast<uint4*>(rows + row * kHeadDim * 2 + (c ^ (row % 8)) * 16) =
        *reinterpret_cast<const uint4*>(static_cast<const bf16*>(call.q) +
                                        pair_row(call, chunk, pair) * kHeadDim + c * 8);
  }
  __syncwarp();
  Sight sight{{}, call.shape.sliding_window, call.shape.scale * 1.44269504f};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t pair = min(warp * 16 + lane / 4 + r * 8, span.pairs - 1);
    sight.position[r] = chunk.position + (span.first_pair + pair) / group;
  }
  // What any row of the warp sees.
  const int32_t last_pair = min(warp * 16 + 15, span.pairs - 1);
  const int32_t warp_end = chunk.position + (span.first_pair + last_pair) / group + 1;
  State<kHeadDim> state;
  for (int32_t unit = span.first_unit; unit < span.end_unit; ++unit) {
    const int32_t turn = unit - span.first_unit, stage = turn % kStages;
    const int32_t first_key = unit * kUnitKeys;
    barrier_wait(&shared.full[stage], turn / kStages & 1);
    const int32_t keys = min(kUnitKeys, span.end_key - first_key);
    if (keys % kKvTokens != 0) {
      // Only the last unit, which all warps come to.
      if (warp == 0) {
        clear_values<kHeadDim>(shared.kv[stage] + keys / kKvTokens * kKvBlockBytes<kHeadDim>,
                               keys % kKvTokens);
      }
      asm volatile("bar.sync 1, %0;" ::"n"(kWarps * 32) : "memory");
    }
    const int32_t seen = min(keys, warp_end - first_key);
    if (seen > 0) {
      attend_unit(state, shared_address(rows), shared_address(shared.kv[stage]), first_key,
                  (seen + kKvTokens - 1) / kKvTokens, sight);
    }
    __syncwarp();
    if (lane == 0) barrier_arrive(&shared.empty[stage]);
  }
  write_out(call, chunk, span, state, rows);
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, 1) tiled_attention_kernel(AttentionCall call) {
  extern __shared__ __align__(128) char memory[];
  auto& shared = *reinterpret_cast<TiledShared<kHeadDim>*>(memory);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&shared.full[s], 1);
      barrier_init(&shared.empty[s], kWarps);
    }
    fence_barrier_init();
  }
  wait_for_predecessor();
  __syncthreads();
  if (static_cast<int32_t>(blockIdx.z) >= actual_rows(call.batch.chunks)) return;
  const AttentionChunk chunk = call.batch.chunk[blockIdx.z];
  const int32_t group = call.shape.heads / call.shape.kv_heads;
  const int32_t pairs = chunk.rows * group;
  // Last tiles first: they see the most keys.
  const int32_t tile = gridDim.x - 1 - blockIdx.x;
  Span span;
  span.first_pair = tile * kPairs;
  span.pairs = min(kPairs, pairs - span.first_pair);
  if (chunk.position < 0 || pairs <= kSplitRows || span.pairs <= 0) return;
  const int32_t first_position = chunk.position + span.first_pair / group;
  const int32_t last_position = chunk.position + (span.first_pair + span.pairs - 1) / group;
  span.first_unit = call.shape.sliding_window > 0
                        ? max(0, first_position - call.shape.sliding_window + 1) / kUnitKeys
                        : 0;
  span.end_key = last_position + 1;
  span.end_unit = last_position / kUnitKeys + 1;
  if (threadIdx.x >= kWarps * 32) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x / 32 == kWarps) load_units<kHeadDim>(call, shared, chunk, span);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    attend<kHeadDim>(call, shared, chunk, span);
  }
}

template <int kHeadDim>
cudaError_t run(const AttentionCall& call, cudaStream_t stream) {
  const int32_t group = call.shape.heads / call.shape.kv_heads;
  const dim3 grid((call.batch.max_chunk_rows * group + kPairs - 1) / kPairs, call.shape.kv_heads,
                  call.batch.chunks.bound);
  return start(tiled_attention_kernel<kHeadDim>, grid, dim3(kThreads),
               sizeof(TiledShared<kHeadDim>), stream, call);
}

}  // namespace

cudaError_t prepare_attention_tiled() {
  const cudaError_t error = allow_shared(tiled_attention_kernel<64>, sizeof(TiledShared<64>));
  return error == cudaSuccess ? allow_shared(tiled_attention_kernel<128>, sizeof(TiledShared<128>))
                              : error;
}

cudaError_t attention_tiled(const AttentionCall& call, cudaStream_t stream) {
  const int32_t group = call.shape.heads / call.shape.kv_heads;
  if (call.batch.max_chunk_rows * group <= kSplitRows) return cudaSuccess;
  return call.shape.head_dim == 64 ? run<64>(call, stream) : run<128>(call, stream);
}

}  // namespace conclave::device::cuda
