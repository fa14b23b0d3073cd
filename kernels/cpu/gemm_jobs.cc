#include "kernels/cpu/gemm_jobs.h"

#include <algorithm>

#include "kernels/cpu/panel_layout.h"

namespace conclave::kernels::cpu {
namespace {

// Panels of one task, read once per row tile, should stay in the second-level cache beside the
// rows.
constexpr int64_t kChunkBytes = 256 << 10;
constexpr int64_t kMaxChunkPanels = 16;
// Enough tasks per thread that the last ones even out.
constexpr int64_t kTasksPerThread = 4;
// Below this many multiply-adds waking other threads costs more than it saves.
constexpr int64_t kParallelWork = 1 << 15;

// The job that owns index `at` of a numbering that starts at job.*first.
template <int64_t GemmJob::*first>
GemmJob& job_at(std::span<GemmJob> jobs, int64_t at) {
  const auto after =
      std::upper_bound(jobs.begin(), jobs.end(), at,
                       [](int64_t value, const GemmJob& job) { return value < job.*first; });
  return *(after - 1);
}

// Splits each job into tasks and numbers them; returns their total.
int64_t plan_tasks(std::span<GemmJob> jobs, const KernelTable& table, int threads) {
  const int64_t wanted = kTasksPerThread * threads / static_cast<int64_t>(jobs.size()) + 1;
  int64_t tasks = 0;
  for (GemmJob& job : jobs) {
    const int64_t panels = panel_count(job.weight.n);
    const int64_t bytes = std::max<int64_t>(1, panel_bytes(job.weight.k, job.weight.dtype));
    int64_t chunk = std::clamp<int64_t>(kChunkBytes / bytes, 1, kMaxChunkPanels);
    if (job.tiles.rows <= 3)
      chunk = (chunk + table.stream_panels - 1) / table.stream_panels * table.stream_panels;
    while (chunk > 1 && (panels + chunk - 1) / chunk < wanted) chunk /= 2;
    job.chunk_panels = chunk;
    job.chunks = (panels + chunk - 1) / chunk;
    job.row_blocks =
        std::clamp<int64_t>(job.chunks > 0 ? wanted / job.chunks : 1, 1, job.tiles.count);
    job.first_task = tasks;
    tasks += job.chunks * job.row_blocks;
  }
  return tasks;
}

void write_panel(const KernelTable& table, const GemmJob& job, DType act, int64_t tile,
                 int64_t panel, const float* c) {
  const int64_t first_row = job.tiles.begin(tile);
  const int rows = job.tiles.size(tile);
  if (job.swiglu != nullptr) {
    const int64_t width = job.weight.n / 2;
    const int64_t column = panel * (kPanelRows / 2);
    SwigluTile args;
    args.c = c;
    args.rows = rows;
    args.columns = static_cast<int>(std::min<int64_t>(kPanelRows / 2, width - column));
    args.act = act;
    args.out = job.swiglu + first_row * width + column * rows;
    table.swiglu_tile(args);
    return;
  }
  const int64_t column = panel * kPanelRows;
  StoreTile args = job.store;
  args.c = c;
  args.rows = rows;
  args.columns = static_cast<int>(std::min<int64_t>(kPanelRows, job.weight.n - column));
  if (args.bias != nullptr) args.bias += column;
  int64_t element = column;
  if (args.index != nullptr) {
    args.index += first_row;
  } else {
    element += first_row * args.stride;
  }
  args.out =
      static_cast<std::byte*>(args.out) + element * static_cast<int64_t>(dtype_bytes(args.dtype));
  table.store_tile(args);
}

void run_task(const KernelTable& table, const GemmJob& job, DType act, int64_t task) {
  const int64_t first_panel = task / job.row_blocks * job.chunk_panels;
  const int64_t end_panel = std::min(first_panel + job.chunk_panels, panel_count(job.weight.n));
  const int64_t row_block = task % job.row_blocks;
  const int64_t first_tile = job.tiles.count * row_block / job.row_blocks;
  const int64_t end_tile = job.tiles.count * (row_block + 1) / job.row_blocks;
  alignas(64) float c[kMaxTilePanels * kMaxTileRows * kPanelRows];
  GemmTile args;
  args.panel_bytes = panel_bytes(job.weight.k, job.weight.dtype);
  args.dtype = job.weight.dtype;
  args.k = job.weight.k;
  args.c = c;
  for (int64_t tile = first_tile; tile < end_tile; ++tile) {
    args.rows = job.tiles.size(tile);
    args.x = job.x + job.tiles.begin(tile) * job.weight.k;
    for (int64_t panel = first_panel; panel < end_panel; panel += kMaxTilePanels) {
      args.weights = job.weight.data + panel * args.panel_bytes;
      args.panels = static_cast<int>(std::min<int64_t>(kMaxTilePanels, end_panel - panel));
      table.gemm_tile(args);
      for (int i = 0; i < args.panels; ++i) {
        write_panel(table, job, act, tile, panel + i, c + i * args.rows * kPanelRows);
      }
    }
  }
}

}  // namespace

void pack_gemm_jobs(const KernelTable& table, ThreadPool& pool, std::span<GemmJob> jobs) {
  int64_t tiles = 0;
  int64_t elements = 0;
  for (GemmJob& job : jobs) {
    job.first_tile = tiles;
    tiles += job.tiles.count;
    elements += job.tiles.rows * job.weight.k;
  }
  const int64_t grain = elements < kParallelWork ? tiles : 1;
  pool.parallel_for(tiles, grain, [&](int64_t begin, int64_t end, int) {
    for (int64_t at = begin; at < end; ++at) {
      const GemmJob& job = job_at<&GemmJob::first_tile>(jobs, at);
      const int64_t tile = at - job.first_tile;
      const int64_t first_row = job.tiles.begin(tile);
      PackRows args = job.pack;
      args.rows = job.tiles.size(tile);
      args.k = job.weight.k;
      if (args.index != nullptr) {
        args.index += first_row;
      } else {
        args.x = static_cast<const std::byte*>(args.x) +
                 first_row * args.stride * static_cast<int64_t>(dtype_bytes(args.dtype));
      }
      args.out = job.x + first_row * args.k;
      table.pack_rows(args);
    }
  });
}

void run_gemm_jobs(const KernelTable& table, ThreadPool& pool, DType act, std::span<GemmJob> jobs) {
  if (jobs.empty()) return;
  int64_t work = 0;
  for (const GemmJob& job : jobs) work += job.tiles.rows * job.weight.n * job.weight.k;
  const int64_t tasks = plan_tasks(jobs, table, pool.threads());
  pool.parallel_for(tasks, work < kParallelWork ? tasks : 1, [&](int64_t begin, int64_t end, int) {
    for (int64_t task = begin; task < end; ++task) {
      const GemmJob& job = job_at<&GemmJob::first_task>(jobs, task);
      run_task(table, job, act, task - job.first_task);
    }
  });
}

}  // namespace conclave::kernels::cpu
