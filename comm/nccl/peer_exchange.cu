// Collectives by stores into the peers' memory (CUDA IPC), one kernel each. A rank writes what the
// others shall have, then raises its epoch in each peer's signals, then waits for theirs. When a
// collective ends on a rank, everything that any rank enqueued before that collective has run; so a
// buffer that was read before the collective in between may be written again without another
// barrier.

#include <algorithm>

#include "comm/nccl/comm_state.h"

namespace conclave::device::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kMaxBlocks = 64;
static_assert(kMaxBlocks <= PeerSignals::kMaxBlocks);
constexpr unsigned long long kWaitNanoseconds = 20ull * 1000 * 1000 * 1000;
constexpr int32_t kMaxParts = 2;
constexpr int64_t kStagingFloats = int64_t{1} << 16;  // of one rank and parity

struct Peers {
  int32_t rank;
  int32_t size;
  PeerSignals* signals[kMaxPeers];  // of each rank
  PeerLocal* local;
  PeerWatch* watch;
};

__device__ void store_release(uint32_t* at, uint32_t value) {
  asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(at), "r"(value) : "memory");
}
__device__ uint32_t load_acquire(const uint32_t* at) {
  uint32_t value;
  asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(at) : "memory");
  return value;
}
__device__ unsigned long long nanoseconds() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

// Until a peer's signal reaches the epoch, the host aborts, or the time is up.
__device__ void wait_for(const uint32_t* signal, uint32_t epoch, int32_t peer, PeerWatch* watch) {
  const unsigned long long begin = nanoseconds();
  for (int spins = 1; static_cast<int32_t>(load_acquire(signal) - epoch) < 0; ++spins) {
    if (spins % 1024 != 0) continue;
    if (watch->abort != 0 || watch->lost_peer != 0) return;
    if (nanoseconds() - begin > kWaitNanoseconds) watch->lost_peer = peer + 1;
  }
}

