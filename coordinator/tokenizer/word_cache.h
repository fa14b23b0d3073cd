#ifndef CONCLAVE_COORDINATOR_TOKENIZER_WORD_CACHE_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_WORD_CACHE_H_

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"

namespace conclave::coordinator {

// Remembers the ids of words, since text repeats itself. Any thread; at most 64 Ki words of at most
// 64 bytes, so a few megabytes. A full shard forgets everything, which is cheaper than to keep
// order.
class WordCache {
 public:
  // Appends the word's ids to `ids` if it is known.
  bool lookup(std::string_view word, std::vector<int32_t>& ids) const;
  void store(std::string_view word, const int32_t* ids, size_t count) const;

 private:
  static constexpr size_t kShards = 16;
  static constexpr size_t kWordsPerShard = 4096;
  static constexpr size_t kMaxWordBytes = 64;
  struct Shard {
    std::mutex mutex;
    absl::flat_hash_map<std::string, std::vector<int32_t>> words;
  };
  Shard& shard_of(std::string_view word) const;

  // A cache does not change what its owner is, so encode() stays const.
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_WORD_CACHE_H_
