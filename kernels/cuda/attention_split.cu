// Decode attention: a chunk with at most 16 (row, head) pairs per kv head is spread over its keys,
// a block of four warps per unit of 128 keys (or several). Scores are shared out by keys, then
// outputs by elements, so that every sum runs in the order of the tiled kernel. The last block of a
// chunk and kv head joins the units in order. The number of blocks follows the batch; results do
// not.

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/attention_unit.cuh"
#include "kernels/cuda/head_vector.cuh"
#include "kernels/cuda/launch.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kWarps = 4;
constexpr int kWarpBlocks = kUnitBlocks / kWarps;
constexpr int kMaxCounters = 1 << 16;

// Chunks [first_chunk, first_chunk + chunks) with room for `units` units.
struct Slice {
  int32_t first_chunk, chunks, units;
  float* out;     // [chunks, kv heads, units, 16 pairs, head_dim]
  float2* stat;   // [chunks, kv heads, units, 16 pairs]: max, sum
  int32_t* done;  // [chunks, kv heads]: blocks that finished; zero between calls
};

template <int kHeadDim>
struct SplitShared {
  alignas(128) char kv[kUnitBytes<kHeadDim>];
  alignas(128) char q[kSplitRows * kHeadDim * 2];
  alignas(128) char p[kSplitRows * kUnitKeys * 2];
  float max[kWarps][kSplitRows], sum[kWarps][kSplitRows];
  uint64_t loaded;
  bool last;
};

struct Work {
  AttentionChunk chunk;
  int32_t group, pairs, first_unit, end_unit, end_key;
};

// From the plan. rows 0: padding, or not of this kernel's kind.
__device__ inline Work find_work(const AttentionCall& call, int32_t index) {
  Work work{};
  const AttentionChunk chunk = load_plan(call.batch.chunk + index);
  if (index >= planned_rows(call.batch.chunks)) return work;
  work.chunk = chunk;
  work.group = call.shape.heads / call.shape.kv_heads;
  work.pairs = work.chunk.rows * work.group;
  if (work.chunk.position < 0 || work.pairs > kSplitRows) work.chunk.rows = 0;
  const int32_t window = call.shape.sliding_window;
  work.first_unit = window > 0 ? max(0, work.chunk.position - window + 1) / kUnitKeys : 0;
  work.end_key = work.chunk.position + work.chunk.rows;
  work.end_unit = (work.end_key + kUnitKeys - 1) / kUnitKeys;
  return work;
}

// Row of q and out of a pair.
__device__ inline int64_t pair_row(const AttentionCall& call, const Work& work, int32_t pair) {
  return int64_t{work.chunk.first_row + pair / work.group} * call.shape.heads +
         blockIdx.y * work.group + pair % work.group;
}

__device__ inline int32_t blocks_of_unit(const Work& work, int32_t unit) {
  const int32_t keys = min(kUnitKeys, work.end_key - unit * kUnitKeys);
  return (keys + kKvTokens - 1) / kKvTokens;
}

// From the plan: the cache block that lane `lane` brings of a unit; 0 where there is none.
__device__ inline int32_t planned_block(const AttentionCall& call, const Work& work, int32_t unit,
                                        int32_t lane) {
  if (unit >= work.end_unit || lane >= blocks_of_unit(work, unit)) return 0;
  return load_plan(call.batch.block_ids + work.chunk.block_table + unit * kUnitBlocks + lane);
}

template <int kHeadDim>
__device__ void load_unit(const AttentionCall& call, SplitShared<kHeadDim>& shared, int32_t id,
                          int32_t blocks) {
  const int32_t lane = threadIdx.x;
  if (lane == 0) barrier_arrive_expect(&shared.loaded, blocks * kKvBlockBytes<kHeadDim>);
  __syncwarp();
  if (lane >= blocks) return;
  bulk_load(shared.kv + lane * kKvBlockBytes<kHeadDim>,
            static_cast<const char*>(call.kv.data) + id * call.kv.block_stride_bytes +
                int64_t{blockIdx.y} * kKvBlockBytes<kHeadDim>,
            kKvBlockBytes<kHeadDim>, &shared.loaded);
}