// Called by all threads of all blocks after their stores; the last block tells the peers and waits.
__device__ void finish(const Peers& peers) {
  __shared__ bool last;
  // The barrier orders the block's stores before thread 0, whose fence then covers them all.
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence_system();
    last = atomicAdd(&peers.local->arrived, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  const uint32_t epoch = peers.local->epoch + 1;
  const auto peer = static_cast<int32_t>(threadIdx.x);
  if (peer < peers.size && peer != peers.rank) {
    __threadfence_system();
    store_release(&peers.signals[peer]->done[peers.rank], epoch);
    wait_for(&peers.signals[peers.rank]->done[peer], epoch, peer, peers.watch);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    peers.local->arrived = 0;
    peers.local->epoch = epoch;
  }
}

template <typename Unit>
__device__ void copy_units(void* to, const void* from, size_t bytes, size_t first, size_t step) {
  for (size_t i = first; i < bytes / sizeof(Unit); i += step) {
    static_cast<Unit*>(to)[i] = static_cast<const Unit*>(from)[i];
  }
}

// Thread `first` of `step` threads that copy together; 16 bytes at a time where both sides allow
// it.
__device__ void copy_bytes(void* to, const void* from, size_t bytes, size_t first, size_t step) {
  const size_t odd = reinterpret_cast<size_t>(to) | reinterpret_cast<size_t>(from) | bytes;
  if (odd % sizeof(uint4) == 0) {
    copy_units<uint4>(to, from, bytes, first, step);
  } else if (odd % sizeof(uint32_t) == 0) {
    copy_units<uint32_t>(to, from, bytes, first, step);
  } else {
    copy_units<uint16_t>(to, from, bytes, first, step);
  }
}

struct GatherWork {
  const void* send[kMaxParts];
  void* recv[kMaxParts][kMaxPeers];  // this rank's block in each rank's memory
  size_t bytes[kMaxParts];
  int32_t parts;
};

__global__ void __launch_bounds__(kThreads) gather_kernel(Peers peers, GatherWork work) {
  const size_t first = blockIdx.x * static_cast<size_t>(kThreads) + threadIdx.x;
  const size_t step = gridDim.x * static_cast<size_t>(kThreads);
  for (int32_t part = 0; part < work.parts; ++part) {
    for (int32_t i = 0; i < peers.size; ++i) {
      const int32_t rank = (peers.rank + i) % peers.size;
      void* to = work.recv[part][rank];
      if (to != work.send[part]) copy_bytes(to, work.send[part], work.bytes[part], first, step);
    }
  }
  finish(peers);
}

struct RowWork {
  const char* send;
  char* recv[kMaxPeers];  // recv of each rank
  int32_t rows_per_rank;
  size_t row_bytes;
  const int32_t* rows;  // null: all
  const int32_t* count;
};

// A warp moves a row.
__global__ void __launch_bounds__(kThreads) rows_kernel(Peers peers, RowWork work) {
  constexpr int kWarps = kThreads / 32;
  const int32_t listed = work.rows != nullptr ? *work.count : work.rows_per_rank * peers.size;
  const auto warps = static_cast<int32_t>(gridDim.x * kWarps);
  for (auto i = static_cast<int32_t>(blockIdx.x * kWarps + threadIdx.x / 32); i < listed;
       i += warps) {
    const int32_t row = work.rows != nullptr ? work.rows[i] : i;
    const int32_t rank = row / work.rows_per_rank;
    if (rank == peers.rank) continue;
    const int64_t at = int64_t{peers.rank} * work.rows_per_rank + row % work.rows_per_rank;
    copy_bytes(work.recv[rank] + at * work.row_bytes, work.send + row * work.row_bytes,
               work.row_bytes, threadIdx.x % 32, 32);
  }
  finish(peers);
}

struct ReduceWork {
  const float* send;
  float* recv;
  float* staging[kMaxPeers];  // of each rank: [parity][from][kStagingFloats]
  int64_t count;
};

// One shot: everybody gets everybody's numbers and adds them in rank order. Block b needs only what
// the blocks b of the others wrote.
__global__ void __launch_bounds__(kThreads) reduce_kernel(Peers peers, ReduceWork work) {
  const uint32_t epoch = peers.local->epoch + 1;
  const int64_t parity = epoch % 2;
  const size_t step = gridDim.x * static_cast<size_t>(kThreads);
  const size_t first = blockIdx.x * static_cast<size_t>(kThreads) + threadIdx.x;
  for (int32_t i = 1; i < peers.size; ++i) {
    const int32_t rank = (peers.rank + i) % peers.size;
    float* to = work.staging[rank] + (parity * peers.size + peers.rank) * kStagingFloats;
    for (int64_t at = first; at < work.count; at += step) to[at] = work.send[at];
  }
  __syncthreads();
  const auto peer = static_cast<int32_t>(threadIdx.x);
  if (peer < peers.size && peer != peers.rank) {
    __threadfence_system();
    store_release(&peers.signals[peer]->block[peers.rank][blockIdx.x], epoch);
    wait_for(&peers.signals[peers.rank]->block[peer][blockIdx.x], epoch, peer, peers.watch);
  }
  __syncthreads();
  const float* own = work.staging[peers.rank] + parity * peers.size * kStagingFloats;
  for (int64_t at = first; at < work.count; at += step) {
    float sum = 0;
    for (int32_t rank = 0; rank < peers.size; ++rank) {
      const float value =
          rank == peers.rank ? work.send[at] : __ldcv(own + rank * kStagingFloats + at);
      sum = rank == 0 ? value : sum + value;
    }
    work.recv[at] = sum;
  }
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(&peers.local->arrived, 1u) == gridDim.x - 1;
  __syncthreads();
  if (!last || threadIdx.x != 0) return;
  peers.local->arrived = 0;
  peers.local->epoch = epoch;
  // The other collectives wait on `done`; an all-reduce must count there as well.
  for (int32_t rank = 0; rank < peers.size; ++rank) {
    if (rank != peers.rank) store_release(&peers.signals[rank]->done[peers.rank], epoch);
  }
}

Peers peers_of(const Comm& comm) {
  Peers peers{};
  peers.rank = comm.rank;
  peers.size = comm.size;
  const SharedAllocation& signals = comm.allocations[static_cast<size_t>(comm.signals)];
  for (int32_t rank = 0; rank < comm.size; ++rank) {
    peers.signals[rank] = reinterpret_cast<PeerSignals*>(signals.of_rank[rank]);
  }
  peers.local = comm.local;
  peers.watch = comm.watch;
  return peers;
}

int blocks_for(size_t work, size_t per_block) {
  return static_cast<int>(std::clamp<size_t>((work + per_block - 1) / per_block, 1, kMaxBlocks));
}

}  // namespace

