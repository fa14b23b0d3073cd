// The collective part of the device table: which way the ranks talk, and their shared memory.

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "comm/nccl/comm_state.h"

namespace conclave::device::cuda {
namespace {

// Allocations of their own pages: an IPC handle gives the peer all of a page.
constexpr size_t kSharedPage = size_t{2} << 20;

// Who a rank is, so that the others know whether they can write its memory.
struct Identity {
  char boot[64];
  int64_t process;
  int32_t device;
  char bus[32];
};

Identity identify(const Context& context) {
  Identity identity{};
  if (std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "r"); file != nullptr) {
    if (std::fgets(identity.boot, sizeof identity.boot, file) == nullptr) identity.boot[0] = 0;
    std::fclose(file);
  }
  identity.process = getpid();
  identity.device = context.index;
  cudaDeviceGetPCIBusId(identity.bus, sizeof identity.bus, context.index);
  return identity;
}

// Peer memory needs one host and GPUs that reach each other.
bool peers_reachable(const Context& context, const Comm& comm) {
  if (comm.size > kMaxPeers) return false;
  const Identity own = identify(context);
  std::vector<Identity> all(static_cast<size_t>(comm.size));
  if (comm.bootstrap.all_gather(comm.bootstrap.user, &own, all.data(), sizeof own) != 0) {
    return false;
  }
  bool reachable = true;
  for (int32_t rank = 0; rank < comm.size; ++rank) {
    if (rank == comm.rank) continue;
    const Identity& other = all[static_cast<size_t>(rank)];
    if (std::strcmp(own.boot, other.boot) != 0) reachable = false;
    if (std::strcmp(own.bus, other.bus) == 0) continue;
    int device = -1;
    int can = 0;
    if (cudaDeviceGetByPCIBusId(&device, other.bus) != cudaSuccess ||
        cudaDeviceCanAccessPeer(&can, context.index, device) != cudaSuccess || can == 0) {
      cudaGetLastError();
      reachable = false;
    }
  }
  return all_agree(comm, reachable);
}

struct SharedHandle {
  cudaIpcMemHandle_t handle;
  int32_t made;
  int32_t device;
  int64_t process;
  void* address;
};

// Ranks of one process (tests, threads as ranks) share an address space; a handle of one's own process
// cannot be opened.
cudaError_t map_peer(const SharedHandle& own, const SharedHandle& other, void** mapped) {
  if (other.process != own.process) {
    return cudaIpcOpenMemHandle(mapped, other.handle, cudaIpcMemLazyEnablePeerAccess);
  }
  *mapped = other.address;
  if (other.device == own.device) return cudaSuccess;
  const cudaError_t error = cudaDeviceEnablePeerAccess(other.device, 0);
  if (error != cudaErrorPeerAccessAlreadyEnabled) return error;
  cudaGetLastError();
  return cudaSuccess;
}

Status map_peers(const Context& context, const Comm& comm, SharedAllocation* allocation) {
  SharedHandle own{};
  own.made = cudaIpcGetMemHandle(&own.handle, allocation->own) == cudaSuccess ? 1 : 0;
  own.device = context.index;
  own.process = getpid();
  own.address = allocation->own;
  std::vector<SharedHandle> all(static_cast<size_t>(comm.size));
  if (comm.bootstrap.all_gather(comm.bootstrap.user, &own, all.data(), sizeof own) != 0) {
    return fail(kPeerLost, "the ranks did not exchange their memory handles");
  }
  cudaError_t error = cudaSuccess;
  for (int32_t rank = 0; rank < comm.size; ++rank) {
    if (rank == comm.rank) {
      allocation->of_rank[rank] = allocation->own;
      continue;
    }
    if (all[static_cast<size_t>(rank)].made == 0) error = cudaErrorInvalidValue;
    if (error != cudaSuccess) break;
    void* mapped = nullptr;
    const SharedHandle& other = all[static_cast<size_t>(rank)];
    error = map_peer(own, other, &mapped);
    allocation->of_rank[rank] = static_cast<std::byte*>(mapped);
    allocation->mapped[rank] = error == cudaSuccess && other.process != own.process;
  }
  const Status status = check(error, "mapping a peer GPU's memory");
  if (all_agree(comm, status == kOk)) return kOk;
  return status != kOk ? status : fail(kPeerLost, "a peer could not map this GPU's memory");
}

}  // namespace

bool all_agree(const Comm& comm, bool own) {
  const int32_t mine = own ? 1 : 0;
  std::vector<int32_t> all(static_cast<size_t>(comm.size));
  if (comm.bootstrap.all_gather(comm.bootstrap.user, &mine, all.data(), sizeof mine) != 0) {
    return false;
  }
  for (const int32_t one : all) {
    if (one == 0) return false;
  }
  return true;
}

