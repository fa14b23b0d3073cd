#include "worker/kv_cache.h"

#include <algorithm>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::worker {

absl::StatusOr<KvCache> KvCache::create(const Options& options) {
  uint64_t bytes_per_block = 0;
  for (const size_t bytes : options.block_bytes) bytes_per_block += align_region(bytes);
  KvCache cache;
  cache.blocks_ = options.blocks;
  if (options.blocks <= 0 && bytes_per_block > 0) {
    cache.blocks_ = static_cast<int32_t>(std::min<uint64_t>(
        options.memory_bytes / bytes_per_block, static_cast<uint64_t>(options.max_blocks)));
  }
  if (cache.blocks_ <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("K/V memory of ", options.memory_bytes, " bytes holds no block: one of ",
                     kernels::kKvBlockTokens, " tokens takes ", bytes_per_block,
                     " bytes; raise the K/V memory"));
  }
  const uint64_t bytes = bytes_per_block * static_cast<uint64_t>(cache.blocks_);
  // Memory is mapped, not touched: without this the rank would be killed in the middle of serving.
  if (bytes > options.available_bytes) {
    return absl::InvalidArgumentError(
        absl::StrCat(cache.blocks_, " K/V blocks take ", bytes >> 20, " MiB, but a rank's share of the host's ",
                     "free memory is ", options.available_bytes >> 20,
                     " MiB; lower --kv-blocks or --kv-memory"));
  }
  ASSIGN_OR_RETURN(cache.memory_, HostRegion::create(bytes, "the K/V cache"));
  RegionCursor cursor(cache.memory_.data());
  for (const size_t bytes : options.block_bytes) {
    const size_t stride = align_region(bytes);
    cache.layers_.push_back({cursor.take(stride * static_cast<size_t>(cache.blocks_)),
                             static_cast<int64_t>(stride)});
  }
  return cache;
}

}  // namespace conclave::worker
