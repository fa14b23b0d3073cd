#include "coordinator/tokenizer/word_cache.h"

#include <functional>

#include "absl/strings/string_view.h"

namespace conclave::coordinator {

WordCache::Shard& WordCache::shard_of(std::string_view word) const {
  return shards_[std::hash<std::string_view>{}(word) % kShards];
}

bool WordCache::lookup(std::string_view word, std::vector<int32_t>& ids) const {
  if (word.size() > kMaxWordBytes) return false;
  Shard& shard = shard_of(word);
  const std::lock_guard<std::mutex> lock(shard.mutex);
  const auto it = shard.words.find(absl::string_view(word.data(), word.size()));
  if (it == shard.words.end()) return false;
  ids.insert(ids.end(), it->second.begin(), it->second.end());
  return true;
}

void WordCache::store(std::string_view word, const int32_t* ids, size_t count) const {
  if (word.size() > kMaxWordBytes) return;
  Shard& shard = shard_of(word);
  const std::lock_guard<std::mutex> lock(shard.mutex);
  if (shard.words.size() >= kWordsPerShard) shard.words.clear();
  shard.words.try_emplace(std::string(word), ids, ids + count);
}

}  // namespace conclave::coordinator
