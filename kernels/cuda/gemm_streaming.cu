// bfloat16 matrices with few rows per group, bound by reading weights once. A block owns kWarps
// panels of one group's weight and at most 8 * kTiles of its rows. One warp keeps a ring of stages
// filled by bulk copies (256 k of each panel, contiguous in memory); it and, with many rows, others
// like it bring the same k of each row;
// each of the others runs the MMA chain of one panel over all of k: weights are operand A, rows
// operand B, so that 1 to 8 rows cost the same. With many rows several warps share a panel, each a
// part of the rows; a long product of few rows has its two segments (gemm.cuh) run side by side.

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

// What a variant of the kernel is made for: 8 * kTiles rows, kWarps panels, a ring of kStages,
// kSplit warps to a panel, kSegments segments of k.
template <int kTiles_, int kWarps_, int kStages_, int kSplit_ = 1, int kSegments_ = 1>
struct Form {
  static constexpr int kTiles = kTiles_, kWarps = kWarps_, kStages = kStages_, kSplit = kSplit_,
                       kSegments = kSegments_;
  static constexpr int kTilesOfWarp = kTiles / kSplit;
  static constexpr int kPieces = kWarps * kSegments;  // of weights in a stage
  static constexpr int kConsumers = kPieces * kSplit;
  static constexpr int kProducers = kTiles < 4 ? kTiles : 4;  // warps that bring rows
  static constexpr int kWarpsInAll = kConsumers + kProducers;
  static constexpr int kRowsBytes = kTiles * 8 * kRowPitch;  // of one segment
  static constexpr int kStageBytes = kPieces * kPanelStageBytes + kSegments * kRowsBytes;
  static constexpr size_t kShared = size_t{kStages} * kStageBytes;
  static_assert(kStages <= kMaxStages && kTiles % kSplit == 0);
  static_assert(kSegments == 1 || kWarps == 1);
};

struct Ring {
  char* stages;
  uint64_t* full;
  uint64_t* empty;
};

// The producer's view of a block's work.
template <typename F>
struct Producer {
  static_assert(F::kTiles * 8 <= F::kProducers * 32);
  Ring ring;
  const char* weight;  // of the first panel
  int32_t panels, k_blocks, panel_blocks;

  __device__ int32_t blocks(int32_t stage) const {
    return min(kStageBlocks, k_blocks - stage * kStageBlocks);
  }
  __device__ char* place(int32_t stage) const {
    return ring.stages + stage % F::kStages * F::kStageBytes;
  }
  // The bytes are announced first, so that no copy completes unannounced.
  __device__ void load_weights(int32_t stage) const {
    const int32_t lane = threadIdx.x % 32;
    const uint32_t bytes = static_cast<uint32_t>(blocks(stage) * kBlockBytes);
    const int32_t pieces = panels * F::kSegments;
    if (lane == 0) barrier_expect(&ring.full[stage % F::kStages], bytes * pieces);
    __syncwarp();
    if (lane < pieces) {
      const int64_t first = int64_t{lane / F::kSegments} * panel_blocks +
                            lane % F::kSegments * k_blocks + stage * kStageBlocks;
      bulk_load(place(stage) + lane * kPanelStageBytes, weight + first * kBlockBytes, bytes,
                &ring.full[stage % F::kStages]);
    }
  }
  // Producer warp p brings rows p, p + kProducers, … of the task, lane l knows which row of x the
  // l-th of them is. Every lane arrives.
  __device__ void load_rows(int32_t stage, const char* x, int64_t row_bytes, int32_t producer,
                            int32_t index, int32_t count) const {
    const int32_t lane = threadIdx.x % 32;
    uint64_t* full = &ring.full[stage % F::kStages];
    const uint32_t to = shared_address(place(stage)) + F::kPieces * kPanelStageBytes +
                        producer * kRowPitch + lane * 16;
    const char* from = x + int64_t{stage} * kStageBlocks * kBlockK * 2 + lane * 16;
    const bool inside = lane < blocks(stage) * (kBlockK * 2 / 16);
#pragma unroll 4
    for (int32_t i = 0; producer + i * F::kProducers < count; ++i) {
      const int64_t row = __shfl_sync(~0u, index, i);
#pragma unroll
      for (int g = 0; g < F::kSegments; ++g) {
        if (inside) {
          async_load_16(to + g * F::kRowsBytes + i * F::kProducers * kRowPitch,
                        from + row * row_bytes + int64_t{g} * k_blocks * kBlockK * 2, true);
        }
      }
    }
    async_arrive(full);
  }

