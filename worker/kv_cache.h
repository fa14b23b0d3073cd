#ifndef CONCLAVE_WORKER_KV_CACHE_H_
#define CONCLAVE_WORKER_KV_CACHE_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernel_set.h"
#include "worker/host_region.h"

namespace conclave::worker {

// The K/V blocks of this rank: every layer has the same number of blocks, and block b of a sequence is
// block b of every layer. Which sequence owns which block is the scheduler's business.
class KvCache {
 public:
  struct Options {
    std::vector<size_t> block_bytes;  // [layers], of one block of kKvBlockTokens tokens
    int32_t blocks = 0;               // 0: as many as memory_bytes holds, at most max_blocks
    uint64_t memory_bytes = 0;
    int32_t max_blocks = 1 << 20;
    uint64_t available_bytes = ~uint64_t{0};  // free memory that is this rank's share
  };
  // INVALID_ARGUMENT: the memory holds not even one block, or more is wanted than available_bytes;
  // RESOURCE_EXHAUSTED: the mapping failed.
  static absl::StatusOr<KvCache> create(const Options& options);

  int32_t blocks() const { return blocks_; }
  uint64_t bytes() const { return memory_.bytes(); }
  kernels::KvLayerView layer(int32_t index) const { return layers_[index]; }

 private:
  int32_t blocks_ = 0;
  HostRegion memory_;
  std::vector<kernels::KvLayerView> layers_;
};

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_KV_CACHE_H_
