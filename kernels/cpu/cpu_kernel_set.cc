#include "kernels/cpu/cpu_kernel_set.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/status_macros.h"
#include "kernels/cpu/panel_layout.h"
#include "kernels/shape_checks.h"

namespace conclave::kernels::cpu {
namespace {

// About 10 microseconds of elementwise work: less is not worth waking a thread for.
constexpr int64_t kTaskWork = 1 << 15;
// Scratch that every set has, so that any row of up to 65536 elements fits a tile.
constexpr int64_t kLeastScratchFloats = int64_t{kMaxTileRows} * 65536;
// Larger products take several passes: beyond this more rows at once save nothing.
constexpr int64_t kMostScratchFloats = int64_t{1} << 24;
constexpr size_t kMaxJobs = 1024;  // experts of one pass
static_assert(kMaxHeadDimension == kMaxHeadDim,
              "supports() must refuse what the scratch cannot hold");
static_assert(kMaxRouterTopK == 64, "route_row keeps this many candidates on its stack");

const float* f32_row(const ConstMatrixView& m, int64_t row) {
  return static_cast<const float*>(m.data) + row * m.stride;
}
float* f32_row(const MatrixView& m, int64_t row) {
  return static_cast<float*>(m.data) + row * m.stride;
}
const std::byte* row_bytes(const ConstMatrixView& m, int64_t row) {
  return static_cast<const std::byte*>(m.data) +
         row * m.stride * static_cast<int64_t>(dtype_bytes(m.dtype));
}
std::byte* row_bytes(const MatrixView& m, int64_t row) {
  return static_cast<std::byte*>(m.data) +
         row * m.stride * static_cast<int64_t>(dtype_bytes(m.dtype));
}
float* floats(Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); }
int64_t capacity(const Buffer& buffer) {
  return static_cast<int64_t>(buffer.size() / sizeof(float));
}

absl::Status grow(Buffer& buffer, int64_t wanted_floats) {
  if (capacity(buffer) >= wanted_floats) return absl::OkStatus();
  ASSIGN_OR_RETURN(Buffer larger,
                   Buffer::allocate(static_cast<size_t>(wanted_floats) * sizeof(float)));
  buffer = std::move(larger);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<KernelSet>> CpuKernelSet::Create(const char* name,
                                                                ComputeType compute_type,
                                                                const KernelTable& table,
                                                                std::shared_ptr<ThreadPool> pool) {
  std::unique_ptr<CpuKernelSet> set(new CpuKernelSet(name, compute_type, table, std::move(pool)));
  const int64_t threads = set->pool_->threads();
  RETURN_IF_ERROR(grow(set->x_scratch_, kLeastScratchFloats));
  RETURN_IF_ERROR(grow(set->hidden_scratch_, kLeastScratchFloats));
  RETURN_IF_ERROR(
      grow(set->attention_scratch_, threads * attention_scratch_floats(kMaxHeadDimension)));
  set->sampling_.resize(static_cast<size_t>(threads));
  set->jobs_.reserve(kMaxJobs);
  set->job_groups_.reserve(kMaxJobs);
  set->job_rows_.reserve(kMaxJobs);
  return std::unique_ptr<KernelSet>(std::move(set));
}

template <typename Body>
void CpuKernelSet::for_rows(int64_t count, int64_t work_per_row, Body&& body) {
  const int64_t grain = std::max<int64_t>(1, kTaskWork / std::max<int64_t>(1, work_per_row));
  pool_->parallel_for(count, grain, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t row = begin; row < end; ++row) body(row, thread);
  });
}

// Only a caller that exceeds its reserve() by more than a tile gets here with something to do.
void CpuKernelSet::ensure_scratch(Buffer& buffer, int64_t wanted_floats) {
  const absl::Status status = grow(buffer, wanted_floats);
  if (status.ok()) return;
  std::fprintf(stderr, "kernel scratch beyond the reserved limits: %s\n",
               std::string(status.message()).c_str());
  std::abort();
}

absl::Status CpuKernelSet::supports(const AttentionShape& shape) const {
  return check_shape(shape);
}
absl::Status CpuKernelSet::supports(const RouterShape& shape) const { return check_shape(shape); }

