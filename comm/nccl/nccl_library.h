#ifndef CONCLAVE_COMM_NCCL_NCCL_LIBRARY_H_
#define CONCLAVE_COMM_NCCL_NCCL_LIBRARY_H_

#include <nccl.h>

#include <memory>

#include "kernels/device/cuda/context.h"

namespace conclave::device::cuda {

// NCCL's functions, found at run time: a host with one GPU needs no NCCL.
class NcclLibrary {
 public:
  // kFailed: NCCL is not there, or older than 2.28.3.
  static Status open(std::unique_ptr<NcclLibrary>* out);

  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init_rank = nullptr;
  decltype(&ncclCommGetAsyncError) async_error = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclAlltoAll) all_to_all = nullptr;
  decltype(&ncclMemAlloc) mem_alloc = nullptr;
  decltype(&ncclMemFree) mem_free = nullptr;
  decltype(&ncclCommWindowRegister) window_register = nullptr;
  decltype(&ncclGetErrorString) error_string = nullptr;

 private:
  bool resolve(void* handle);
};

}  // namespace conclave::device::cuda

#endif  // CONCLAVE_COMM_NCCL_NCCL_LIBRARY_H_