  // All stages; weights, by the first producer warp, from stage `ahead` on.
  __device__ void produce(const Gemm& gemm, const GemmTask& task, int32_t producer, int32_t stages,
                          int32_t ahead) const {
    const int32_t lane = threadIdx.x % 32;
    const int32_t row = min(producer + lane * F::kProducers, task.rows - 1);
    const auto index = static_cast<int32_t>(input_row(gemm, task.first + row));
    for (int32_t s = 0; s < stages; ++s) {
      if (s >= F::kStages) {
        barrier_wait(&ring.empty[s % F::kStages], (s / F::kStages - 1) & 1);
      }
      if (producer == 0) {
        if (s >= ahead) load_weights(s);
        if (lane == 0) barrier_arrive(&ring.full[s % F::kStages]);
      }
      load_rows(s, static_cast<const char*>(gemm.x), int64_t{gemm.whole_k} * 2, producer, index,
                task.rows);
    }
  }
  // Of a block without rows: copies under way must land before it may end.
  __device__ void drain(int32_t ahead) const {
    for (int32_t s = 0; s < ahead; ++s) {
      for (int p = 0; p < F::kProducers; ++p) barrier_arrive(&ring.full[s]);
      if (threadIdx.x % 32 == 0) barrier_arrive(&ring.full[s]);
      barrier_wait(&ring.full[s], 0);
    }
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

// The MMA chains of one warp's piece of the weights and part of the rows over all stages.
template <typename F>
__device__ void multiply_panel(const Producer<F>& work, int32_t warp, int32_t stages,
                               float (&c)[F::kTilesOfWarp][4]) {
  Fragments<F::kTilesOfWarp> fragments[2];
  const int32_t piece = warp / F::kSplit;
  const int32_t first_row = warp % F::kSplit * F::kTilesOfWarp * 8;
  for (int32_t s = 0; s < stages; ++s) {
    barrier_wait(&work.ring.full[s % F::kStages], (s / F::kStages) & 1);
    const uint32_t stage = shared_address(work.place(s));
    const uint32_t panel = stage + piece * kPanelStageBytes;
    const uint32_t rows = stage + F::kPieces * kPanelStageBytes +
                          piece % F::kSegments * F::kRowsBytes + first_row * kRowPitch;
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
    if (threadIdx.x % 32 == 0) barrier_arrive(&work.ring.empty[s % F::kStages]);
  }
}

// The chains of the second segment, for the warps of the first to add; the others are done then.
template <typename F>
__device__ bool hand_over(float (&c)[F::kTilesOfWarp][4],
                          float (&parts)[F::kSplit][F::kTilesOfWarp * 4][32], int32_t warp) {
  const int32_t lane = threadIdx.x % 32;
  auto& part = parts[warp % F::kSplit];
  const bool second = warp >= F::kSplit;
  if (second) {
#pragma unroll
    for (int i = 0; i < F::kTilesOfWarp * 4; ++i) part[i][lane] = c[i / 4][i % 4];
  }
  asm volatile("bar.sync 1, %0;" ::"n"(F::kConsumers * 32) : "memory");
  return second;
}

template <typename F, Epilogue kEpilogue>
__global__ void __launch_bounds__(F::kWarpsInAll * 32) streaming_kernel(Gemm gemm) {
  constexpr int kTiles = F::kTiles, kWarps = F::kWarps, kStages = F::kStages;
  extern __shared__ __align__(128) char stages_memory[];
  __shared__ uint64_t full[kStages], empty[kStages];
  __shared__ GemmTask shared_task;
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int32_t first_panel = blockIdx.x * kWarps;
  const int32_t panels = min(kWarps, static_cast<int32_t>(panels_of(gemm.n)) - first_panel);
  const int32_t k_blocks = gemm.k / F::kSegments / kBlockK;
  const int32_t stages = (k_blocks + kStageBlocks - 1) / kStageBlocks;
  const Ring ring{stages_memory, full, empty};
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&full[s], F::kProducers * 32 + 1);  // lanes, and the announcement of the weights
      barrier_init(&empty[s], panels * F::kSegments * F::kSplit);
    }
    fence_barrier_init();
  }
  Producer<F> producer{ring, nullptr, panels, k_blocks, gemm.whole_k / kBlockK};
  const int64_t panel_offset = int64_t{first_panel} * producer.panel_blocks * kBlockBytes;
  // What is known before the predecessor is done can be read meanwhile: a single weight, or the
  // groups' when their lists are older than the predecessor.
  const bool early = gemm.slots == nullptr || gemm.lists_final;
  const int32_t ahead = early ? min(kStages, stages) : 0;
  GemmTask task{0, 1, static_cast<const char*>(gemm.weight)};
  __syncthreads();
  if (early && warp == F::kConsumers) {
    if (gemm.lists_final) task = find_task(gemm, blockIdx.y, kTiles * 8);
    producer.weight = task.weight + panel_offset;
    for (int32_t s = 0; task.rows > 0 && s < ahead; ++s) producer.load_weights(s);
  }
  wait_for_predecessor_then_trigger();
  bool loading = false;
  if (warp == F::kConsumers) {
    loading = task.rows > 0;
    if (!gemm.lists_final) task = find_task(gemm, blockIdx.y, kTiles * 8);
    if (lane == 0) shared_task = task;
  }
  __syncthreads();
  task = shared_task;
  if (warp >= F::kConsumers) {
    producer.weight = task.weight + panel_offset;
    if (task.rows > 0) {
      producer.produce(gemm, task, warp - F::kConsumers, stages, ahead);
    } else if (loading) {
      producer.drain(ahead);
    }
    return;
  }
  if (task.rows == 0 || warp >= panels * F::kSegments * F::kSplit) return;
  float c[F::kTilesOfWarp][4] = {};
  multiply_panel(producer, warp, stages, c);
  const int32_t first_tile = warp % F::kSplit * F::kTilesOfWarp;
  const int32_t panel = first_panel + warp / F::kSplit / F::kSegments;
  if constexpr (F::kSegments == 2) {
    __shared__ float parts[F::kSplit][F::kTilesOfWarp * 4][32];
    if (hand_over<F>(c, parts, warp)) return;
#pragma unroll
    for (int tile = 0; tile < F::kTilesOfWarp; ++tile) {
      float second[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) second[i] = parts[warp % F::kSplit][tile * 4 + i][lane];
      const int32_t at = (first_tile + tile) * 8;
      store_fragment<kEpilogue>(gemm, panel, task.first + at, task.rows - at, c[tile], second);
    }
  } else {
#pragma unroll
    for (int tile = 0; tile < F::kTilesOfWarp; ++tile) {
      const int32_t at = (first_tile + tile) * 8;
      store_fragment<kEpilogue>(gemm, panel, task.first + at, task.rows - at, c[tile]);
    }
  }
}

