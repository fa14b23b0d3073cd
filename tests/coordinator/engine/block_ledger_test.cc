#include "coordinator/engine/block_ledger.h"

#include <map>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

std::vector<int32_t> text(int32_t blocks, int32_t salt = 0) {
  std::vector<int32_t> tokens;
  for (int32_t i = 0; i < blocks * kBlockTokens; ++i) tokens.push_back(i * 7 + salt);
  return tokens;
}

// Allocates and publishes all whole blocks of tokens; returns the blocks.
std::vector<int32_t> fill(BlockLedger& ledger, const std::vector<int32_t>& tokens) {
  std::vector<int32_t> blocks;
  PrefixNode node = 0;
  for (size_t at = 0; at + kBlockTokens <= tokens.size(); at += kBlockTokens) {
    const auto block = ledger.allocate();
    EXPECT_TRUE(block.has_value());
    const CachedBlock cached =
        ledger.publish(*block, node, std::span(tokens).subspan(at, kBlockTokens));
    node = cached.node;
    blocks.push_back(cached.block);
  }
  return blocks;
}

void release_all(BlockLedger& ledger, const std::vector<int32_t>& blocks) {
  for (auto it = blocks.rbegin(); it != blocks.rend(); ++it) ledger.release(*it);
}

TEST(BlockLedger, HandsOutEachBlockOnceAndTakesItBack) {
  BlockLedger ledger(3, true);
  EXPECT_EQ(ledger.allocate(), 0);
  EXPECT_EQ(ledger.allocate(), 1);
  EXPECT_EQ(ledger.allocate(), 2);
  EXPECT_EQ(ledger.allocate(), std::nullopt);
  EXPECT_EQ(ledger.used(), 3);
  ledger.release(1);
  EXPECT_EQ(ledger.available(), 1);
  EXPECT_EQ(ledger.allocate(), 1);
}

TEST(BlockLedger, FindsTheLongestPublishedBeginning) {
  BlockLedger ledger(8, true);
  const auto blocks = fill(ledger, text(3));
  auto query = text(3);
  EXPECT_EQ(ledger.match(query, 8).size(), 3u);
  EXPECT_EQ(ledger.match(query, 2).size(), 2u);
  query[kBlockTokens + 3] += 1;  // differs in the second block
  const auto matched = ledger.match(query, 8);
  ASSERT_EQ(matched.size(), 1u);
  EXPECT_EQ(matched[0].block, blocks[0]);
  query.resize(kBlockTokens - 1);
  EXPECT_TRUE(ledger.match(query, 8).empty());
}

TEST(BlockLedger, EqualBlocksAfterDifferentBeginningsAreNotConfused) {
  BlockLedger ledger(8, true);
  auto first = text(2, 0);
  auto second = text(2, 1);
  std::copy(first.begin() + kBlockTokens, first.end(), second.begin() + kBlockTokens);
  const auto first_blocks = fill(ledger, first);
  const auto second_blocks = fill(ledger, second);
  EXPECT_NE(first_blocks[1], second_blocks[1]);
  EXPECT_EQ(ledger.match(second, 8)[1].block, second_blocks[1]);
}

TEST(BlockLedger, PublishingTheSameTextTwiceSharesTheFirstBlock) {
  BlockLedger ledger(4, true);
  const auto first = fill(ledger, text(2));
  const auto second = fill(ledger, text(2));
  EXPECT_EQ(first, second);
  EXPECT_EQ(ledger.used(), 2);
  EXPECT_EQ(ledger.references(first[0]), 2);
  release_all(ledger, first);
  EXPECT_EQ(ledger.used(), 2);
  release_all(ledger, second);
  EXPECT_EQ(ledger.used(), 0);
  EXPECT_EQ(ledger.cached(), 2);
}

