#ifndef CONCLAVE_KERNELS_DEVICE_OPS_H_
#define CONCLAVE_KERNELS_DEVICE_OPS_H_

// The C ABI of a device back end: conclave_cuda.so exports conclave_device_ops(), and a host
// implementation of the same table serves the tests. Plain structs and function pointers, so that
// the plugin needs no library of ours and is loaded only when a device is wanted.
//
// Every function returns a Status; after anything but kOk, message(context) says what failed in one
// clause (kernel, shape, library's words). Work is asynchronous on its stream unless the comment
// says otherwise; a context is used by one thread at a time, but copy and pack calls may run on
// other streams from other threads. Types, rounding points and law 1 are those of
// kernels/kernel_set.h: "act" is float32 or bfloat16 by the context's compute type. Rows at or
// beyond RowCount::actual, padding rows (position -1, id -1) and their outputs are not read by
// anybody: they may be left unwritten, but reading a padding row's input must not fault, and it
// reaches no expert and no K/V.

#include <cstddef>
#include <cstdint>

#include "kernels/device_types.h"

namespace conclave::device {

inline constexpr uint32_t kAbiVersion = 2;

struct Context;  // one device, one compute type, its scratch
struct Stream;
struct Event;
struct Graph;
struct Comm;

struct DeviceOps {
  uint32_t abi_version;
  uint32_t struct_bytes;  // sizeof(DeviceOps)
  const char* name;       // the kernel set: "cuda-sm90"

  // --- devices. message [message_bytes] takes the reason of a failure.
  Status (*device_count)(int32_t* count, char* message, size_t message_bytes);
  Status (*device_info)(int32_t index, DeviceInfo* info, char* message, size_t message_bytes);
  Status (*create)(int32_t index, int32_t compute_type, Context** out, char* message,
                   size_t message_bytes);
  void (*destroy)(Context* context);
  const char* (*message)(Context* context);  // of the calling thread's last failure; never null
  // Scratch for the ops below, once before serving; a step allocates nothing (law 5).
  Status (*reserve)(Context* context, const Limits* limits);

  // --- memory. alloc and free synchronise; addresses are 256-byte aligned.
  Status (*alloc)(Context* context, size_t bytes, void** out);
  Status (*free)(Context* context, void* memory);
  Status (*alloc_pinned)(Context* context, size_t bytes, void** out);
  Status (*free_pinned)(Context* context, void* memory);
  Status (*copy)(Context* context, Stream* stream, void* to, const void* from,
                 size_t bytes);  // any direction
  Status (*fill)(Context* context, Stream* stream, void* to, int32_t byte, size_t bytes);
  Status (*memory_info)(Context* context, uint64_t* free_bytes, uint64_t* total_bytes);

  // --- order
  Status (*stream_create)(Context* context, int32_t high_priority, Stream** out);
  Status (*stream_destroy)(Context* context, Stream* stream);
  Status (*stream_synchronize)(Context* context, Stream* stream);
  Status (*event_create)(Context* context, int32_t timing, Event** out);
  Status (*event_destroy)(Context* context, Event* event);
  Status (*event_record)(Context* context, Stream* stream, Event* event);
  Status (*event_wait)(Context* context, Stream* stream, Event* event);  // the stream waits
  Status (*event_done)(Context* context, Event* event,
                       int32_t* done);  // also reports a failed kernel
  Status (*event_elapsed_ms)(Context* context, Event* begin, Event* end, float* ms);
  Status (*graph_begin)(Context* context, Stream* stream);
  Status (*graph_end)(Context* context, Stream* stream, Graph** out);
  Status (*graph_launch)(Context* context, Stream* stream, Graph* graph);
  Status (*graph_destroy)(Context* context, Graph* graph);

