#ifndef CONCLAVE_KERNELS_CPU_GEMM_JOBS_H_
#define CONCLAVE_KERNELS_CPU_GEMM_JOBS_H_

// A parallel region over the matrix products of one phase: one job for a plain product, one per
// expert for the feed-forward layer. Tasks are (job, a few weight panels, a range of row tiles);
// the threads claim them one by one, so that many small experts and one large matrix both keep all
// threads busy.

#include <cstdint>
#include <span>

#include "kernels/cpu/kernel_table.h"
#include "kernels/device/thread_pool.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels::cpu {

// rows split into `count` tiles whose sizes differ by one at most.
struct RowTiles {
  int64_t rows = 0;
  int64_t count = 0;
  RowTiles() = default;
  RowTiles(int64_t all_rows, int tile_rows)
      : rows(all_rows), count((all_rows + tile_rows - 1) / tile_rows) {}
  int64_t begin(int64_t tile) const { return rows * tile / count; }
  int size(int64_t tile) const { return static_cast<int>(begin(tile + 1) - begin(tile)); }
};

struct GemmJob {
  PackedMatrix weight;
  RowTiles tiles;
  PackRows pack;            // where the rows come from; rows, index and out are set per tile
  float* x = nullptr;       // packed rows: tile i at x + tiles.begin(i) * k
  float* swiglu = nullptr;  // if set, silu(gate) * up goes here, packed the same way with k = n / 2
  StoreTile
      store;  // else: where the product goes; c, rows, columns and first column are set per tile
  // Set by run_gemm_jobs.
  int64_t chunk_panels = 0;
  int64_t chunks = 0;
  int64_t row_blocks = 0;
  int64_t first_task = 0;
  int64_t first_tile = 0;
};

// Packs the rows of every job (job.pack to job.x).
void pack_gemm_jobs(const KernelTable& table, ThreadPool& pool, std::span<GemmJob> jobs);
// Multiplies and writes every job's result.
void run_gemm_jobs(const KernelTable& table, ThreadPool& pool, DType act, std::span<GemmJob> jobs);

}  // namespace conclave::kernels::cpu

#endif  // CONCLAVE_KERNELS_CPU_GEMM_JOBS_H_
