#ifndef CONCLAVE_COMM_NCCL_COMM_STATE_H_
#define CONCLAVE_COMM_NCCL_COMM_STATE_H_

// The ranks of a group as the CUDA plugin sees them. Two ways to move bytes behind one set of
// calls: "peer" writes straight into the other GPUs' memory (CUDA IPC), "nccl" uses NCCL.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/nccl/nccl_library.h"
#include "kernels/device/cuda/comm_ops.h"

namespace conclave::device {

inline constexpr int32_t kMaxPeers = 8;

namespace cuda {

// A piece of memory that every rank of the group allocated at the same time.
struct SharedAllocation {
  std::byte* own = nullptr;
  size_t bytes = 0;
  std::byte* of_rank[kMaxPeers] = {};  // peer: mapped here; nccl: only the own one
  bool mapped[kMaxPeers] = {};         // opened from an IPC handle
  bool of_nccl = false;                // by ncclMemAlloc, registered as a symmetric window
};

// Written by kernels, read by the host without asking the GPU.
struct PeerWatch {
  volatile int32_t abort;      // host -> kernels: stop waiting
  volatile int32_t lost_peer;  // kernels -> host: 1 + the rank that did not come in time; 0: none
};

// Device memory of this rank that peers write: epochs of the collectives they finished.
struct PeerSignals {
  static constexpr int32_t kMaxBlocks = 64;
  uint32_t done[kMaxPeers];               // [from]
  uint32_t block[kMaxPeers][kMaxBlocks];  // [from][block], all-reduce
};
struct PeerLocal {   // device memory that only this rank's kernels touch
  uint32_t epoch;    // collectives finished
  uint32_t arrived;  // blocks of the one under way
};

}  // namespace cuda

struct Comm {
  int32_t rank = 0;
  int32_t size = 1;
  CommBootstrap bootstrap{};
  bool peer = false;  // else NCCL
  bool symmetric = false;  // NCCL with its symmetric windows
  std::vector<cuda::SharedAllocation> allocations;

  // peer
  cuda::PeerWatch* watch = nullptr;  // pinned, mapped
  cuda::PeerLocal* local = nullptr;
  int32_t signals = -1;  // index in allocations
  int32_t staging = -1;  // of all-reduce

  // nccl
  std::unique_ptr<cuda::NcclLibrary> library;
  ncclComm_t nccl = nullptr;
};

namespace cuda {

// Maps a fresh allocation of every rank; collective.
Status share_allocation(Context* context, Comm* comm, size_t bytes, int32_t* index);
// The allocation that holds an address; null: none.
const SharedAllocation* allocation_of(const Comm& comm, const void* address);
// True when every rank says so; collective.
bool all_agree(const Comm& comm, bool own);

Status peer_create(Context* context, Comm* comm);
void peer_destroy(Comm* comm);
Status peer_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count);
Status peer_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count);
Status peer_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count);

Status nccl_create(Context* context, Comm* comm);
void nccl_destroy(Comm* comm);
Status nccl_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count);
Status nccl_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes);
Status nccl_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count);
Status nccl_check(Comm* comm);
// Memory in a window that is symmetric over the ranks, so that NCCL may use its one-shot kernels;
// collective.
Status nccl_alloc_window(Comm* comm, size_t bytes, void** out);

}  // namespace cuda
}  // namespace conclave::device

#endif  // CONCLAVE_COMM_NCCL_COMM_STATE_H_
