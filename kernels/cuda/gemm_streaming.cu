// bfloat16 matrices with few rows per group, bound by reading weights once. A block owns kWarps
// panels of one group's weight and at most 8 * kTiles of its rows. One warp keeps a ring of stages
// filled by bulk copies (256 k of each panel, contiguous in memory, and the same k of each row);
// each of the others runs the MMA chain of one panel over all of k: weights are operand A, rows
// operand B, so that 1 to 8 rows cost the same.

#include "kernels/cuda/gemm_task.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/ptx.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kStageBlocks = 4;  // 64-k blocks of a stage
constexpr int kPanelStageBytes = kStageBlocks * kBlockBytes;
// 16 bytes of padding put the 8 rows of an ldmatrix group into different banks.
constexpr int kRowPitch = kStageBlocks * kBlockK * 2 + 16;
constexpr int kMaxStages = 12;

template <int kTiles, int kWarps>
constexpr int kStageBytes = kWarps* kPanelStageBytes + kTiles * 8 * kRowPitch;

struct Ring {
  char* stages;
  uint64_t* full;
  uint64_t* empty;
};

// The producer's view of a block's work.
template <int kTiles, int kWarps, int kStages>
struct Producer {
  static constexpr int kRowsPerLane = (kTiles * 8 + 31) / 32;
  Ring ring;
  const char* weight;  // of the first panel
  int32_t panels, k_blocks;

  __device__ int32_t blocks(int32_t stage) const {
    return min(kStageBlocks, k_blocks - stage * kStageBlocks);
  }
  __device__ char* place(int32_t stage) const {
    return ring.stages + stage % kStages * kStageBytes<kTiles, kWarps>;
  }
  // The bytes are announced first, so that no copy completes unannounced.
  __device__ void load_weights(int32_t stage) const {
    const int32_t lane = threadIdx.x % 32;
    const uint32_t bytes = static_cast<uint32_t>(blocks(stage) * kBlockBytes);
    if (lane == 0) barrier_expect(&ring.full[stage % kStages], bytes * panels);
    __syncwarp();
    if (lane < panels) {
      bulk_load(place(stage) + lane * kPanelStageBytes,
                weight + (int64_t{lane} * k_blocks + stage * kStageBlocks) * kBlockBytes, bytes,
                &ring.full[stage % kStages]);
    }
  }
  // Row r of the task is x row indices[r / 32] of lane r % 32. Every lane arrives, lane 0 twice.
  __device__ void load_rows(int32_t stage, const char* x, int64_t row_bytes,
                            const int32_t (&indices)[kRowsPerLane], int32_t count) const {
    const int32_t lane = threadIdx.x % 32;
    uint64_t* full = &ring.full[stage % kStages];
    const uint32_t to = shared_address(place(stage)) + kWarps * kPanelStageBytes + lane * 16;
    const char* from = x + int64_t{stage} * kStageBlocks * kBlockK * 2 + lane * 16;
    const bool inside = lane < blocks(stage) * (kBlockK * 2 / 16);
#pragma unroll
    for (int i = 0; i < kRowsPerLane; ++i) {
      const int32_t end = min(32, count - i * 32);
#pragma unroll 4
      for (int32_t r = 0; r < end; ++r) {
        const int64_t row = __shfl_sync(~0u, indices[i], r);
        if (inside) async_load_16(to + (i * 32 + r) * kRowPitch, from + row * row_bytes, true);
      }
    }
    async_arrive(full);
    if (lane == 0) barrier_arrive(full);
  }
};

// The operands of one 64-k block: kept in registers one block ahead of the multiplication, which
// would otherwise wait for shared memory between the links of its chain.
template <int kTiles>
struct Fragments {
  uint32_t a[4][4];
  uint32_t b[kTiles][2][4];

  __device__ void load(uint32_t panel, uint32_t rows) {
    const int32_t lane = threadIdx.x % 32;
    const int32_t matrix = lane / 8, line = lane % 8;
    const uint32_t a_row = panel + (matrix % 2 * 8 + line) * 128;
    const uint32_t b_address = rows + line * kRowPitch + matrix * 16;
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      load_matrices(a[step], a_row + ((step * 2 + matrix / 2) ^ line) * 16);
    }
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      load_matrices(b[tile][0], b_address + tile * 8 * kRowPitch);
      load_matrices(b[tile][1], b_address + tile * 8 * kRowPitch + 64);
    }
  }
  __device__ void multiply(float (&c)[kTiles][4]) const {
#pragma unroll
    for (int step = 0; step < 4; ++step) {
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        mma_16x8x16(c[tile], a[step], b[tile][step / 2][step % 2 * 2],
                    b[tile][step / 2][step % 2 * 2 + 1]);
      }
    }
  }
};

