// The fake device: its collectives, and the table put together from its parts.

#include "tests/support/fake_device_ops.h"

#include <vector>

#include "tests/support/fake_device_comm.h"
#include "tests/support/fake_device_context.h"

namespace conclave::device {
namespace fake {
namespace {

Status comm_create(Context* context, const CommBootstrap* bootstrap, int32_t, Comm** out) {
  const Status status = fake_comm_create(bootstrap, out);
  return status == kOk ? kOk : context->fail(status, "the ranks did not meet");
}
void comm_destroy(Context*, Comm* comm) { fake_comm_destroy(comm); }
const char* comm_name(Context*, Comm*) { return "fake"; }
Status comm_alloc(Context*, Comm* comm, size_t bytes, void** out) {
  return fake_comm_alloc(comm, bytes, out);
}
Status comm_all_gather(Context* context, Stream*, Comm* comm, const GatherPart* parts,
                       int32_t count) {
  const std::vector<GatherPart> all(parts, parts + count);
  return context->enqueue([=] {
    for (const GatherPart& part : all) {
      if (!fake_all_gather(comm, part)) context->failed = true;
    }
  });
}
Status comm_all_to_all(Context* context, Stream*, Comm* comm, const void* send, void* recv,
                       int32_t rows_per_rank, size_t row_bytes, const int32_t* rows,
                       const int32_t* count) {
  return context->enqueue([=] {
    if (!fake_all_to_all(comm, send, recv, rows_per_rank, row_bytes, rows, count)) {
      context->failed = true;
    }
  });
}
Status comm_all_reduce(Context* context, Stream*, Comm* comm, const float* send, float* recv,
                       int64_t count) {
  return context->enqueue([=] {
    if (!fake_all_reduce(comm, send, recv, count)) context->failed = true;
  });
}
Status comm_check(Context* context, Comm* comm, int32_t* peer) {
  *peer = -1;
  return comm->meeting->broken() ? context->fail(kPeerLost, "a rank is late or gone") : kOk;
}
void comm_abort(Context*, Comm* comm) { comm->meeting->abort(); }

Status matmul_peak(Context* context, Stream*, int32_t, double*) {
  return context->fail(kUnimplemented, "host memory has no matrix units");
}

DeviceOps make_table() {
  DeviceOps table{};
  table.abi_version = kAbiVersion;
  table.struct_bytes = sizeof(DeviceOps);
  table.name = "fake";
  add_memory(&table);
  add_weights(&table);
  add_rows(&table);
  add_experts(&table);
  add_sampler(&table);
  table.comm_create = comm_create;
  table.comm_destroy = comm_destroy;
  table.comm_name = comm_name;
  table.comm_alloc = comm_alloc;
  table.comm_all_gather = comm_all_gather;
  table.comm_all_to_all = comm_all_to_all;
  table.comm_all_reduce = comm_all_reduce;
  table.comm_check = comm_check;
  table.comm_abort = comm_abort;
  table.matmul_peak = matmul_peak;
  return table;
}

}  // namespace
}  // namespace fake

const DeviceOps* fake_device_ops() {
  static const DeviceOps table = fake::make_table();
  return &table;
}

}  // namespace conclave::device