// A warp's 32 keys: probabilities to shared memory, their sums and maximum too.
template <int kHeadDim>
__device__ void score_keys(SplitShared<kHeadDim>& shared, int32_t first_key, int32_t blocks,
                           const Sight& sight) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t first_block = warp * kWarpBlocks;
  float s[kWarpBlocks * 2][4];
  unit_scores<kHeadDim, kWarpBlocks>(
      s, shared_address(shared.q),
      shared_address(shared.kv) + first_block * kKvBlockBytes<kHeadDim>,
      first_key + first_block * kKvTokens, blocks - first_block, sight);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max = -INFINITY;
#pragma unroll
    for (int i = 0; i < kWarpBlocks * 2; ++i) max = fmaxf(max, fmaxf(s[i][r * 2], s[i][r * 2 + 1]));
    max = quad_max(max);
    if (lane % 4 == 0) shared.max[warp][lane / 4 + r * 8] = max;
  }
  __syncthreads();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t row = lane / 4 + r * 8;
    float max = shared.max[0][row];
#pragma unroll
    for (int w = 1; w < kWarps; ++w) max = fmaxf(max, shared.max[w][row]);
    uint32_t halves[kWarpBlocks * 2];
    float sums[kWarpBlocks / 2];
    unit_probabilities<kWarpBlocks>(s, r, max, halves, sums);
    if (lane % 4 == 0) shared.sum[warp][row] = sums[0];
#pragma unroll
    for (int i = 0; i < kWarpBlocks * 2; ++i) {
      const int32_t chunk = warp * kWarpBlocks * 2 + i;
      *reinterpret_cast<uint32_t*>(shared.p + row * kUnitKeys * 2 + (chunk ^ (row % 8)) * 16 +
                                   lane % 4 * 4) = halves[i];
    }
  }
  __syncthreads();
}

// A warp's share of the elements, over all keys of the unit.
template <int kHeadDim>
__device__ void sum_values(const SplitShared<kHeadDim>& shared, int32_t blocks, int32_t pairs,
                           float* out) {
  constexpr int kSteps = kHeadDim / 16 / kWarps;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, line = lane % 8;
  const uint32_t p_row = shared_address(shared.p) + (lane / 8 % 2 * 8 + line) * kUnitKeys * 2;
  float c[kSteps][2][4] = {};
#pragma unroll
  for (int block = 0; block < kUnitBlocks; ++block) {
    if (block >= blocks) continue;
    uint32_t p[4];
    load_matrices(p, p_row + ((block * 2 + lane / 16) ^ line) * 16);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      add_values<kHeadDim>(c[i][0], c[i][1], p,
                           shared_address(shared.kv) + block * kKvBlockBytes<kHeadDim>,
                           (warp * kSteps + i) * 16);
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t pair = lane / 4 + r * 8;
    if (pair >= pairs) continue;
#pragma unroll
    for (int i = 0; i < kSteps * 2; ++i) {
      *reinterpret_cast<float2*>(out + pair * kHeadDim + warp * kSteps * 16 + i * 8 +
                                 lane % 4 * 2) =
          make_float2(c[i / 2][i % 2][r * 2], c[i / 2][i % 2][r * 2 + 1]);
    }
  }
}

