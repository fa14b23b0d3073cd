// bfloat16 matrices with many rows per group, bound by the tensor cores. A tile is 256 outputs
// times up to 160 rows (a group's rows are cut evenly); with many rows a cluster of two blocks
// takes two tiles with the same outputs, each reading half of the weights for both. Clusters stay
// on their multiprocessors and take every so many tiles. One warpgroup fills a ring of 64-k stages:
// weights by bulk copies, rows gathered with cp.async into the 128-byte swizzle; it runs ahead into
// the next tile while the two others, 128 outputs each, finish theirs. Rows are operand B, so that
// a tile's width follows the group's size in steps of 16.

#include <cstdint>

#include "kernels/cuda/gemm_task.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/packed_layout.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/wgmma.cuh"

namespace conclave::device::cuda {
namespace {

constexpr int kPanels = 16;  // of a tile
constexpr int kMaxRows = 160;
constexpr int kRowStep = 16;
constexpr int kStages = 4;
constexpr int kGroupThreads = 128;
constexpr int kThreads = 3 * kGroupThreads;
constexpr int kMaxGroups = 1024;
constexpr int kWeightBytes = kPanels * kBlockBytes;
constexpr int kRowBytes = kBlockK * 2;
constexpr int kStageBytes = kWeightBytes + kMaxRows * kRowBytes;
constexpr int kStagingPitch = 80;  // 32 outputs and padding against bank conflicts
constexpr int kStagingBytes = 16 * kStagingPitch;
constexpr int kSharedBytes = 1024 + kStages * kStageBytes + 8 * kStagingBytes;

struct Shared {
  uint64_t full[kStages], empty[kStages];
  int32_t tasks_before[kMaxGroups + 1];
  int32_t tasks;
};

// How the call is worked on: groups are cut into tasks of kCluster tiles of at most `rows` rows
// each; how stages are filled is said in tuning.h. The same results whatever it holds.
struct Cut {
  int32_t rows;
  TiledFill fill;
};

struct Tile {
  int32_t first, rows;  // places
  int32_t width;        // rows rounded up to kRowStep, at least that; 0: nothing for the pair
  int32_t first_panel, panels;
  const char* weight;  // of the first panel
};

template <int kCluster>
__device__ int32_t tasks_of(int32_t rows, const Cut& cut) {
  return (rows + kCluster * cut.rows - 1) / (kCluster * cut.rows);
}

// Prefix sums of the groups' tasks, by the first warp.
template <int kCluster>
__device__ void count_tasks(const Gemm& gemm, const Cut& cut, Shared& shared) {
  const int32_t lane = threadIdx.x;
  if (gemm.counts == nullptr) {
    if (lane == 0) shared.tasks = tasks_of<kCluster>(actual_rows(gemm.rows), cut);
    return;
  }
  int32_t before = 0;
  for (int32_t base = 0; base < gemm.groups; base += 32) {
    const int32_t group = base + lane;
    const int32_t mine = group < gemm.groups ? tasks_of<kCluster>(gemm.counts[group], cut) : 0;
    int32_t end = mine;
#pragma unroll
    for (int step = 1; step < 32; step <<= 1) {
      const int32_t other = __shfl_up_sync(~0u, end, step);
      if (lane >= step) end += other;
    }
    if (group < gemm.groups) shared.tasks_before[group] = before + end - mine;
    before += __shfl_sync(~0u, end, 31);
  }
  if (lane == 0) {
    shared.tasks_before[gemm.groups] = before;
    shared.tasks = before;
  }
}

template <int kCluster>
__device__ Tile tile_of(const Gemm& gemm, const Shared& shared, int32_t index) {
  const int32_t panels = static_cast<int32_t>(panels_of(gemm.n));
  const int32_t columns = (panels + kPanels - 1) / kPanels;
  const int32_t task = index / columns;
  Tile tile;
  tile.first_panel = index % columns * kPanels;
  tile.panels = min(kPanels, panels - tile.first_panel);
  int32_t rows, begin, tasks, offset = 0;
  const char* weight = static_cast<const char*>(gemm.weight);
  if (gemm.counts == nullptr) {
    rows = actual_rows(gemm.rows);
    begin = 0;
    tasks = shared.tasks;
  } else {
    int32_t low = 0, high = gemm.groups;  // the last group that begins at or before the task
    while (high - low > 1) {
      const int32_t middle = (low + high) / 2;
      if (shared.tasks_before[middle] <= task) {
        low = middle;
      } else {
        high = middle;
      }
    }
    rows = gemm.counts[low];
    offset = gemm.offsets[low];
    begin = shared.tasks_before[low];
    tasks = shared.tasks_before[low + 1] - begin;
    if (gemm.slots != nullptr) {
      const ExpertSlot slot = gemm.slots[low];
      weight = static_cast<const char*>(gemm.down ? slot.down : slot.gate_up);
    }
  }
  const int32_t parts = kCluster * tasks;
  const int32_t size = ((rows + parts - 1) / parts + kRowStep - 1) / kRowStep * kRowStep;
  const int32_t done = (kCluster * (task - begin) + static_cast<int32_t>(cluster_rank())) * size;
  tile.rows = max(0, min(size, rows - done));
  tile.first = offset + min(done, rows - 1);
  tile.width = weight == nullptr ? 0 : max(1, (tile.rows + kRowStep - 1) / kRowStep) * kRowStep;
  tile.weight = weight + int64_t{tile.first_panel} * (gemm.k / kBlockK) * kBlockBytes;
  return tile;
}

// Panel pairs of a warp are neighbours, so that it writes 32 outputs side by side: place `slot` of
// a stage holds warpgroup slot / 8, its 64-row half slot / 4 % 2 and warp slot % 4.
__device__ int32_t panel_of_slot(int32_t slot) {
  return slot / 8 * 8 + slot % 4 * 2 + slot / 4 % 2;
}

// This warp's share of a stage's weights by the copy engine, a lane a panel: each block of a
// cluster brings an equal part, and where it spreads, each of its producer warps.
template <int kCluster>
__device__ inline void load_panels(const Cut& cut, Shared& shared, const Tile& tile, char* to,
                                   uint32_t stage, int32_t k_blocks, int32_t block) {
  const int32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) barrier_expect(&shared.full[stage], tile.panels * kBlockBytes);
  __syncwarp();
  const int32_t warps = cut.fill.spread != 0 ? kGroupThreads / 32 : 1;
  const int32_t share = kPanels / kCluster / warps;
  if (warp >= warps || lane >= share) return;
  const int32_t slot = (static_cast<int32_t>(cluster_rank()) * warps + warp) * share + lane;
  const int32_t panel = panel_of_slot(slot);
  if (panel >= tile.panels) return;
  bulk_load_multicast(to + slot * kBlockBytes,
                      tile.weight + (int64_t{panel} * k_blocks + block) * kBlockBytes, kBlockBytes,
                      &shared.full[stage], (1 << kCluster) - 1);
}

template <int kCluster>
__device__ void produce(const Gemm& gemm, const Cut& cut, Shared& shared, char* stages,
                        int32_t tiles) {
  const int32_t thread = threadIdx.x;
  const int32_t chunk = thread % 8, line = thread / 8;
  const int32_t k_blocks = gemm.k / kBlockK;
  constexpr int kLines = kMaxRows / kRowStep;
  uint32_t iteration = 0;
  for (int32_t index = blockIdx.x / kCluster; index < tiles; index += gridDim.x / kCluster) {
    const Tile tile = tile_of<kCluster>(gemm, shared, index);
    if (tile.width == 0) continue;
    const char* rows[kLines];
#pragma unroll
    for (int i = 0; i < kLines; ++i) {
      const int32_t row = max(0, min(line + i * kRowStep, tile.rows - 1));
      rows[i] = static_cast<const char*>(gemm.x) +
                (input_row(gemm, tile.first + row) * gemm.k + chunk * 8) * 2;
    }
    for (int32_t block = 0; block < k_blocks; ++block, ++iteration) {
      const uint32_t stage = iteration % kStages;
      if (iteration >= kStages) barrier_wait(&shared.empty[stage], (iteration / kStages - 1) & 1);
      char* to = stages + stage * kStageBytes;
      load_panels<kCluster>(cut, shared, tile, to, stage, k_blocks, block);
      const uint32_t row_address =
          shared_address(to) + kWeightBytes + line * kRowBytes + (chunk ^ (line % 8)) * 16;
#pragma unroll
      for (int i = 0; i < kLines; ++i) {
        if (i * kRowStep < tile.width) {
          async_load_16(row_address + i * kRowStep * kRowBytes, rows[i] + block * kRowBytes, true);
        }
      }
      async_arrive(&shared.full[stage]);
    }
  }
}

__device__ inline void store_transposed(uint32_t address, const uint32_t (&m)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(m[0]), "r"(m[1]), "r"(m[2]), "r"(m[3])
      : "memory");
}

