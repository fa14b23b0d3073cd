#include "coordinator/engine/block_ledger.h"

#include <algorithm>
#include <numeric>

namespace conclave::coordinator {
namespace {

// Finaliser of SplitMix64 over each word: cheap, and good enough since nobody trusts it.
uint64_t mix(uint64_t state, uint64_t word) {
  uint64_t value = state ^ (word + 0x9e3779b97f4a7c15u + (state << 6) + (state >> 2));
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

}  // namespace

uint64_t hash_block(uint64_t parent, std::span<const int32_t> tokens) {
  uint64_t hash = mix(0, parent);
  for (const int32_t token : tokens) hash = mix(hash, static_cast<uint32_t>(token));
  return hash;
}

BlockLedger::BlockLedger(int32_t blocks, bool prefix_cache, BlockHash hash)
    : prefix_cache_(prefix_cache),
      hash_(hash),
      info_(static_cast<size_t>(std::max(blocks, 0))),
      free_(info_.size()) {
  std::iota(free_.rbegin(), free_.rend(), 0);  // block 0 first
}

std::optional<int32_t> BlockLedger::find(PrefixNode parent, std::span<const int32_t> tokens) const {
  const auto [begin, end] = published_.equal_range(hash_(parent, tokens));
  for (auto it = begin; it != end; ++it) {
    const Info& candidate = info_[static_cast<size_t>(it->second)];
    if (candidate.parent == parent &&
        std::equal(tokens.begin(), tokens.end(), candidate.tokens.begin())) {
      return it->second;
    }
  }
  return std::nullopt;
}

std::vector<CachedBlock> BlockLedger::match(std::span<const int32_t> tokens,
                                            int32_t max_blocks) const {
  std::vector<CachedBlock> matched;
  PrefixNode parent = 0;
  while (static_cast<int32_t>(matched.size()) < max_blocks &&
         tokens.size() >= (matched.size() + 1) * kBlockTokens) {
    const auto block = find(parent, tokens.subspan(matched.size() * kBlockTokens, kBlockTokens));
    if (!block) break;
    parent = info_[static_cast<size_t>(*block)].node;
    matched.push_back({*block, parent});
  }
  return matched;
}

void BlockLedger::acquire(int32_t block) {
  Info& entry = info(block);
  if (entry.references++ > 0) return;
  idle_.erase(entry.idle);
  ++used_;
}

std::optional<int32_t> BlockLedger::allocate() {
  if (free_.empty()) {
    if (idle_.empty()) return std::nullopt;
    const int32_t evicted = idle_.front();
    idle_.pop_front();
    forget(evicted);
    free_.push_back(evicted);
  }
  const int32_t block = free_.back();
  free_.pop_back();
  info(block).references = 1;
  ++used_;
  return block;
}

CachedBlock BlockLedger::publish(int32_t block, PrefixNode parent,
                                 std::span<const int32_t> tokens) {
  if (!prefix_cache_) return {block, 0};
  if (const auto existing = find(parent, tokens); existing && *existing != block) {
    acquire(*existing);
    release(block);
    return {*existing, info(*existing).node};
  }
  Info& entry = info(block);
  entry.node = next_node_++;
  entry.parent = parent;
  entry.key = hash_(parent, tokens);
  std::copy(tokens.begin(), tokens.end(), entry.tokens.begin());
  published_.emplace(entry.key, block);
  return {block, entry.node};
}

void BlockLedger::release(int32_t block) {
  Info& entry = info(block);
  if (--entry.references > 0) return;
  --used_;
  if (entry.node != 0) {
    entry.idle = idle_.insert(idle_.end(), block);
  } else {
    free_.push_back(block);
  }
}

void BlockLedger::forget(int32_t block) {
  Info& entry = info(block);
  const auto [begin, end] = published_.equal_range(entry.key);
  for (auto it = begin; it != end; ++it) {
    if (it->second == block) {
      published_.erase(it);
      break;
    }
  }
  entry.node = 0;
}

std::vector<uint64_t> chained_block_hashes(std::span<const int32_t> tokens) {
  std::vector<uint64_t> hashes;
  hashes.reserve(tokens.size() / kBlockTokens);
  uint64_t parent = 0;
  for (size_t at = 0; at + kBlockTokens <= tokens.size(); at += kBlockTokens) {
    parent = hash_block(parent, tokens.subspan(at, kBlockTokens));
    hashes.push_back(parent);
  }
  return hashes;
}

}  // namespace conclave::coordinator