// A warp per pair, its lanes sharing the elements.
template <int kHeadDim>
__device__ void join_units(const AttentionCall& call, const Work& work, const float* parts,
                           const float2* stats) {
  constexpr int kPerLane = kHeadDim / 32;
  const int32_t lane = threadIdx.x % 32;
  for (int32_t pair = threadIdx.x / 32; pair < work.pairs; pair += kWarps) {
    const int32_t position = work.chunk.position + pair / work.group;
    const int32_t end = position / kUnitKeys + 1;
    float max = -INFINITY, sum = 0, out[kPerLane] = {};
#pragma unroll 8
    for (int32_t unit = work.first_unit; unit < end; ++unit) {
      const int64_t at = int64_t{unit} * kSplitRows + pair;
      const float2 stat = __ldcg(stats + at);
      float part[kPerLane];
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) part[i] = __ldcg(parts + at * kHeadDim + i * 32 + lane);
      const JoinFactors factors = join_factors(max, stat.x);
      max = factors.max;
      sum = joined(factors, sum, stat.y);
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) out[i] = joined(factors, out[i], part[i]);
    }
    bf16* to = static_cast<bf16*>(call.out) + pair_row(call, work, pair) * kHeadDim + lane;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) to[i * 32] = from_float<bf16>(out[i] / sum);
  }
}

// Where element i of row `row` of swizzled rows lies.
template <int kHeadDim>
__device__ inline bf16* element_of(char* rows, int32_t row, int32_t i) {
  return reinterpret_cast<bf16*>(rows + row * kHeadDim * 2) + swizzled(i, row);
}

template <int kHeadDim>
__device__ void copy_queries(const AttentionCall& call, const Work& work,
                             SplitShared<kHeadDim>& shared) {
  constexpr int kChunks = kHeadDim / 8;
  for (int32_t i = threadIdx.x; i < kSplitRows * kChunks; i += kWarps * 32) {
    const int32_t row = i / kChunks, c = i % kChunks;
    const int64_t from = pair_row(call, work, min(row, work.pairs - 1));
    *reinterpret_cast<uint4*>(shared.q + row * kHeadDim * 2 + (c ^ (row % 8)) * 16) =
        *reinterpret_cast<const uint4*>(static_cast<const bf16*>(call.q) + from * kHeadDim + c * 8);
  }
}

// The head vectors of one row and kv head: its group of queries, then, by the block that has the
// row's last unit, its key and value. A warp takes every kWarps-th. What does not depend on the
// projection is had before the predecessor ends.
template <int kHeadDim>
struct HeadVectors {
  static constexpr int kPerLane = kHeadDim / 32;
  static constexpr int kMost = (kSplitRows + 2 + kWarps - 1) / kWarps;
  Turn turns[kPerLane / 2];
  float q_weight[kPerLane], k_weight[kPerLane];
  float x[kMost][kPerLane];

  __device__ void prepare(const AttentionCall& call, const Work& work) {
    const int32_t lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kPerLane / 2; ++i) {
      turns[i] = turn_of(call.parameters, work.chunk.position, lane + i * 32);
    }
    const bool normed = call.shape.qk_norm == kQkNormPerHead;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const int32_t at = lane + i * 32;
      q_weight[i] = normed && call.parameters.q_norm != nullptr ? call.parameters.q_norm[at] : 0;
      k_weight[i] = normed && call.parameters.k_norm != nullptr ? call.parameters.k_norm[at] : 0;
    }
  }
  // All loads are under way before the first is waited for.
  __device__ void load(const AttentionCall& call, const Work& work, int32_t count) {
    const AttentionShape& shape = call.shape;
    const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int32_t heads = shape.heads, kv_head = blockIdx.y;
    const float* row =
        call.qkv + int64_t{work.chunk.first_row} * (heads + 2 * shape.kv_heads) * kHeadDim;
#pragma unroll
    for (int j = 0; j < kMost; ++j) {
      const int32_t v = warp + j * kWarps;
      if (v >= count) break;
      const int32_t head = v < work.group ? kv_head * work.group + v
                                          : heads + (v - work.group) * shape.kv_heads + kv_head;
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) x[j][i] = row[head * kHeadDim + lane + i * 32];
    }
  }
  // Norm and turn of vector j of this warp; a value is only clipped.
  __device__ void finish(const AttentionShape& shape, const AttentionParameters& parameters, int j,
                         bool query, bool value) {
    const float* weight = query ? parameters.q_norm : parameters.k_norm;
    const bool normed = !value && shape.qk_norm == kQkNormPerHead && weight != nullptr;
    float sum = 0, scale = 1;
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) sum = fmaf(x[j][i], x[j][i], sum);
    if (normed) scale = head_scale(warp_sum(sum), shape.head_dim, shape.norm_eps);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      const float factor = query ? q_weight[i] : k_weight[i];
      x[j][i] = clip_keeping_nan(normed ? x[j][i] * scale * factor : x[j][i], shape.clip);
    }
    if (value) return;