  // --- weights
  Status (*supports_attention)(Context* context, const AttentionShape* shape);
  Status (*supports_router)(Context* context, const RouterShape* shape);
  Status (*supports_matrix)(Context* context, int64_t n, int64_t k, int32_t dtype,
                            int32_t is_gate_up);
  int32_t (*stored_dtype)(Context* context, int32_t file_dtype);
  size_t (*packed_bytes)(Context* context, int64_t n, int64_t k, int32_t dtype);
  size_t (*kv_block_bytes)(Context* context, const AttentionShape* shape);
  // Stacks parts along rows; pack_gate_up takes gate and up, [intermediate, hidden] each. `out`
  // holds packed_bytes of the result; the staging memory of the parts may be reused once the stream
  // passed.
  Status (*pack_matrix)(Context* context, Stream* stream, const WeightPart* parts, int32_t count,
                        int32_t dtype, void* out);
  Status (*pack_gate_up)(Context* context, Stream* stream, const WeightPart* gate,
                         const WeightPart* up, int32_t dtype, void* out);
  // A row-major array in another type.
  Status (*convert)(Context* context, Stream* stream, const void* from, int32_t from_dtype,
                    void* to, int32_t to_dtype, int64_t count);
  // Uniform in [-bound, bound], element i a function of (seed, i) alone.
  Status (*fill_random)(Context* context, Stream* stream, void* to, int32_t dtype, int64_t count,
                        uint64_t seed, float bound);

  // --- a step. H = hidden. Matrices are dense row-major device arrays. What an AttentionBatch points
  // to is the step's plan: it comes by copies, not by an operation, because it may be read before
  // the operation before has ended.
  // out[i] = plan[i] >= 0 ? plan[i] : previous[-1 - plan[i]].token, clamped into [0, vocab).
  Status (*resolve_tokens)(Context* context, Stream* stream, RowCount rows, const int32_t* plan,
                           const SamplingResult* previous, int32_t vocab, int32_t* out);
  // out float32 [rows, H] = table[ids]; table row-major [vocab, H].
  Status (*embed)(Context* context, Stream* stream, RowCount rows, const int32_t* ids,
                  const void* table, int32_t table_dtype, int64_t vocab, int64_t hidden,
                  float* out);
  // residual += addend (null: not), then out act = norm(residual) * weight (out null: only the
  // sum).
  Status (*add_rms_norm)(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                         float* residual, const float* addend, const float* weight, float eps,
                         void* out);
  // out float32 [rows, n] = x act [rows, k] * Wt + bias (null: none); accumulate: added to what is
  // in out.
  Status (*matmul)(Context* context, Stream* stream, RowCount rows, const void* x,
                   const PackedMatrix* weight, const float* bias, int32_t accumulate, float* out);
  Status (*append_kv)(Context* context, Stream* stream, const AttentionShape* shape,
                      const AttentionParameters* parameters, const AttentionBatch* batch,
                      float* qkv, const KvLayer* kv, void* q_out);
  Status (*attention)(Context* context, Stream* stream, const AttentionShape* shape,
                      const AttentionBatch* batch, const void* q, const KvLayer* kv, void* out);
  // Logits x * gate^T, softmax, top k (ties: lowest id), ids ascending; rows that are
  // padding or at or beyond actual get id -1, weight 0. lists (null: not wanted): those of group_experts with everything local.
  Status (*route)(Context* context, Stream* stream, const RouterShape* shape, RowCount rows,
                  const void* x, const PackedMatrix* gate, int32_t* ids, float* weights,
                  const ExpertLists* lists);
  Status (*group_experts)(Context* context, Stream* stream, const RouterShape* shape, RowCount rows,
                          const int32_t* ids, const ExpertOwners* owners, const ExpertLists* lists);
  // out act [rows.bound * top_k, H]: row p = expert of pair p applied to x row p / top_k, unsummed,
  // unweighted. slots device [experts]. Only listed pairs are written.
  Status (*expert_ffn)(Context* context, Stream* stream, const RouterShape* router,
                       const ExpertShape* shape, RowCount rows, const void* x,
                       const ExpertLists* lists, const ExpertSlot* slots, void* out);
  // The same for one expert that every row uses (dense layers, shared experts): out act [rows, H].
  Status (*dense_ffn)(Context* context, Stream* stream, const ExpertShape* shape, RowCount rows,
                      const void* x, const ExpertSlot* slot, void* out);
  // out float32 [rows, H] = sum of weight * pair row in ascending expert id, then shared (null:
  // none) times sigmoid(shared_gate) (null: 1). accumulate: that sum is then added to what is in
  // out. top_k 0: only the shared rows, for dense layers.
  Status (*combine)(Context* context, Stream* stream, RowCount rows, int64_t hidden, int32_t top_k,
                    const int32_t* ids, const float* weights, const CombineSources* sources,
                    const void* shared, const float* shared_gate, int32_t accumulate, float* out);
  // out act [rows, H] = norm(residual[index[i]]) * weight; index device, -1: padding.
  Status (*gather_rms_norm)(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                            const float* residual, const int32_t* index, const float* weight,
                            float eps, void* out);
  // One result per row; logits float32 [rows, vocab], may be modified. All arrays device.
  Status (*sample)(Context* context, Stream* stream, RowCount rows, int64_t vocab, float* logits,
                   const SamplingRow* row, const TokenCount* counts, const TokenBias* bias,
                   SamplingResult* results);