// The MMA chains of one warp's panel over all stages.
template <int kTiles, int kWarps, int kStages>
__device__ void multiply_panel(const Producer<kTiles, kWarps, kStages>& work, int32_t warp,
                               int32_t stages, float (&c)[kTiles][4]) {
  Fragments<kTiles> fragments[2];
  for (int32_t s = 0; s < stages; ++s) {
    barrier_wait(&work.ring.full[s % kStages], (s / kStages) & 1);
    const uint32_t stage = shared_address(work.place(s));
    const uint32_t panel = stage + warp * kPanelStageBytes;
    const uint32_t rows = stage + kWarps * kPanelStageBytes;
    const int32_t blocks = work.blocks(s);
    fragments[0].load(panel, rows);
#pragma unroll
    for (int32_t b = 0; b < kStageBlocks; ++b) {
      if (b + 1 < blocks) {
        fragments[(b + 1) % 2].load(panel + (b + 1) * kBlockBytes, rows + (b + 1) * kBlockK * 2);
      }
      if (b < blocks) fragments[b % 2].multiply(c);
    }
    __syncwarp();
    if (threadIdx.x % 32 == 0) barrier_arrive(&work.ring.empty[s % kStages]);
  }
}

template <int kTiles, int kWarps, int kStages, Epilogue kEpilogue>
__global__ void __launch_bounds__((kWarps + 1) * 32) streaming_kernel(Gemm gemm) {
  extern __shared__ __align__(128) char stages_memory[];
  __shared__ uint64_t full[kStages], empty[kStages];
  __shared__ GemmTask shared_task;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t first_panel = blockIdx.x * kWarps;
  const int32_t panels = min(kWarps, static_cast<int32_t>(panels_of(gemm.n)) - first_panel);
  const int32_t k_blocks = gemm.k / kBlockK;
  const int32_t stages = (k_blocks + kStageBlocks - 1) / kStageBlocks;
  const Ring ring{stages_memory, full, empty};
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&full[s], 33);  // the producer's lanes, and its announcement of the weights
      barrier_init(&empty[s], panels);
    }
    fence_barrier_init();
  }
  Producer<kTiles, kWarps, kStages> producer{ring, nullptr, panels, k_blocks};
  const int64_t panel_offset = int64_t{first_panel} * k_blocks * kBlockBytes;
  // What is known before the predecessor is done can be read meanwhile: a single weight, or the
  // groups' when their lists are older than the predecessor.
  const bool early = gemm.slots == nullptr || gemm.lists_final;
  const int32_t ahead = early ? min(kStages, stages) : 0;
  GemmTask task{0, 1, static_cast<const char*>(gemm.weight)};
  __syncthreads();
  if (early && warp == kWarps) {
    if (gemm.lists_final) task = find_task(gemm, blockIdx.y, kTiles * 8);
    producer.weight = task.weight + panel_offset;
    for (int32_t s = 0; task.rows > 0 && s < ahead; ++s) producer.load_weights(s);
  }
  wait_for_predecessor_then_trigger();
  if (warp == kWarps) {
    const bool loading = task.rows > 0 && ahead > 0;
    if (!gemm.lists_final) task = find_task(gemm, blockIdx.y, kTiles * 8);
    if (lane == 0) shared_task = task;
    __syncthreads();
    if (task.rows == 0) {
      // Copies under way must land before the block may end.
      for (int32_t s = 0; loading && s < ahead; ++s) {
        barrier_arrive(&full[s]);
        if (lane == 0) barrier_arrive(&full[s]);
        barrier_wait(&full[s], 0);
      }
      return;
    }
    producer.weight = task.weight + panel_offset;
    int32_t rows[producer.kRowsPerLane];
#pragma unroll
    for (int i = 0; i < producer.kRowsPerLane; ++i) {
      const int32_t row = min(lane + i * 32, task.rows - 1);
      rows[i] = static_cast<int32_t>(input_row(gemm, task.first + row));
    }
    for (int32_t s = 0; s < stages; ++s) {
      if (s >= kStages) barrier_wait(&empty[s % kStages], (s / kStages - 1) & 1);
      if (s >= ahead) producer.load_weights(s);
      producer.load_rows(s, static_cast<const char*>(gemm.x), int64_t{gemm.k} * 2, rows, task.rows);
    }
    return;
  }
  __syncthreads();
  task = shared_task;
  if (task.rows == 0 || warp >= panels) return;
  float c[kTiles][4] = {};
  multiply_panel(producer, warp, stages, c);
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    store_fragment<kEpilogue>(gemm, first_panel + warp, task.first + tile * 8, task.rows - tile * 8,
                              c[tile]);
  }
}

template <int kTiles, int kWarps, int kStages>
struct Variant {
  static constexpr size_t kShared = kStages * kStageBytes<kTiles, kWarps>;
  static_assert(kStages <= kMaxStages);