Status share_allocation(Context* context, Comm* comm, size_t bytes, int32_t* index) {
  SharedAllocation allocation;
  allocation.bytes = bytes;
  void* memory = nullptr;
  const size_t whole = (bytes + kSharedPage - 1) / kSharedPage * kSharedPage;
  Status status;
  if (comm->symmetric) {
    status = nccl_alloc_window(comm, whole, &memory);
    allocation.of_nccl = true;
    allocation.own = static_cast<std::byte*>(memory);
    *index = static_cast<int32_t>(comm->allocations.size());
    if (memory != nullptr) comm->allocations.push_back(allocation);
    return status;
  }
  status = check(cudaMalloc(&memory, whole), "cudaMalloc of exchange buffers");
  if (!all_agree(*comm, status == kOk)) {
    cudaFree(memory);
    return status != kOk ? status : fail(kNoMemory, "a peer has no memory for exchange buffers");
  }
  allocation.own = static_cast<std::byte*>(memory);
  allocation.of_rank[comm->rank] = allocation.own;
  if (comm->peer) status = map_peers(*context, *comm, &allocation);
  *index = static_cast<int32_t>(comm->allocations.size());
  comm->allocations.push_back(allocation);
  return status;
}

const SharedAllocation* allocation_of(const Comm& comm, const void* address) {
  const auto* wanted = static_cast<const std::byte*>(address);
  for (const SharedAllocation& allocation : comm.allocations) {
    if (wanted >= allocation.own && wanted < allocation.own + allocation.bytes) return &allocation;
  }
  return nullptr;
}

Status comm_create(Context* context, const CommBootstrap* bootstrap, int32_t kind, Comm** out) {
  auto comm = std::make_unique<Comm>();
  comm->rank = bootstrap->rank;
  comm->size = bootstrap->size;
  comm->bootstrap = *bootstrap;
  Status status = check(cudaSetDevice(context->index), "cudaSetDevice");
  if (!all_agree(*comm, status == kOk)) {
    return status != kOk ? status : fail(kPeerLost, "a peer has no usable GPU");
  }
  const bool nccl = kind == kCommNccl || kind == kCommNcclSymmetric;
  const bool reachable = !nccl && peers_reachable(*context, *comm);
  comm->symmetric = kind == kCommNcclSymmetric;
  if (kind == kCommPeer && !reachable) {
    return fail(kUnimplemented, "the GPUs of this group cannot write each other's memory");
  }
  comm->peer = reachable;
  status = reachable ? peer_create(context, comm.get()) : nccl_create(context, comm.get());
  *out = comm.release();
  if (status == kOk) return kOk;
  comm_destroy(context, *out);
  *out = nullptr;
  return status;
}

void comm_destroy(Context* context, Comm* comm) {
  if (comm == nullptr) return;
  cudaSetDevice(context->index);
  comm->peer ? peer_destroy(comm) : nccl_destroy(comm);
  for (const SharedAllocation& allocation : comm->allocations) {
    for (int32_t rank = 0; rank < comm->size; ++rank) {
      if (allocation.mapped[rank]) cudaIpcCloseMemHandle(allocation.of_rank[rank]);
    }
    if (allocation.of_nccl) {
      comm->library->mem_free(allocation.own);
    } else {
      cudaFree(allocation.own);
    }
  }
  delete comm;
}

const char* comm_name(Context* context, Comm* comm) {
  if (comm->peer) return "peer";
  return comm->symmetric ? "nccl-symmetric" : "nccl";
}

Status comm_alloc(Context* context, Comm* comm, size_t bytes, void** out) {
  int32_t index = -1;
  const Status status = share_allocation(context, comm, bytes, &index);
  if (status == kOk) *out = comm->allocations[static_cast<size_t>(index)].own;
  return status;
}

Status comm_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count) {
  return comm->peer ? peer_all_gather(context, stream, comm, parts, count)
                    : nccl_all_gather(context, stream, comm, parts, count);
}

Status comm_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count) {
  return comm->peer ? peer_all_to_all(context, stream, comm, send, recv, rows_per_rank, row_bytes,
                                      rows, count)
                    : nccl_all_to_all(context, stream, comm, send, recv, rows_per_rank, row_bytes);
}

Status comm_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count) {
  return comm->peer ? peer_all_reduce(context, stream, comm, send, recv, count)
                    : nccl_all_reduce(context, stream, comm, send, recv, count);
}

Status comm_check(Context* context, Comm* comm, int32_t* peer) {
  *peer = -1;
  if (!comm->peer) return nccl_check(comm);
  const int32_t lost = comm->watch->lost_peer;
  if (lost == 0) return kOk;
  *peer = lost - 1;
  return fail(kPeerLost, "it did not take part in a collective in time");
}

void comm_abort(Context* context, Comm* comm) {
  if (comm->peer) {
    comm->watch->abort = 1;
  } else if (comm->nccl != nullptr) {
    comm->library->abort(comm->nccl);
    comm->nccl = nullptr;
  }
}

}  // namespace conclave::device::cuda