Status peer_create(Context* context, Comm* comm) {
  void* watch = nullptr;
  void* local = nullptr;
  Status status =
      check(cudaHostAlloc(&watch, sizeof(PeerWatch), cudaHostAllocMapped), "cudaHostAlloc");
  comm->watch = static_cast<PeerWatch*>(watch);
  if (status == kOk) status = check(cudaMalloc(&local, sizeof(PeerLocal)), "cudaMalloc");
  comm->local = static_cast<PeerLocal*>(local);
  if (status != kOk) return status;
  comm->watch->abort = 0;
  comm->watch->lost_peer = 0;
  cudaMemset(local, 0, sizeof(PeerLocal));
  status = share_allocation(context, comm, sizeof(PeerSignals), &comm->signals);
  if (status != kOk) return status;
  const size_t staging =
      2 * static_cast<size_t>(comm->size) * static_cast<size_t>(kStagingFloats) * sizeof(float);
  status = share_allocation(context, comm, staging, &comm->staging);
  if (status != kOk) return status;
  cudaMemset(comm->allocations[static_cast<size_t>(comm->signals)].own, 0, sizeof(PeerSignals));
  status = check(cudaDeviceSynchronize(), "clearing signals");
  // Nobody may signal before all have cleared.
  if (all_agree(*comm, status == kOk)) return kOk;
  return status != kOk ? status : fail(kPeerLost, "a peer failed to set up its signals");
}

void peer_destroy(Comm* comm) {
  cudaFreeHost(comm->watch);
  cudaFree(comm->local);
}

Status peer_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count) {
  if (count > kMaxParts) return fail(kInvalidArgument, "an all-gather of %d parts", count);
  GatherWork work{};
  work.parts = count;
  size_t bytes = 0;
  for (int32_t part = 0; part < count; ++part) {
    const SharedAllocation* recv = allocation_of(*comm, parts[part].recv);
    if (recv == nullptr) return fail(kInvalidArgument, "recv is not from comm_alloc");
    const size_t at = static_cast<std::byte*>(parts[part].recv) - recv->own +
                      static_cast<size_t>(comm->rank) * parts[part].bytes_per_rank;
    for (int32_t rank = 0; rank < comm->size; ++rank)
      work.recv[part][rank] = recv->of_rank[rank] + at;
    work.send[part] = parts[part].send;
    work.bytes[part] = parts[part].bytes_per_rank;
    bytes += parts[part].bytes_per_rank;
  }
  constexpr size_t kBytesPerBlock = size_t{kThreads} * sizeof(uint4) * 2;
  gather_kernel<<<blocks_for(bytes, kBytesPerBlock), kThreads, 0, native(stream)>>>(peers_of(*comm),
                                                                                    work);
  return launched("peer gather", static_cast<int64_t>(bytes));
}

Status peer_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count) {
  const SharedAllocation* allocation = allocation_of(*comm, recv);
  if (allocation == nullptr) return fail(kInvalidArgument, "recv is not from comm_alloc");
  RowWork work{};
  work.send = static_cast<const char*>(send);
  for (int32_t rank = 0; rank < comm->size; ++rank) {
    work.recv[rank] = reinterpret_cast<char*>(allocation->of_rank[rank]) +
                      (static_cast<std::byte*>(recv) - allocation->own);
  }
  work.rows_per_rank = rows_per_rank;
  work.row_bytes = row_bytes;
  work.rows = rows;
  work.count = count;
  const size_t listed = static_cast<size_t>(rows_per_rank) * static_cast<size_t>(comm->size);
  rows_kernel<<<blocks_for(listed, kThreads / 32), kThreads, 0, native(stream)>>>(peers_of(*comm),
                                                                                  work);
  return launched("peer rows", static_cast<int64_t>(listed), 0, static_cast<int64_t>(row_bytes));
}

Status peer_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count) {
  const SharedAllocation& staging = comm->allocations[static_cast<size_t>(comm->staging)];
  for (int64_t done = 0; done < count; done += kStagingFloats) {
    ReduceWork work{};
    work.send = send + done;
    work.recv = recv + done;
    work.count = std::min(kStagingFloats, count - done);
    for (int32_t rank = 0; rank < comm->size; ++rank) {
      work.staging[rank] = reinterpret_cast<float*>(staging.of_rank[rank]);
    }
    const int blocks = blocks_for(static_cast<size_t>(work.count), size_t{kThreads} * 2);
    reduce_kernel<<<blocks, kThreads, 0, native(stream)>>>(peers_of(*comm), work);
    const Status status = launched("peer reduce", work.count);
    if (status != kOk) return status;
  }
  return kOk;
}

}  // namespace conclave::device::cuda