  static cudaError_t prepare() {
    cudaError_t error =
        allow_shared(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kFloat>, kShared);
    if (error == cudaSuccess) {
      error = allow_shared(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kSwiglu>, kShared);
    }
    if (error == cudaSuccess) {
      error = allow_shared(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kPairs>, kShared);
    }
    return error;
  }
  static cudaError_t run(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((panels_of(gemm.n) + kWarps - 1) / kWarps),
                    static_cast<unsigned>(task_bound(gemm, kTiles * 8)));
    if (grid.x == 0 || grid.y == 0) return cudaSuccess;
    const dim3 block((kWarps + 1) * 32);
    switch (epilogue) {
      case Epilogue::kFloat:
        return start(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kFloat>, grid, block,
                     kShared, stream, gemm);
      case Epilogue::kSwiglu:
        return start(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kSwiglu>, grid, block,
                     kShared, stream, gemm);
      case Epilogue::kPairs:
        return start(streaming_kernel<kTiles, kWarps, kStages, Epilogue::kPairs>, grid, block,
                     kShared, stream, gemm);
    }
    return cudaErrorInvalidValue;
  }
};

// Few panels: one per block and a deep ring, so that every multiprocessor gets work and keeps
// enough bytes under way.
template <int kTiles>
using Narrow = Variant<kTiles, 1, kTiles == 8 ? 5 : 6>;
template <int kTiles>
using Wide = Variant<kTiles, 4, 3>;

// A single weight with at most one panel per multiprocessor: three quarters of 4,096 k under way
// before the predecessor ends, beside the largest block of decode attention.
using Deep = Variant<1, 1, 12>;
// Six panels share a block: where that spreads the panels of few tasks evenly.
using Six = Variant<1, 6, 4>;

// Most panels that a multiprocessor gets in blocks of `width`.
int64_t panels_of_busiest(const Gemm& gemm, int64_t width, int32_t multiprocessors) {
  const int64_t blocks = (panels_of(gemm.n) + width - 1) / width * task_bound(gemm, 8);
  return (blocks + multiprocessors - 1) / multiprocessors * width;
}

template <int kTiles>
cudaError_t run_tiles(const Gemm& gemm, Epilogue epilogue, const Machine& machine,
                      cudaStream_t stream) {
  const int64_t panels = panels_of(gemm.n) * task_bound(gemm, kTiles * 8);
  if (kTiles == 1 && machine.tuning.deep != 0 && gemm.slots == nullptr &&
      panels <= machine.multiprocessors) {
    return Deep::run(gemm, epilogue, stream);
  }
  if (kTiles == 1 && machine.tuning.six != 0 && gemm.rows.bound == 1 &&
      panels > int64_t{machine.multiprocessors} * 4 &&
      panels_of_busiest(gemm, 6, machine.multiprocessors) <
          panels_of_busiest(gemm, 4, machine.multiprocessors)) {
    return Six::run(gemm, epilogue, stream);
  }
  // Many rows: the blocks that share them should be few.
  const int64_t narrow = int64_t{machine.multiprocessors} * (kTiles == 8 ? 1 : 4);
  return panels <= narrow ? Narrow<kTiles>::run(gemm, epilogue, stream)
                          : Wide<kTiles>::run(gemm, epilogue, stream);
}

template <int kTiles>
cudaError_t prepare_tiles() {
  const cudaError_t error = Narrow<kTiles>::prepare();
  return error == cudaSuccess ? Wide<kTiles>::prepare() : error;
}

}  // namespace

cudaError_t prepare_gemm_streaming() {
  cudaError_t error = prepare_tiles<1>();
  if (error == cudaSuccess) error = prepare_tiles<2>();
  if (error == cudaSuccess) error = prepare_tiles<4>();
  if (error == cudaSuccess) error = prepare_tiles<8>();
  if (error == cudaSuccess) error = Deep::prepare();
  if (error == cudaSuccess) error = Six::prepare();
  return error;
}

cudaError_t gemm_streaming(const Gemm& gemm, Epilogue epilogue, const Machine& machine,
                           cudaStream_t stream) {
  // Rows that a group is likely to have decide the tile; groups with more take several tasks.
  const int64_t places = int64_t{gemm.rows.bound} * gemm.top_k;
  const int64_t most = gemm.counts == nullptr ? places : gemm.rows.bound;
  const int64_t likely =
      gemm.counts == nullptr ? places : 2 * ((places + gemm.groups - 1) / gemm.groups) + 4;
  const int64_t rows = most < likely ? most : likely;
  if (rows <= 8) return run_tiles<1>(gemm, epilogue, machine, stream);
  if (rows <= 16) return run_tiles<2>(gemm, epilogue, machine, stream);
  if (rows <= 32) return run_tiles<4>(gemm, epilogue, machine, stream);
  return run_tiles<8>(gemm, epilogue, machine, stream);
}

}  // namespace conclave::device::cuda
