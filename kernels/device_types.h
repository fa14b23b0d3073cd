#ifndef CONCLAVE_KERNELS_DEVICE_TYPES_H_
#define CONCLAVE_KERNELS_DEVICE_TYPES_H_

// The plain structs that cross the seam of kernels/device_ops.h. Layout is part of the ABI:
// fixed-width members, no constructors that matter, no ownership. "device" after a pointer: device
// memory, read when the stream gets there; everything else is read during the call.

#include <cstddef>
#include <cstdint>

namespace conclave::device {

// Values of base/dtype.h's DType and ComputeType, as plain integers.
enum : int32_t { kTypeF32 = 0, kTypeF16 = 1, kTypeBF16 = 2 };
enum : int32_t { kComputeF32 = 0, kComputeBF16 = 1 };

enum Status : int32_t {
  kOk = 0,
  kInvalidArgument = 1,  // the caller broke the contract of a function
  kUnimplemented = 2,    // a shape this back end cannot run
  kNoMemory = 3,
  kNoDevice = 4,  // no driver, no such device, or too old for this plugin
  kFailed = 5,    // the device or a library reported an error; the context is of no further use
  kPeerLost = 6,  // a rank of the communicator failed or is late
};

// How many rows a call works on. `bound` sizes grids and is fixed when a graph is captured;
// `actual` (device, one int32, <= bound) is what counts when the work runs. actual == nullptr: all
// of bound.
struct RowCount {
  int32_t bound;
  const int32_t* actual;
};

struct PackedMatrix {  // weight [n outputs, k inputs] in the back end's private layout; device
  const void* data;
  int32_t dtype;
  int64_t n;
  int64_t k;
};
struct ExpertSlot {  // out = down(silu(gate(x)) * up(x)); data null: not resident here
  const void* gate_up;
  const void* down;
};
struct ExpertShape {  // common to all slots of a table
  int32_t dtype;
  int64_t hidden;
  int64_t intermediate;
};

enum : int32_t { kQkNormNone = 0, kQkNormPerHead = 1, kQkNormFullWidth = 2 };
struct AttentionShape {  // as kernels::AttentionShape
  int32_t heads, kv_heads, head_dim, rotary_dim, sliding_window, qk_norm;
  float scale, norm_eps, clip;
};
struct AttentionParameters {  // device vectors of float32; null where absent
  const float* q_norm;
  const float* k_norm;
  const float* inverse_freq;  // [rotary_dim / 2]
  float attention_factor;
};
struct KvLayer {  // block b of kKvBlockTokens (16) tokens begins at data + b * stride; device
  void* data;
  int64_t block_stride_bytes;
};
struct AttentionRow {
  int32_t position;     // absolute; keys 0..position are visible (window aside). -1: a padding row
  int32_t block_table;  // offset of its sequence's first block id in block_ids
};
struct AttentionChunk {  // consecutive rows of one sequence with ascending positions
  int32_t first_row;
  int32_t rows;      // 0: a padding entry
  int32_t position;  // of its first row
  int32_t block_table;
};
struct AttentionBatch {
  RowCount rows;
  RowCount chunks;
  const AttentionRow* row;      // device [rows.bound]
  const AttentionChunk* chunk;  // device [chunks.bound]
  const int32_t* block_ids;     // device
  int32_t max_chunk_rows;       // upper bound of AttentionChunk::rows; 1: a decode step
  int32_t max_keys;             // upper bound of position + 1; sizes grids only
};

struct RouterShape {
  int32_t experts, top_k, normalize_top_k;
};
// (row, expert) pairs of a call sorted by expert, ascending pair index within one. Pair p = row *
// top_k + j.
struct ExpertLists {
  int32_t* counts;   // device [experts]; 0 for experts that are not computed here
  int32_t* offsets;  // device [experts + 1]
  int32_t* pairs;    // device [rows.bound * top_k]; the first offsets[experts] entries are valid
};
// Which rank computes an expert for the rows of a home rank. Rows of home rank s are
// [s * rows_per_source, (s + 1) * rows_per_source) of the call. owner == nullptr: all is local.
struct ExpertOwners {
  const int32_t* owner;  // device [sources * experts]
  int32_t self;
  int32_t rows_per_source;
};
// The pair rows of this rank's tokens: row p of `local` where this rank computed pair p, else row
// owner * rows.bound * top_k + p of `remote` (as comm_all_to_all leaves them). act, width H.
struct CombineSources {
  const void* local;
  const void* remote;  // null when owner is null
  const int32_t*
      owner;  // device [experts]: the rank that computes an expert for this one; null: all local
  int32_t self;
};
// One block of an all-gather: send [bytes_per_rank], recv [size * bytes_per_rank].
struct GatherPart {
  const void* send;
  void* recv;
  size_t bytes_per_rank;
};

struct TokenCount {
  int32_t token, output_count, in_prompt;
};
struct TokenBias {
  int32_t token;
  float bias;
};
struct SamplingRow {  // as kernels::SamplingRow; lists are [begin, end) of the call's arrays
  float temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  int32_t top_k;
  uint32_t choice, position;
  int32_t top_logprobs;  // -1: no logprobs
  int32_t target;        // >= 0: report this token instead of sampling
  int32_t count_begin, count_end, bias_begin, bias_end;
  int32_t reserved;
  uint64_t seed;
};
struct TokenLogprob {
  int32_t token;
  float logprob;
};
struct SamplingResult {  // as kernels::SamplingResult
  int32_t token;
  float logprob;
  int32_t rank, top_count;
  TokenLogprob top[20];
};

struct DeviceInfo {
  char name[64];
  int32_t index, major, minor, multiprocessors;
  uint64_t memory_total, memory_free;
  char driver[32];  // versions as text
  char runtime[32];
};
struct Limits {  // as kernels::KernelSet::Limits, for the scratch of a context
  int64_t max_rows, max_expert_rows, hidden, max_intermediate, vocab, max_positions, max_head_rows;
  int32_t max_experts, max_top_k, max_heads, max_head_dim;
};
struct WeightPart {  // row-major source rows, device
  const void* data;
  int32_t dtype;
  int64_t rows;
  int64_t cols;
};

// How the ranks find each other: an all-gather of a few bytes over any transport (MPI). Returns 0
// when done.
struct CommBootstrap {
  int32_t rank, size;
  int32_t (*all_gather)(void* user, const void* own, void* all, size_t bytes_per_rank);
  void* user;
};
enum : int32_t { kCommAuto = 0, kCommPeer = 1, kCommNccl = 2, kCommNcclSymmetric = 3 };

}  // namespace conclave::device

#endif  // CONCLAVE_KERNELS_DEVICE_TYPES_H_