TEST(BlockLedger, EvictsTheLeastRecentlyReleasedTextTailFirst) {
  BlockLedger ledger(4, true);
  const auto old_text = text(2, 0);
  const auto new_text = text(2, 1);
  release_all(ledger, fill(ledger, old_text));
  release_all(ledger, fill(ledger, new_text));
  ASSERT_TRUE(ledger.allocate().has_value());  // evicts the tail of the old text
  EXPECT_EQ(ledger.match(old_text, 8).size(), 1u);
  EXPECT_EQ(ledger.match(new_text, 8).size(), 2u);
  ASSERT_TRUE(ledger.allocate().has_value());
  EXPECT_TRUE(ledger.match(old_text, 8).empty());
  EXPECT_EQ(ledger.match(new_text, 8).size(), 2u);
}

TEST(BlockLedger, AReferencedBlockIsNeverEvicted) {
  BlockLedger ledger(2, true);
  const auto blocks = fill(ledger, text(1));
  ledger.release(blocks[0]);
  ledger.acquire(blocks[0]);
  EXPECT_TRUE(ledger.allocate().has_value());
  EXPECT_FALSE(ledger.allocate().has_value());
  EXPECT_EQ(ledger.match(text(1), 8).size(), 1u);
}

TEST(BlockLedger, WithoutAPrefixCacheNothingIsKept) {
  BlockLedger ledger(2, false);
  release_all(ledger, fill(ledger, text(2)));
  EXPECT_TRUE(ledger.match(text(2), 8).empty());
  EXPECT_EQ(ledger.cached(), 0);
  EXPECT_EQ(ledger.available(), 2);
}

// Against a model: holders fill texts over a small alphabet (many shared beginnings), release at
// random, and what match() returns is always the block that was published for exactly that text.
TEST(BlockLedgerProperty, MatchesOnlyExactTextsAndLosesNoBlock) {
  for (uint32_t seed = 0; seed < 30; ++seed) {
    std::mt19937 random(seed);
    // Every other time all hashes collide: only the tokens and the parent tell blocks apart.
    const BlockHash collide = [](uint64_t, std::span<const int32_t>) -> uint64_t { return 1; };
    BlockLedger ledger(12, true, seed % 2 == 0 ? hash_block : collide);
    std::map<int32_t, std::vector<int32_t>> content;  // block -> whole text that ends with it
    std::vector<std::vector<int32_t>> holders;
    for (int step = 0; step < 400; ++step) {
      if (random() % 3 == 0 && !holders.empty()) {
        const size_t index = random() % holders.size();
        release_all(ledger, holders[index]);
        holders.erase(holders.begin() + static_cast<std::ptrdiff_t>(index));
        continue;
      }
      std::vector<int32_t> tokens;
      for (uint32_t b = 0, n = 1 + random() % 4; b < n; ++b)
        tokens.insert(tokens.end(), kBlockTokens, random() % 2);
      const auto matched = ledger.match(tokens, 100);
      std::vector<int32_t> held;
      PrefixNode node = 0;
      for (size_t i = 0; i < matched.size(); ++i) {
        EXPECT_EQ(content[matched[i].block],
                  std::vector<int32_t>(
                      tokens.begin(), tokens.begin() + static_cast<int64_t>(i + 1) * kBlockTokens));
        ledger.acquire(matched[i].block);
        held.push_back(matched[i].block);
        node = matched[i].node;
      }
      while (held.size() * kBlockTokens < tokens.size()) {
        const auto block = ledger.allocate();
        if (!block) break;
        for (const auto& holder : holders)
          EXPECT_EQ(std::count(holder.begin(), holder.end(), *block), 0);
        const auto cached = ledger.publish(
            *block, node, std::span(tokens).subspan(held.size() * kBlockTokens, kBlockTokens));
        EXPECT_EQ(cached.block, *block);  // match() would have found it
        node = cached.node;
        held.push_back(cached.block);
        content[cached.block].assign(
            tokens.begin(), tokens.begin() + static_cast<int64_t>(held.size()) * kBlockTokens);
      }
      holders.push_back(held);
    }
    for (const auto& holder : holders) release_all(ledger, holder);
    EXPECT_EQ(ledger.used(), 0);
    EXPECT_EQ(ledger.available(), 12);
  }
}

}  // namespace
}  // namespace conclave::coordinator