#pragma unroll
    for (int i = 0; i < kPerLane / 2; ++i) {
      const float low = x[j][i], high = x[j][i + kPerLane / 2];
      x[j][i] = turned_low(turns[i], low, high);
      x[j][i + kPerLane / 2] = turned_high(turns[i], low, high);
    }
  }
};

// Queries into shared memory; in the block that has the row's last unit, whose cached keys have
// landed, its key and value there and into the cache.
template <int kHeadDim>
__device__ void write_vectors(const AttentionCall& call, const Work& work, int32_t count,
                              HeadVectors<kHeadDim>& vectors, SplitShared<kHeadDim>& shared) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t position = work.chunk.position, token = position % kKvTokens;
  char* cached = nullptr;  // of this kv head in the row's last block
  char* loaded = shared.kv + position % kUnitKeys / kKvTokens * kKvBlockBytes<kHeadDim>;
  if (count > work.group) {
    const int32_t id =
        load_plan(call.batch.block_ids + work.chunk.block_table + position / kKvTokens);
    cached = static_cast<char*>(call.kv.data) + id * call.kv.block_stride_bytes +
             int64_t{blockIdx.y} * kKvBlockBytes<kHeadDim>;
  }
#pragma unroll
  for (int j = 0; j < vectors.kMost; ++j) {
    const int32_t v = warp + j * kWarps;
    if (v >= count) break;
    const bool query = v < work.group, value = v == work.group + 1;
    vectors.finish(call.shape, call.parameters, j, query, value);
    const int64_t part = value ? kKvBlockBytes<kHeadDim> / 2 : 0;
#pragma unroll
    for (int i = 0; i < vectors.kPerLane; ++i) {
      const int32_t at = lane + i * 32;
      const bf16 element = from_float<bf16>(vectors.x[j][i]);
      if (query) {
        *element_of<kHeadDim>(shared.q, v, at) = element;
      } else {
        *element_of<kHeadDim>(loaded + part, token, at) = element;
        *element_of<kHeadDim>(cached + part, token, at) = element;
      }
    }
  }
  // Rows without a query must not hold what another kernel left there.
  for (int32_t i = work.pairs * (kHeadDim / 8) + threadIdx.x; i < kSplitRows * (kHeadDim / 8);
       i += kWarps * 32) {
    reinterpret_cast<uint4*>(shared.q)[i] = make_uint4(0, 0, 0, 0);
  }
}