// 16 rows (two accumulator tiles) of a warp's two panels, turned to row-major in shared memory and
// written 16 bytes per lane.
template <Epilogue kEpilogue, int kAccumulators>
__device__ void write_rows(const Gemm& gemm, const Tile& tile, int32_t panel, int tile_pair,
                           const float (&c)[2][kAccumulators], char* staging) {
  constexpr bool kSwiglu = kEpilogue == Epilogue::kSwiglu;
  const int32_t lane = threadIdx.x % 32;
  const uint32_t base = shared_address(staging);
  const int32_t token = lane / 16 * 8 + lane % 8;
  const int a = tile_pair * 8;
  if constexpr (kSwiglu) {
    uint32_t m[4];
#pragma unroll
    for (int u = 0; u < 2; ++u) {
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        const float* v = &c[p][a + u * 4];
        m[u * 2 + p] = pack_bf16(fast_silu_times(v[0], v[2]), fast_silu_times(v[1], v[3]));
      }
    }
    store_transposed(base + token * kStagingPitch + lane / 8 % 2 * 16, m);
  } else {
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      const float* v = &c[p][a];
      const uint32_t m[4] = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                             pack_bf16(v[6], v[7])};
      store_transposed(base + token * kStagingPitch + p * 32 + lane / 8 % 2 * 16, m);
    }
  }
  __syncwarp();
  constexpr int kChunks = kSwiglu ? 2 : 4;  // of 8 outputs
  const int32_t width = kSwiglu ? gemm.n / 2 : gemm.n;