DType CpuKernelSet::stored_dtype(DType file_dtype) const {
  return compute_type_ == ComputeType::kBF16 ? DType::kBF16 : file_dtype;
}
size_t CpuKernelSet::packed_bytes(int64_t n, int64_t k, DType stored) const {
  return panels_bytes(n, k, stored);
}
PackedMatrix CpuKernelSet::pack_matrix(std::span<const WeightRows> parts, DType stored,
                                       std::byte* out) const {
  return pack_panels(parts, stored, out);
}
PackedMatrix CpuKernelSet::pack_gate_up(const WeightRows& gate, const WeightRows& up, DType stored,
                                        std::byte* out) const {
  return pack_gate_up_panels(gate, up, stored, out);
}

void CpuKernelSet::embed(std::span<const int32_t> ids, const ConstMatrixView& table,
                         const MatrixView& out) {
  for_rows(static_cast<int64_t>(ids.size()), table.cols, [&](int64_t t, int) {
    const int64_t id = std::clamp<int64_t>(ids[static_cast<size_t>(t)], 0, table.rows - 1);
    table_.widen_row(row_bytes(table, id), table.dtype, table.cols, f32_row(out, t));
  });
}

void CpuKernelSet::embed(std::span<const int32_t> ids, const PackedMatrix& table, const MatrixView& out) {
  for_rows(static_cast<int64_t>(ids.size()), table.k, [&](int64_t t, int) {
    const int64_t id = std::clamp<int64_t>(ids[static_cast<size_t>(t)], 0, table.n - 1);
    unpack_row(table, id, f32_row(out, t));
  });
}

void CpuKernelSet::rms_norm(const ConstMatrixView& x, const float* weight, float eps,
                            const MatrixView& out) {
  for_rows(x.rows, 2 * x.cols, [&](int64_t t, int) {
    table_.norm_row(f32_row(x, t), weight, eps, x.cols, row_bytes(out, t), out.dtype);
  });
}

void CpuKernelSet::matmul(const ConstMatrixView& x, const PackedMatrix& weight, const float* bias,
                          const MatrixView& out) {
  if (weight.n == 0) return;
  ensure_scratch(x_scratch_, kMaxTileRows * weight.k);
  const int64_t rows_per_pass =
      std::max<int64_t>(1, capacity(x_scratch_) / std::max<int64_t>(1, weight.k));
  for (int64_t first = 0; first < x.rows; first += rows_per_pass) {
    GemmJob job;
    job.weight = weight;
    job.tiles = RowTiles(std::min(rows_per_pass, x.rows - first), table_.tile_rows);
    job.pack.x = row_bytes(x, first);
    job.pack.dtype = x.dtype;
    job.pack.stride = x.stride;
    job.x = floats(x_scratch_);
    job.store.bias = bias;
    job.store.out = row_bytes(out, first);
    job.store.dtype = out.dtype;
    job.store.stride = out.stride;
    pack_gemm_jobs(table_, *pool_, std::span(&job, 1));
    run_gemm_jobs(table_, *pool_, act_dtype(), std::span(&job, 1));
  }
}

void CpuKernelSet::append_kv(const AttentionShape& shape, const AttentionParameters& parameters,
                             const AttentionBatch& batch, const MatrixView& qkv,
                             const KvLayerView& kv, const MatrixView& q_out) {
  for_rows(qkv.rows, 8 * qkv.cols, [&](int64_t t, int thread) {
    const AttentionRow& row = batch.rows[static_cast<size_t>(t)];
    const int64_t block =
        batch.block_ids[static_cast<size_t>(row.block_table + row.position / kKvBlockTokens)];
    AppendRow args;
    args.shape = &shape;
    args.parameters = &parameters;
    args.position = row.position;
    args.qkv = f32_row(qkv, t);
    args.q_out = row_bytes(q_out, t);
    args.block = kv.data + block * kv.block_stride_bytes;
    args.act = act_dtype();
    args.scratch = attention_scratch(thread);
    table_.append_row(args);
  });
}

size_t CpuKernelSet::kv_block_bytes(const AttentionShape& shape) const {
  return static_cast<size_t>(shape.kv_heads * head_bytes(shape, act_dtype()));
}