  // --- ranks. All calls are collective and in the same order on every rank; none reads a count on
  // the host, so all can be captured. Buffers come from comm_alloc (also collective, same bytes
  // everywhere).
  Status (*comm_create)(Context* context, const CommBootstrap* bootstrap, int32_t kind, Comm** out);
  void (*comm_destroy)(Context* context, Comm* comm);
  const char* (*comm_name)(Context* context, Comm* comm);  // "peer", "nccl", …
  Status (*comm_alloc)(Context* context, Comm* comm, size_t bytes, void** out);
  // All parts in one go; rank r's block lands at recv + r * bytes_per_rank. send may be its own
  // block of recv.
  Status (*comm_all_gather)(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                            int32_t count);
  // Segment r of send goes to rank r, segment s of recv comes from rank s; a segment is
  // rows_per_rank rows of row_bytes. The own segment is not copied. rows (device [count], null:
  // all): the rows of send that matter, with *count (device) of them; the others need not travel.
  Status (*comm_all_to_all)(Context* context, Stream* stream, Comm* comm, const void* send,
                            void* recv, int32_t rows_per_rank, size_t row_bytes,
                            const int32_t* rows, const int32_t* count);
  // Ranks are added in ascending order on every rank: all get the same bits.
  Status (*comm_all_reduce)(Context* context, Stream* stream, Comm* comm, const float* send,
                            float* recv, int64_t count);
  // kPeerLost with the peer's number in *peer (-1: not known) once something went wrong; polled
  // while waiting.
  Status (*comm_check)(Context* context, Comm* comm, int32_t* peer);
  void (*comm_abort)(Context* context, Comm* comm);  // running collectives end; from any thread

  // --- two operations in one; the same bits as one after the other
  // append_kv, then attention. q: room for the queries, which need not be written. Chunks of one row
  // may read keys before any chunk appends: no chunk of the batch reads what another appends, and a
  // matmul is the operation before it.
  Status (*append_attention)(Context* context, Stream* stream, const AttentionShape* shape,
                             const AttentionParameters* parameters, const AttentionBatch* batch,
                             float* qkv, const KvLayer* kv, void* q, void* out);
  // add_rms_norm into `normed`, then route of that.
  Status (*norm_route)(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                       float* residual, const float* addend, const float* norm_weight, float eps,
                       void* normed, const RouterShape* shape, const PackedMatrix* gate,
                       int32_t* ids, float* weights, const ExpertLists* lists);
  // combine, accumulated into `residual`, then the norm of that into `normed`.
  Status (*combine_norm)(Context* context, Stream* stream, RowCount rows, int64_t hidden,
                         int32_t top_k, const int32_t* ids, const float* weights,
                         const CombineSources* sources, const void* shared,
                         const float* shared_gate, float* residual, const float* norm_weight,
                         float eps, void* normed);

  // --- measuring
  // The matrix units alone, on random bfloat16 data that stays in shared memory and registers, for
  // `steps` rounds on the whole device; *flops: what one call computes. kUnimplemented: cannot say.
  Status (*matmul_peak)(Context* context, Stream* stream, int32_t steps, double* flops);
};

}  // namespace conclave::device

// The plugin's only symbol. wanted_abi: the loader's kAbiVersion; null if the plugin has another
// one.
extern "C" const conclave::device::DeviceOps* conclave_device_ops(uint32_t wanted_abi);

#endif  // CONCLAVE_KERNELS_DEVICE_OPS_H_