#pragma unroll
  for (int i = 0; i < kChunks / 2; ++i) {
    const int32_t at = (i * 32 + lane) / kChunks, chunk = lane % kChunks;
    const int32_t row = tile_pair * 16 + at;
    const int32_t feature = panel * (kSwiglu ? 8 : 16) + chunk * 8;
    if (row < tile.rows && feature < width) {
      const int32_t place = tile.first + row;
      const int64_t to = kSwiglu || gemm.pairs == nullptr ? place : gemm.pairs[place];
      *reinterpret_cast<uint4*>(static_cast<bf16*>(gemm.out) + to * width + feature) =
          *reinterpret_cast<const uint4*>(staging + at * kStagingPitch + chunk * 16);
    }
  }
  __syncwarp();
}

// A warp's two panels. A later segment is added to what the first wrote.
template <Epilogue kEpilogue, int kN>
__device__ inline void write_tile(const Gemm& gemm, const Tile& tile, int32_t panel,
                                  int32_t segment, const float (&c)[2][kN / 2], char* staging) {
  const int32_t width = kEpilogue == Epilogue::kSwiglu ? gemm.n / 2 : gemm.n;
  if (kEpilogue != Epilogue::kFloat && width % 8 == 0) {
#pragma unroll
    for (int pair = 0; pair < kN / 16; ++pair) {
      write_rows<kEpilogue>(gemm, tile, panel, pair, c, staging);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kN / 8; ++i) {
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      const float fragment[4] = {c[p][i * 4], c[p][i * 4 + 1], c[p][i * 4 + 2], c[p][i * 4 + 3]};
      store_fragment<kEpilogue>(gemm, panel + p, tile.first + i * 8, tile.rows - i * 8, fragment,
                                nullptr, segment > 0);
    }
  }
}