float* CpuKernelSet::attention_scratch(int thread) {
  return floats(attention_scratch_) + thread * attention_scratch_floats(kMaxHeadDimension);
}

int64_t CpuKernelSet::plan_attention(const AttentionShape& shape, const AttentionBatch& batch) {
  const int64_t group = shape.heads / shape.kv_heads;
  const auto rows = static_cast<int64_t>(batch.rows.size());
  int64_t tasks = 0;
  runs_.clear();
  for (int64_t first = 0; first < rows;) {
    int64_t end = first + 1;
    const int32_t table = batch.rows[static_cast<size_t>(first)].block_table;
    while (end < rows && batch.rows[static_cast<size_t>(end)].block_table == table) ++end;
    const int64_t tiles = ((end - first) * group + kQueryTile - 1) / kQueryTile;
    runs_.push_back({first, end - first, tiles, tasks});
    tasks += tiles * shape.kv_heads;
    first = end;
  }
  return tasks;
}

void CpuKernelSet::attention(const AttentionShape& shape, const AttentionBatch& batch,
                             const ConstMatrixView& q, const KvLayerView& kv,
                             const MatrixView& out) {
  const int64_t tasks = plan_attention(shape, batch);
  pool_->parallel_for(tasks, 1, [&](int64_t begin, int64_t end, int thread) {
    for (int64_t task = begin; task < end; ++task) {
      const auto after = std::upper_bound(
          runs_.begin(), runs_.end(), task,
          [](int64_t value, const SequenceRun& run) { return value < run.first_task; });
      const SequenceRun& run = *(after - 1);
      const int64_t queries = run.rows * (shape.heads / shape.kv_heads);
      const int64_t first_query = (task - run.first_task) % run.tiles * kQueryTile;
      const AttentionRow* rows = batch.rows.data() + run.first_row;
      AttentionTile args;
      args.shape = &shape;
      args.act = act_dtype();
      args.kv = &kv;
      args.blocks = batch.block_ids.data() + rows->block_table;
      args.kv_head = static_cast<int32_t>((task - run.first_task) / run.tiles);
      args.rows = rows;
      args.q = row_bytes(q, run.first_row);
      args.q_stride_bytes = q.stride * static_cast<int64_t>(dtype_bytes(q.dtype));
      args.out = row_bytes(out, run.first_row);
      args.out_stride_bytes = out.stride * static_cast<int64_t>(dtype_bytes(out.dtype));
      args.first_query = static_cast<int32_t>(first_query);
      args.queries = static_cast<int32_t>(std::min<int64_t>(kQueryTile, queries - first_query));
      args.scratch = attention_scratch(thread);
      table_.attention_tile(args);
    }
  });
}

void CpuKernelSet::route(const RouterShape& shape, const ConstMatrixView& logits,
                         std::span<int32_t> ids, std::span<float> weights) {
  for_rows(logits.rows, 8 * int64_t{shape.experts}, [&](int64_t t, int) {
    table_.route_row(shape, f32_row(logits, t), ids.data() + t * shape.top_k,
                     weights.data() + t * shape.top_k);
  });
}

// Takes groups from (group, row) on until the scratch is full; false if nothing was left.
bool CpuKernelSet::plan_expert_pass(std::span<const ExpertGroup> groups,
                                    const ConstMatrixView& input, size_t& group, int64_t& row) {
  jobs_.clear();
  job_groups_.clear();
  job_rows_.clear();
  int64_t x_used = 0;
  int64_t hidden_used = 0;
  for (; group < groups.size(); ++group, row = 0) {
    const ExpertGroup& from = groups[group];
    const int64_t left = static_cast<int64_t>(from.in_rows.size()) - row;
    if (left <= 0) continue;
    if (jobs_.size() == kMaxJobs) return true;
    const PackedMatrix& weight = from.expert->gate_up;
    const int64_t width = weight.n / 2;
    if (jobs_.empty()) {
      ensure_scratch(x_scratch_, kMaxTileRows * weight.k);
      ensure_scratch(hidden_scratch_, kMaxTileRows * width);
    }
    const int64_t rows =
        std::min({left, (capacity(x_scratch_) - x_used) / std::max<int64_t>(1, weight.k),
                  (capacity(hidden_scratch_) - hidden_used) / std::max<int64_t>(1, width)});
    if (rows <= 0) return true;
    GemmJob job;
    job.weight = weight;
    job.tiles = RowTiles(rows, table_.tile_rows);
    job.pack.x = input.data;
    job.pack.dtype = input.dtype;
    job.pack.stride = input.stride;
    job.pack.index = from.in_rows.data() + row;
    job.x = floats(x_scratch_) + x_used;
    job.swiglu = floats(hidden_scratch_) + hidden_used;
    jobs_.push_back(job);
    job_groups_.push_back(&from);
    job_rows_.push_back(row);
    x_used += rows * weight.k;
    hidden_used += rows * width;
    if (rows < left) {
      row += rows;
      return true;
    }
  }
  return !jobs_.empty();
}