template <typename F>
struct Variant {
  static constexpr size_t kShared = F::kShared;

  static cudaError_t prepare() {
    cudaError_t error = allow_shared(streaming_kernel<F, Epilogue::kFloat>, kShared);
    if constexpr (F::kSegments == 1) {
      if (error == cudaSuccess) {
        error = allow_shared(streaming_kernel<F, Epilogue::kSwiglu>, kShared);
      }
      if (error == cudaSuccess) {
        error = allow_shared(streaming_kernel<F, Epilogue::kPairs>, kShared);
      }
    }
    return error;
  }
  static cudaError_t run(const Gemm& gemm, Epilogue epilogue, cudaStream_t stream) {
    const dim3 grid(static_cast<unsigned>((panels_of(gemm.n) + F::kWarps - 1) / F::kWarps),
                    static_cast<unsigned>(task_bound(gemm, F::kTiles * 8)));
    if (grid.x == 0 || grid.y == 0) return cudaSuccess;
    const dim3 block(F::kWarpsInAll * 32);
    if (epilogue == Epilogue::kFloat) {
      return start(streaming_kernel<F, Epilogue::kFloat>, grid, block, kShared, stream, gemm);
    }
    if constexpr (F::kSegments == 1) {
      return epilogue == Epilogue::kSwiglu
                 ? start(streaming_kernel<F, Epilogue::kSwiglu>, grid, block, kShared, stream, gemm)
                 : start(streaming_kernel<F, Epilogue::kPairs>, grid, block, kShared, stream, gemm);
    }
    return cudaErrorInvalidValue;
  }
};