template <int kHeadDim, bool kAppend>
__global__ void __launch_bounds__(kWarps * 32) split_kernel(AttentionCall call, Slice slice) {
  extern __shared__ __align__(128) char memory[];
  auto& shared = *reinterpret_cast<SplitShared<kHeadDim>*>(memory);
  if (threadIdx.x == 0) {
    barrier_init(&shared.loaded, 1);
    fence_barrier_init();
  }
  trigger_successor();
  const Work work = find_work(call, slice.first_chunk + blockIdx.z);
  const auto own_unit = work.first_unit + static_cast<int32_t>(blockIdx.x);
  int32_t id = work.chunk.rows == 0 ? 0 : planned_block(call, work, own_unit, threadIdx.x);
  const int32_t blocks_at_work =
      min(static_cast<int32_t>(gridDim.x), work.end_unit - work.first_unit);
  const bool idle = work.chunk.rows == 0 || static_cast<int32_t>(blockIdx.x) >= blocks_at_work;
  [[maybe_unused]] HeadVectors<kHeadDim> vectors;
  __syncthreads();
  if constexpr (kAppend) {
    // What is cached was written a step ago, but for the newest token, which this kernel writes
    // over what it loads.
    if (!idle && threadIdx.x < 32) {
      load_unit(call, shared, id, blocks_of_unit(work, own_unit));
    }
    if (!idle) vectors.prepare(call, work);
  }
  wait_only();
  if (idle) return;
  const int32_t lane = threadIdx.x % 32;
  Sight sight{{}, call.shape.sliding_window, call.shape.scale * 1.44269504f};
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sight.position[r] = work.chunk.position + min(lane / 4 + r * 8, work.pairs - 1) / work.group;
  }
  const int64_t group_index = int64_t{blockIdx.z} * call.shape.kv_heads + blockIdx.y;
  float* parts = slice.out + group_index * slice.units * kSplitRows * kHeadDim;
  float2* stats = slice.stat + group_index * slice.units * kSplitRows;
  uint32_t phase = 0;
  for (int32_t unit = own_unit; unit < work.end_unit; unit += gridDim.x) {
    const int32_t first_key = unit * kUnitKeys;
    const int32_t keys = min(kUnitKeys, work.end_key - first_key);
    const int32_t blocks = blocks_of_unit(work, unit);
    if (unit != own_unit) id = planned_block(call, work, unit, threadIdx.x);
    if (threadIdx.x < 32 && !(kAppend && unit == own_unit)) load_unit(call, shared, id, blocks);
    if (!kAppend && unit == own_unit) copy_queries(call, work, shared);
    const bool last = unit == work.end_unit - 1;
    const int32_t count = work.group + (last ? 2 : 0);
    if (kAppend && (unit == own_unit || last)) vectors.load(call, work, count);
    barrier_wait(&shared.loaded, phase);
    phase ^= 1;
    if (kAppend && (unit == own_unit || last)) {
      write_vectors(call, work, count, vectors, shared);
    }
    if (keys % kKvTokens != 0 && threadIdx.x < 32) {
      // Only in a chunk's last unit, so no later copy meets these writes.
      clear_values<kHeadDim>(shared.kv + (blocks - 1) * kKvBlockBytes<kHeadDim>, keys % kKvTokens);
    }
    __syncthreads();
    score_keys(shared, first_key, blocks, sight);
    sum_values(shared, blocks, work.pairs, parts + int64_t{unit} * kSplitRows * kHeadDim);
    if (static_cast<int32_t>(threadIdx.x) < work.pairs) {
      const int32_t row = threadIdx.x;
      float max = shared.max[0][row], sum = shared.sum[0][row];
#pragma unroll
      for (int w = 1; w < kWarps; ++w) {
        max = fmaxf(max, shared.max[w][row]);
        sum += shared.sum[w][row];
      }
      stats[int64_t{unit} * kSplitRows + row] = make_float2(max, sum);
    }
    __syncthreads();
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    int32_t* done = slice.done + group_index;
    shared.last = atomicAdd(done, 1) == blocks_at_work - 1;
    if (shared.last) *done = 0;
  }
  __syncthreads();
  if (!shared.last) return;
  __threadfence();
  join_units<kHeadDim>(call, work, parts, stats);
}

template <int kHeadDim, bool kAppend>
cudaError_t run_slice(const AttentionCall& call, const Slice& slice, int32_t multiprocessors,
                      cudaStream_t stream) {
  // Enough blocks to fill the device three times over; each takes every gridDim.x-th unit.
  const int32_t others = call.shape.kv_heads * slice.chunks;
  const int32_t wanted = (multiprocessors * 9 + others - 1) / others;
  const dim3 grid(slice.units < wanted ? slice.units : wanted, call.shape.kv_heads, slice.chunks);
  return start(split_kernel<kHeadDim, kAppend>, grid, dim3(kWarps * 32),
               sizeof(SplitShared<kHeadDim>), stream, call, slice);
}