void CpuKernelSet::run_expert_pass(const MatrixView& output) {
  pack_gemm_jobs(table_, *pool_, jobs_);
  run_gemm_jobs(table_, *pool_, act_dtype(), jobs_);
  for (size_t i = 0; i < jobs_.size(); ++i) {
    GemmJob& job = jobs_[i];
    job.weight = job_groups_[i]->expert->down;
    job.x = job.swiglu;
    job.swiglu = nullptr;
    job.store.out = output.data;
    job.store.dtype = output.dtype;
    job.store.stride = output.stride;
    job.store.index = job_groups_[i]->out_rows.data() + job_rows_[i];
  }
  run_gemm_jobs(table_, *pool_, act_dtype(), jobs_);
}

void CpuKernelSet::expert_ffn(std::span<const ExpertGroup> groups, const ConstMatrixView& input,
                              const MatrixView& output) {
  size_t group = 0;
  int64_t row = 0;
  while (plan_expert_pass(groups, input, group, row)) run_expert_pass(output);
}

void CpuKernelSet::combine(const CombineInput& input, const MatrixView& out) {
  for_rows(out.rows, out.cols * (input.top_k + 1), [&](int64_t t, int) {
    CombineRow args;
    args.input = &input;
    args.row = t;
    args.end = out.cols;
    args.out = f32_row(out, t);
    table_.combine_row(args);
  });
}

void CpuKernelSet::add(const MatrixView& r, const ConstMatrixView& a) {
  for_rows(r.rows, r.cols,
           [&](int64_t t, int) { table_.add_row(f32_row(r, t), f32_row(a, t), r.cols); });
}

void CpuKernelSet::gather_rows(const ConstMatrixView& x, std::span<const int32_t> rows,
                               const MatrixView& out) {
  for_rows(static_cast<int64_t>(rows.size()), x.cols, [&](int64_t i, int) {
    std::memcpy(f32_row(out, i), f32_row(x, rows[static_cast<size_t>(i)]),
                static_cast<size_t>(x.cols) * sizeof(float));
  });
}

void CpuKernelSet::sample(const MatrixView& logits, std::span<const SamplingRow> rows,
                          std::span<SamplingResult> results) {
  for_rows(static_cast<int64_t>(rows.size()), kTaskWork, [&](int64_t i, int thread) {
    const auto at = static_cast<size_t>(i);
    sample_row(f32_row(logits, i), logits.cols, rows[at], sampling_[static_cast<size_t>(thread)],
               results[at]);
  });
}

absl::Status CpuKernelSet::reserve(const Limits& limits) {
  const int64_t widest = std::max(limits.hidden, limits.max_intermediate);
  const int64_t x_floats = std::max(limits.max_rows, limits.max_expert_rows) * widest;
  const int64_t hidden_floats = limits.max_expert_rows * limits.max_intermediate;
  RETURN_IF_ERROR(
      grow(x_scratch_, std::max(std::min(x_floats, kMostScratchFloats), kMaxTileRows * widest)));
  RETURN_IF_ERROR(grow(hidden_scratch_, std::max(std::min(hidden_floats, kMostScratchFloats),
                                                 kMaxTileRows * limits.max_intermediate)));
  runs_.reserve(static_cast<size_t>(limits.max_rows));
  for (SamplingScratch& scratch : sampling_) scratch.reserve(limits.vocab);
  return absl::OkStatus();
}

}  // namespace conclave::kernels::cpu