// Few panels: one per block and a deep ring, so that every multiprocessor gets work and keeps
// enough bytes under way.
template <int kTiles>
using Narrow = Variant<Form<kTiles, 1, kTiles == 8 ? 5 : 6, kTiles >= 4 ? kTiles / 2 : 1>>;
// Two blocks of up to 16 rows fit a multiprocessor.
template <int kTiles>
using Wide = Variant<Form<kTiles, kTiles == 2 ? 3 : 4, 3>>;
// Three panels a block: where that gives every multiprocessor one block.
template <int kTiles>
using Trio = Variant<Form<kTiles, 3,
                          kTiles == 8   ? 3
                          : kTiles == 4 ? 5
                                        : 6,
                          kTiles >= 4 ? kTiles / 2 : 1>>;
// The two segments of a long product with at most one panel per multiprocessor.
template <int kTiles>
using Segments =
    Variant<Form<kTiles, 1, kTiles == 8 ? 2 : 6 - kTiles / 2, kTiles >= 4 ? kTiles / 2 : 1, 2>>;

// A single weight with at most one panel per multiprocessor, in one chain: up to 3,072 k under way
// before the predecessor ends, beside the largest block of decode attention.
using Deep = Variant<Form<1, 1, 12>>;
// Six panels share a block: where that spreads the panels of few tasks evenly.
using Six = Variant<Form<1, 6, 4>>;

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
  if (gemm.slots == nullptr && machine.tuning.trio > 0 && kTiles >= machine.tuning.trio &&
      panels > machine.multiprocessors && panels <= int64_t{machine.multiprocessors} * 3) {
    return Trio<kTiles>::run(gemm, epilogue, stream);
  }
  // Many rows: the blocks that share them should be few.
  const int64_t narrow = int64_t{machine.multiprocessors} * (kTiles == 8 ? 1 : 4);
  return panels <= narrow ? Narrow<kTiles>::run(gemm, epilogue, stream)
                          : Wide<kTiles>::run(gemm, epilogue, stream);
}

template <int kTiles>
cudaError_t prepare_tiles() {
  cudaError_t error = Narrow<kTiles>::prepare();
  if (error == cudaSuccess) error = Segments<kTiles>::prepare();
  if (error == cudaSuccess) error = Trio<kTiles>::prepare();
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
      gemm.counts == nullptr ? places : (places + gemm.groups - 1) / gemm.groups + 4;
  const int64_t rows = most < likely ? most : likely;
  if (rows <= 8) return run_tiles<1>(gemm, epilogue, machine, stream);
  if (rows <= 16) return run_tiles<2>(gemm, epilogue, machine, stream);
  if (rows <= 32) return run_tiles<4>(gemm, epilogue, machine, stream);
  return run_tiles<8>(gemm, epilogue, machine, stream);
}

bool can_stream_segments(const Gemm& gemm, const Machine& machine) {
  return gemm.counts == nullptr && gemm.rows.bound <= 64 &&
         panels_of(gemm.n) <= machine.multiprocessors;
}

cudaError_t gemm_streaming_segments(const Gemm& gemm, cudaStream_t stream) {
  const int32_t rows = gemm.rows.bound;
  if (rows <= 8) return Segments<1>::run(gemm, Epilogue::kFloat, stream);
  if (rows <= 16) return Segments<2>::run(gemm, Epilogue::kFloat, stream);
  if (rows <= 32) return Segments<4>::run(gemm, Epilogue::kFloat, stream);
  return Segments<8>::run(gemm, Epilogue::kFloat, stream);
}

}  // namespace conclave::device::cuda
