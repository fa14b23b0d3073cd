#include "coordinator/tokenizer/bpe_model.h"

#include <algorithm>
#include <random>

#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

Ids encode(const BpeModel& model, std::string_view word) {
  Ids ids;
  model.encode_word(word, ids);
  return ids;
}

std::unique_ptr<const BpeModel> load(const std::string& json) {
  auto model = BpeModel::from_json(Json::parse(json), "model");
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? std::move(model).value() : nullptr;
}

// The definition, word for word: while some listed pair is present, merge the leftmost pair of the
// lowest rank.
std::vector<std::string> merge_by_definition(
    std::vector<std::string> symbols,
    const std::vector<std::pair<std::string, std::string>>& merges) {
  while (true) {
    size_t best_rank = merges.size();
    size_t best = 0;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].first == symbols[i] && merges[rank].second == symbols[i + 1]) {
          best_rank = rank;
          best = i;
        }
      }
    }
    if (best_rank == merges.size()) return symbols;
    symbols[best] += symbols[best + 1];
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

TEST(BpeModel, AgreesWithTheDefinitionOnRandomMergesAndWords) {
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> tokens = {"a", "b", "c"};
    std::vector<std::pair<std::string, std::string>> merges;
    for (int i = 0; i < 12; ++i) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      // Each token is made by one merge: the definition knows a merge by its parts alone.
      if (std::find(tokens.begin(), tokens.end(), left + right) != tokens.end()) continue;
      tokens.push_back(left + right);
      merges.emplace_back(left, right);
    }
    std::shuffle(merges.begin(), merges.end(), random);
    Json json = {{"type", "BPE"}, {"vocab", Json::object()}, {"merges", Json::array()}};
    for (size_t i = 0; i < tokens.size(); ++i) json["vocab"][tokens[i]] = i;
    for (const auto& [left, right] : merges) json["merges"].push_back({left, right});
    const auto model = load(json.dump());
    ASSERT_NE(model, nullptr);
    for (int w = 0; w < 20; ++w) {
      std::vector<std::string> symbols(random() % 24);
      std::string word;
      for (std::string& symbol : symbols) word += symbol = std::string(1, "abc"[random() % 3]);
      std::vector<std::string> got;
      for (const int32_t id : encode(*model, word)) got.emplace_back(model->token(id));
      ASSERT_EQ(got, merge_by_definition(symbols, merges)) << json.dump() << " " << word;
      // The second time the answer comes from the cache.
      std::vector<std::string> again;
      for (const int32_t id : encode(*model, word)) again.emplace_back(model->token(id));
      ASSERT_EQ(again, got);
    }
  }
}

TEST(BpeModel, BothSpellingsOfMergesAreRead) {
  const std::string vocab = R"("vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3})";
  const auto old_form = load("{" + vocab + R"(, "merges": ["#version: 0.2", "a b", "ab b"]})");
  const auto new_form =
      load("{" + vocab + R"(, "merges": [["a", "b"], ["ab", "b"]], "type": "BPE"})");
  EXPECT_EQ(encode(*old_form, "abba"), (Ids{3, 0}));
  EXPECT_EQ(encode(*new_form, "abba"), (Ids{3, 0}));
}

TEST(BpeModel, IgnoreMergesTakesAWholeWordThatNoMergeReaches) {
  const std::string rest = R"("vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [])";
  EXPECT_EQ(encode(*load(R"({"type":"BPE","ignore_merges":true,)" + rest + "}"), "ab"), (Ids{2}));
  EXPECT_EQ(encode(*load(R"({"type":"BPE","ignore_merges":false,)" + rest + "}"), "ab"),
            (Ids{0, 1}));
}

TEST(BpeModel, UnknownCharactersBecomeBytesOrTheUnknownTokenOrNothing) {
  const std::string vocab =
      R"("vocab": {"a": 0, "<unk>": 1, "<0xC3>": 2, "<0xA9>": 3}, "merges": [])";
  const auto with = [&](const std::string& flags) {
    return load("{\"type\":\"BPE\"," + flags + vocab + "}");
  };
  EXPECT_EQ(encode(*with(""), "aéa"), (Ids{0, 0}));
  EXPECT_EQ(encode(*with(R"("byte_fallback": true, )"), "aéa"), (Ids{0, 2, 3, 0}));
  EXPECT_EQ(encode(*with(R"("byte_fallback": true, )"), "aöa"), (Ids{0, 0}));
  EXPECT_EQ(encode(*with(R"("unk_token": "<unk>", )"), "xya"), (Ids{1, 1, 0}));
  EXPECT_EQ(encode(*with(R"("unk_token": "<unk>", "fuse_unk": true, )"), "xya"), (Ids{1, 0}));
}

TEST(BpeModel, PrefixAndSuffixMarkThePlaceInTheWord) {
  const auto model = load(R"({"type": "BPE", "continuing_subword_prefix": "##",
      "end_of_word_suffix": "</w>", "vocab": {"a": 0, "##a": 1, "##a</w>": 2, "a</w>": 3, "aa": 4},
      "merges": [["a", "##a"]]})");
  EXPECT_EQ(encode(*model, "a"), (Ids{3}));
  EXPECT_EQ(encode(*model, "aa"), (Ids{0, 2}));
  EXPECT_EQ(encode(*model, "aaaa"), (Ids{4, 1, 2}));
}

TEST(BpeModel, AMegabyteWithoutAWordBoundaryIsEncoded) {
  const auto model = load(R"({"type": "BPE", "vocab": {"a": 0, "aa": 1, "aaaa": 2},
      "merges": [["a", "a"], ["aa", "aa"]]})");
  EXPECT_EQ(encode(*model, std::string(1 << 20, 'a')), Ids(1 << 18, 2));
}

}  // namespace
}  // namespace conclave::coordinator
