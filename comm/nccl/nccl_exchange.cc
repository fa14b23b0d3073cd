// Collectives by NCCL: between hosts, and where GPUs cannot write each other's memory.

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "comm/nccl/comm_state.h"

namespace conclave::device::cuda {
namespace {

constexpr double kInitSeconds = 60;
constexpr double kCallSeconds = 20;

double now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Communicators do not block: a call may go on in the background. Waits until it is over.
Status settle(Comm* comm, ncclResult_t result, double seconds, const char* operation) {
  const double begin = now();
  while (result == ncclInProgress && now() - begin < seconds) {
    if (comm->library->async_error(comm->nccl, &result) != ncclSuccess) break;
  }
  if (result == ncclSuccess) return kOk;
  if (result == ncclInProgress) {
    return fail(kPeerLost, "%s: not all ranks came within %.0f s", operation, seconds);
  }
  return fail(kPeerLost, "%s: %s", operation, comm->library->error_string(result));
}

}  // namespace

Status nccl_create(Context* context, Comm* comm) {
  // NVLink multicast can put the GPUs of a shared host out of service.
  setenv("NCCL_NVLS_ENABLE", "0", 1);
  Status status = NcclLibrary::open(&comm->library);
  if (!all_agree(*comm, status == kOk)) {
    return status != kOk ? status : fail(kPeerLost, "a peer cannot load NCCL");
  }
  ncclUniqueId id{};
  if (comm->rank == 0) comm->library->get_unique_id(&id);
  std::vector<ncclUniqueId> all(static_cast<size_t>(comm->size));
  if (comm->bootstrap.all_gather(comm->bootstrap.user, &id, all.data(), sizeof id) != 0) {
    return fail(kPeerLost, "the ranks did not exchange NCCL's id");
  }
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  // NCCL 2.28 cannot register windows of a communicator that does not block.
  config.blocking = comm->symmetric ? 1 : 0;
  const ncclResult_t result =
      comm->library->init_rank(&comm->nccl, comm->size, all[0], comm->rank, &config);
  return settle(comm, result, kInitSeconds, "ncclCommInitRankConfig");
}

void nccl_destroy(Comm* comm) {
  if (comm->nccl != nullptr) comm->library->abort(comm->nccl);
  comm->nccl = nullptr;
}

Status nccl_all_gather(Context* context, Stream* stream, Comm* comm, const GatherPart* parts,
                       int32_t count) {
  comm->library->group_start();
  for (int32_t i = 0; i < count; ++i) {
    comm->library->all_gather(parts[i].send, parts[i].recv, parts[i].bytes_per_rank, ncclInt8,
                              comm->nccl, native(stream));
  }
  return settle(comm, comm->library->group_end(), kCallSeconds, "ncclAllGather");
}

Status nccl_all_to_all(Context* context, Stream* stream, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes) {
  const size_t bytes = static_cast<size_t>(rows_per_rank) * row_bytes;
  if (comm->symmetric) {
    const ncclResult_t result =
        comm->library->all_to_all(send, recv, bytes, ncclInt8, comm->nccl, native(stream));
    return settle(comm, result, kCallSeconds, "ncclAlltoAll");
  }
  comm->library->group_start();
  for (int32_t rank = 0; rank < comm->size; ++rank) {
    if (rank == comm->rank) continue;
    const size_t at = static_cast<size_t>(rank) * bytes;
    comm->library->send(static_cast<const std::byte*>(send) + at, bytes, ncclInt8, rank, comm->nccl,
                        native(stream));
    comm->library->receive(static_cast<std::byte*>(recv) + at, bytes, ncclInt8, rank, comm->nccl,
                           native(stream));
  }
  return settle(comm, comm->library->group_end(), kCallSeconds, "ncclSend and ncclRecv");
}

Status nccl_all_reduce(Context* context, Stream* stream, Comm* comm, const float* send, float* recv,
                       int64_t count) {
  const ncclResult_t result = comm->library->all_reduce(
      send, recv, static_cast<size_t>(count), ncclFloat32, ncclSum, comm->nccl, native(stream));
  return settle(comm, result, kCallSeconds, "ncclAllReduce");
}

Status nccl_alloc_window(Comm* comm, size_t bytes, void** out) {
  *out = nullptr;
  const NcclLibrary& library = *comm->library;
  ncclResult_t result = library.mem_alloc(out, bytes);
  if (!all_agree(*comm, result == ncclSuccess)) {
    if (*out != nullptr) library.mem_free(*out);
    *out = nullptr;
    return fail(kNoMemory, "ncclMemAlloc of %zu bytes: %s", bytes,
                result == ncclSuccess ? "a peer has no memory" : library.error_string(result));
  }
  ncclWindow_t window = nullptr;
  result = library.window_register(comm->nccl, *out, bytes, &window, NCCL_WIN_COLL_SYMMETRIC);
  return settle(comm, result, kCallSeconds, "ncclCommWindowRegister");
}

Status nccl_check(Comm* comm) {
  if (comm->nccl == nullptr) return fail(kPeerLost, "the communicator was aborted");
  ncclResult_t result = ncclSuccess;
  comm->library->async_error(comm->nccl, &result);
  if (result == ncclSuccess || result == ncclInProgress) return kOk;
  return fail(kPeerLost, "NCCL: %s", comm->library->error_string(result));
}

}  // namespace conclave::device::cuda