template <int kCluster, Epilogue kEpilogue, int kN>
__device__ void consume_tile(const Gemm& gemm, Shared& shared, const char* stages, char* staging,
                             const Tile& tile, uint32_t& iteration) {
  const int32_t group = threadIdx.x / kGroupThreads - 1;  // 0 or 1
  const int32_t warp = threadIdx.x % kGroupThreads / 32, lane = threadIdx.x % 32;
  // Both blocks write into this one's stages, and it into theirs.
  const auto release = [&](uint32_t which) {
    if (lane >= kCluster) return;
    barrier_arrive_at(&shared.empty[which % kStages], lane);
  };
  const int32_t slot = group * 8 + warp * 2;  // of its two panels
  const int32_t segments = kEpilogue == Epilogue::kFloat ? gemm.segments : 1;
  for (int32_t segment = 0; segment < segments; ++segment) {
    float c[2][kN / 2];
#pragma unroll
    for (int i = 0; i < kN / 2; ++i) c[0][i] = c[1][i] = 0;
    const int32_t k_blocks = gemm.k / segments / kBlockK;
    for (int32_t block = 0; block < k_blocks; ++block, ++iteration) {
      const uint32_t stage = iteration % kStages;
      barrier_wait(&shared.full[stage], iteration / kStages & 1);
      // Here and not in the producer, where it would wait for all copies under way.
      fence_async_proxy();
      const uint32_t address = shared_address(stages) + stage * kStageBytes;
      const uint64_t a = descriptor_swizzle_128(address + group * 8 * kBlockBytes);
      const uint64_t b = descriptor_swizzle_128(address + kWeightBytes);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        Wgmma<kN>::run(c[0], a + step * (32 >> 4), b + step * (32 >> 4));
        Wgmma<kN>::run(c[1], a + ((4 * kBlockBytes + step * 32) >> 4), b + step * (32 >> 4));
      }
      wgmma_commit();
      wgmma_wait<1>();
      if (block > 0) release(iteration - 1);
    }
    wgmma_wait<0>();
    release(iteration - 1);
    if (slot < tile.panels) {
      write_tile<kEpilogue, kN>(gemm, tile, tile.first_panel + slot, segment, c,
                                staging + (group * 4 + warp) * kStagingBytes);
    }
  }
}

template <int kCluster, Epilogue kEpilogue>
__device__ void consume(const Gemm& gemm, Shared& shared, const char* stages, char* staging,
                        int32_t tiles) {
  uint32_t iteration = 0;
  for (int32_t index = blockIdx.x / kCluster; index < tiles; index += gridDim.x / kCluster) {
    const Tile tile = tile_of<kCluster>(gemm, shared, index);
    switch (tile.width) {
#define CONCLAVE_WIDTH(n)                                                                 \
  case n:                                                                                 \
    consume_tile<kCluster, kEpilogue, n>(gemm, shared, stages, staging, tile, iteration); \
    break;
      CONCLAVE_WIDTH(16)
      CONCLAVE_WIDTH(32)
      CONCLAVE_WIDTH(48)
      CONCLAVE_WIDTH(64)
      CONCLAVE_WIDTH(80)
      CONCLAVE_WIDTH(96)
      CONCLAVE_WIDTH(112)
      CONCLAVE_WIDTH(128)
      CONCLAVE_WIDTH(144)
      CONCLAVE_WIDTH(160)
#undef CONCLAVE_WIDTH
      default:
        break;
    }
  }
}

template <int kCluster, Epilogue kEpilogue>
__global__ void __cluster_dims__(kCluster, 1, 1) __launch_bounds__(kThreads, 1)
    tiled_kernel(Gemm gemm, Cut cut) {
  extern __shared__ char memory[];
  __shared__ Shared shared;
  char* stages = memory + (1024 - shared_address(memory) % 1024) % 1024;
  char* staging = stages + kStages * kStageBytes;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(&shared.full[s], kGroupThreads);
      barrier_init(&shared.empty[s], 8 * kCluster);  // the consumer warps of both blocks
    }
    fence_barrier_init();
  }
  wait_for_predecessor_then_trigger();
  if (threadIdx.x < 32) count_tasks<kCluster>(gemm, cut, shared);
  __syncthreads();
  cluster_synchronize();
  const int32_t columns = (static_cast<int32_t>(panels_of(gemm.n)) + kPanels - 1) / kPanels;
  const int32_t tiles = shared.tasks * columns;
  if (threadIdx.x < kGroupThreads) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 56;");
    produce<kCluster>(gemm, cut, shared, stages, tiles);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 224;");
    consume<kCluster, kEpilogue>(gemm, shared, stages, staging, tiles);
  }
  // The other block may still arrive at this one's barriers.
  cluster_synchronize();
}

