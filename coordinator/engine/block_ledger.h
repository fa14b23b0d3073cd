#ifndef CONCLAVE_COORDINATOR_ENGINE_BLOCK_LEDGER_H_
#define CONCLAVE_COORDINATOR_ENGINE_BLOCK_LEDGER_H_

// Who holds which K/V block of one rank, and which blocks hold known text (the prefix cache).

#include <array>
#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace conclave::coordinator {

// Equal to kernels::kKvBlockTokens, which the coordinator may not include.
inline constexpr int32_t kBlockTokens = 16;
constexpr int32_t blocks_for(int32_t tokens) { return (tokens + kBlockTokens - 1) / kBlockTokens; }

// Names the text that ends with a published block: two blocks have equal nodes only if all their
// tokens from the start of the sequence on are equal. 0 is the empty text.
using PrefixNode = uint64_t;

// Of the parent's node (or hash) and the tokens of one block.
using BlockHash = uint64_t (*)(uint64_t parent, std::span<const int32_t> tokens);
uint64_t hash_block(uint64_t parent, std::span<const int32_t> tokens);

struct CachedBlock {
  int32_t block = 0;
  PrefixNode node = 0;
};

// Reference-counted blocks. A published block that nobody references stays cached until its memory
// is needed; the least recently released goes first. Not thread-safe, deterministic.
//
// A lookup is keyed by (node of the parent, hash of the tokens) and compares the tokens themselves,
// so a hash collision costs time and never a wrong block. Callers release a sequence's blocks last
// block first; so a child is always evicted before its parent and no cached block becomes
// unreachable.
class BlockLedger {
 public:
  // hash: for tests, which prove with a bad one that only the tokens decide.
  BlockLedger(int32_t blocks, bool prefix_cache, BlockHash hash = hash_block);

  int32_t blocks() const { return static_cast<int32_t>(info_.size()); }
  int32_t used() const { return used_; }  // referenced
  int32_t cached() const {
    return static_cast<int32_t>(idle_.size());
  }                                                       // published, not referenced
  int32_t available() const { return blocks() - used_; }  // free or cached
  int32_t references(int32_t block) const { return info_[static_cast<size_t>(block)].references; }

  // The longest cached beginning of tokens, in whole blocks, at most max_blocks. Takes no
  // references.
  std::vector<CachedBlock> match(std::span<const int32_t> tokens, int32_t max_blocks) const;
  void acquire(int32_t block);  // of a published or referenced block
  std::optional<int32_t>
  allocate();  // a block with unspecified content and one reference; nothing if none is available
  // The referenced block now holds the kBlockTokens tokens that follow parent's text. If another
  // block holds the same text already, the reference moves there and the returned block differs.
  CachedBlock publish(int32_t block, PrefixNode parent, std::span<const int32_t> tokens);
  void release(int32_t block);

 private:
  struct Info {
    int32_t references = 0;
    PrefixNode node = 0;  // 0: not published
    PrefixNode parent = 0;
    uint64_t key = 0;
    std::array<int32_t, kBlockTokens> tokens{};
    std::list<int32_t>::iterator idle;  // valid while published and not referenced
  };
  std::optional<int32_t> find(PrefixNode parent, std::span<const int32_t> tokens) const;
  void forget(int32_t block);
  Info& info(int32_t block) { return info_[static_cast<size_t>(block)]; }

  bool prefix_cache_;
  BlockHash hash_;
  int32_t used_ = 0;
  PrefixNode next_node_ = 1;
  std::vector<Info> info_;
  std::vector<int32_t> free_;  // last is next
  std::list<int32_t> idle_;    // front is evicted first
  std::unordered_multimap<uint64_t, int32_t> published_;
};

// Chained hashes of the whole blocks of tokens: a hint which texts may be equal, never a proof.
std::vector<uint64_t> chained_block_hashes(std::span<const int32_t> tokens);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_BLOCK_LEDGER_H_
