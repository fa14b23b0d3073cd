#include "comm/nccl/nccl_library.h"

#include <dlfcn.h>

namespace conclave::device::cuda {
namespace {

constexpr char kName[] = "libnccl.so.2";
constexpr int kLeastVersion = 22803;

template <typename Function>
bool find(void* handle, const char* name, Function* out) {
  *out = reinterpret_cast<Function>(dlsym(handle, name));
  return *out != nullptr;
}

}  // namespace

bool NcclLibrary::resolve(void* handle) {
  return find(handle, "ncclGetUniqueId", &get_unique_id) &&
         find(handle, "ncclCommInitRankConfig", &init_rank) &&
         find(handle, "ncclCommGetAsyncError", &async_error) &&
         find(handle, "ncclCommAbort", &abort) && find(handle, "ncclAllGather", &all_gather) &&
         find(handle, "ncclAllReduce", &all_reduce) && find(handle, "ncclSend", &send) &&
         find(handle, "ncclRecv", &receive) && find(handle, "ncclGroupStart", &group_start) &&
         find(handle, "ncclGroupEnd", &group_end) &&
         find(handle, "ncclAlltoAll", &all_to_all) && find(handle, "ncclMemAlloc", &mem_alloc) &&
         find(handle, "ncclMemFree", &mem_free) &&
         find(handle, "ncclCommWindowRegister", &window_register) &&
         find(handle, "ncclGetErrorString", &error_string);
}

// The handle stays open: NCCL's threads outlive its communicators.
Status NcclLibrary::open(std::unique_ptr<NcclLibrary>* out) {
  void* handle = dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) return fail(kFailed, "NCCL is not installed (%s)", dlerror());
  decltype(&ncclGetVersion) get_version = nullptr;
  int version = 0;
  if (!find(handle, "ncclGetVersion", &get_version) || get_version(&version) != ncclSuccess ||
      version < kLeastVersion) {
    return fail(kFailed, "NCCL %d is too old, %d or newer is needed", version, kLeastVersion);
  }
  auto library = std::make_unique<NcclLibrary>();
  if (!library->resolve(handle)) return fail(kFailed, "%s lacks a function", kName);
  *out = std::move(library);
  return kOk;
}

}  // namespace conclave::device::cuda
