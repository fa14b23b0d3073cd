#ifndef CONCLAVE_WORKER_KV_MOVER_H_
#define CONCLAVE_WORKER_KV_MOVER_H_

// Copies K/V blocks of sequences that change their home to their new rank, before the step writes
// anything. Ranks of a group run one kernel set, so a block's bytes mean the same on all of them.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "comm/communicator.h"
#include "protocol/step_plan.h"
#include "worker/kv_cache.h"

namespace conclave::worker {

class KvMover {
 public:
  // All outlive the mover.
  KvMover(comm::Communicator* communicator, KvCache* kv, int32_t layers)
      : communicator_(communicator), kv_(kv), layers_(layers) {}

  // One exchange if there are moves. INVALID_ARGUMENT: a move names ranks or blocks that do not exist.
  absl::Status run(std::span<const protocol::KvMove> moves, int64_t step, Deadline deadline);

 private:
  absl::Status check(const protocol::KvMove& move) const;
  size_t bytes(size_t blocks) const;
  void pack(const protocol::KvMove& move, std::vector<std::byte>* out) const;
  void unpack(const protocol::KvMove& move, const std::byte* in) const;

  comm::Communicator* communicator_;
  KvCache* kv_;
  int32_t layers_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_KV_MOVER_H_