template <int kHeadDim>
cudaError_t prepare_head_dim() {
  const cudaError_t error =
      allow_shared(split_kernel<kHeadDim, false>, sizeof(SplitShared<kHeadDim>));
  return error != cudaSuccess
             ? error
             : allow_shared(split_kernel<kHeadDim, true>, sizeof(SplitShared<kHeadDim>));
}

// Parts of one unit of one chunk.
int64_t unit_bytes(int64_t kv_heads, int64_t head_dim) {
  return kv_heads * kSplitRows * (head_dim + 2) * 4;
}

template <bool kAppend>
cudaError_t run_split(const AttentionCall& call, const Scratch& scratch, int32_t multiprocessors,
                      cudaStream_t stream) {
  const AttentionShape& shape = call.shape;
  if (shape.heads / shape.kv_heads > kSplitRows) return cudaSuccess;
  Slice slice{};
  slice.units = (call.batch.max_keys + kUnitKeys - 1) / kUnitKeys;
  slice.done = reinterpret_cast<int32_t*>(scratch.attention_parts);
  const int64_t chunk_bytes = slice.units * unit_bytes(shape.kv_heads, shape.head_dim);
  int64_t fit = (scratch.attention_part_bytes - kMaxCounters * 4) / chunk_bytes;
  if (fit > kMaxCounters / shape.kv_heads) fit = kMaxCounters / shape.kv_heads;
  if (fit < 1) return cudaErrorInvalidValue;
  for (int32_t first = 0; first < call.batch.chunks.bound; first += slice.chunks) {
    const int32_t left = call.batch.chunks.bound - first;
    slice.first_chunk = first;
    slice.chunks = left < fit ? left : static_cast<int32_t>(fit);
    slice.out = scratch.attention_parts + kMaxCounters;
    slice.stat =
        reinterpret_cast<float2*>(slice.out + int64_t{slice.chunks} * shape.kv_heads * slice.units *
                                                  kSplitRows * shape.head_dim);
    const auto run = shape.head_dim == 64 ? run_slice<64, kAppend> : run_slice<128, kAppend>;
    const cudaError_t error = run(call, slice, multiprocessors, stream);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace

int64_t attention_split_scratch_bytes(const Limits& limits) {
  const int64_t chunk = (limits.max_positions + kUnitKeys - 1) / kUnitKeys *
                        unit_bytes(limits.max_heads, limits.max_head_dim);
  constexpr int64_t kUsual = int64_t{128} << 20;
  return kMaxCounters * 4 + (chunk > kUsual ? chunk : kUsual);
}

cudaError_t prepare_attention_split() {
  const cudaError_t error = prepare_head_dim<64>();
  return error == cudaSuccess ? prepare_head_dim<128>() : error;
}

cudaError_t attention_split(const AttentionCall& call, const Scratch& scratch,
                            int32_t multiprocessors, cudaStream_t stream) {
  return run_split<false>(call, scratch, multiprocessors, stream);
}

bool split_can_append(const AttentionShape& shape, int32_t compute_type, int32_t max_chunk_rows) {
  return attention_on_tensor_cores(shape, compute_type) && max_chunk_rows == 1 &&
         shape.heads / shape.kv_heads <= kSplitRows && shape.rotary_dim == shape.head_dim &&
         shape.qk_norm != kQkNormFullWidth;
}

cudaError_t attention_split_appending(const AttentionCall& call, const Scratch& scratch,
                                      int32_t multiprocessors, cudaStream_t stream) {
  return run_split<true>(call, scratch, multiprocessors, stream);
}

}  // namespace conclave::device::cuda