// Estimated cycles of a k block: the tensor cores', or those of bringing it from the L2 cache.
template <int kCluster>
int64_t block_cycles(int64_t rows) {
  const int64_t multiply = kPanels * kPanelRows * rows * kBlockK / 2048;
  const int64_t load = (kPanels * kPanelRows / kCluster + rows) * kRowBytes / 25;
  return multiply > load ? multiply : load;
}

// The cut of a single group that takes the shortest time on `clusters` clusters.
template <int kCluster>
int32_t best_rows(int64_t rows, int64_t columns, int64_t clusters) {
  int32_t best = kMaxRows;
  int64_t least = INT64_MAX;
  for (int32_t most = kMaxRows; most >= kRowStep; most -= kRowStep) {
    const int64_t tasks = (rows + kCluster * most - 1) / (kCluster * most);
    const int64_t size =
        ((rows + kCluster * tasks - 1) / (kCluster * tasks) + kRowStep - 1) / kRowStep * kRowStep;
    const int64_t cycles =
        (tasks * columns + clusters - 1) / clusters * block_cycles<kCluster>(size);
    if (cycles < least) {
      least = cycles;
      best = most;
    }
  }
  return best;
}

template <int kCluster>
cudaError_t prepare() {
  cudaError_t error = allow_shared(tiled_kernel<kCluster, Epilogue::kFloat>, kSharedBytes);
  if (error == cudaSuccess) {
    error = allow_shared(tiled_kernel<kCluster, Epilogue::kSwiglu>, kSharedBytes);
  }
  if (error == cudaSuccess) {
    error = allow_shared(tiled_kernel<kCluster, Epilogue::kPairs>, kSharedBytes);
  }
  return error;
}

template <int kCluster>
cudaError_t run(const Gemm& gemm, Epilogue epilogue, const Machine& machine, cudaStream_t stream) {
  const int64_t columns = (panels_of(gemm.n) + kPanels - 1) / kPanels;
  const int64_t clusters = machine.multiprocessors / kCluster;
  Cut cut{kMaxRows, machine.tuning.tiled};
  if (gemm.counts == nullptr) {
    cut.rows = best_rows<kCluster>(int64_t{gemm.rows.bound} * gemm.top_k, columns, clusters);
  }
  const int64_t tiles = columns * task_bound(gemm, kCluster * cut.rows);
  if (tiles == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(kCluster * (tiles < clusters ? tiles : clusters)));
  const auto launch = [&](auto kernel) {
    return start(kernel, grid, dim3(kThreads), kSharedBytes, stream, gemm, cut);
  };
  switch (epilogue) {
    case Epilogue::kFloat:
      return launch(tiled_kernel<kCluster, Epilogue::kFloat>);
    case Epilogue::kSwiglu:
      return launch(tiled_kernel<kCluster, Epilogue::kSwiglu>);
    case Epilogue::kPairs:
      return launch(tiled_kernel<kCluster, Epilogue::kPairs>);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t prepare_gemm_tiled() {
  const cudaError_t error = prepare<1>();
  return error == cudaSuccess ? prepare<2>() : error;
}

// A pair of blocks pays where the rows of a group would be cut anyway.
cudaError_t gemm_tiled(const Gemm& gemm, Epilogue epilogue, const Machine& machine,
                       cudaStream_t stream) {
  const int64_t rows =
      int64_t{gemm.rows.bound} * gemm.top_k / (gemm.counts == nullptr ? 1 : gemm.groups);
  const int32_t wanted = machine.tuning.tiled.cluster;
  const bool pair = wanted == 0 ? rows > (gemm.counts == nullptr ? 64 : kMaxRows) : wanted == 2;
  return (pair ? run<2> : run<1>)(gemm, epilogue, machine, stream);
}

}  // namespace conclave::device::cuda
