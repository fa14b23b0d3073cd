#include <atomic>
#include <random>
#include <thread>

#include "coordinator/tokenizer/unicode.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

TEST(Tokenizer, InvalidUtf8InTheTextIsReplaced) {
  const auto tokenizer = load_folder(golden_folder("qwen2"));
  EXPECT_EQ(tokenizer->encode("a\xFF\xC3z", true), tokenizer->encode("a\uFFFD\uFFFDz", true));
}

TEST(Tokenizer, RandomBytesNeverFailAndStayInTheVocabulary) {
  std::mt19937 random(3);
  for (const NamedTokenizer& named : all_tokenizers()) {
    SCOPED_TRACE(named.name);
    for (int round = 0; round < 20; ++round) {
      std::string text(random() % 200, '\0');
      for (char& c : text) c = static_cast<char>(round % 2 == 0 ? random() % 256 : random() % 128);
      const Ids ids = named.tokenizer->encode(text, true);
      for (const int32_t id : ids) {
        ASSERT_GE(id, 0);
        ASSERT_LT(id, named.tokenizer->vocab_size());
      }
      EXPECT_TRUE(is_valid_utf8(named.tokenizer->decode(ids, false)));
    }
  }
}

TEST(Tokenizer, ByteLevelTokenizersGiveAnyTextBack) {
  std::mt19937 random(4);
  for (const char* name : {"deepseek_v3", "granite_digits", "o200k"}) {
    const auto tokenizer = load_folder(golden_folder(name));
    for (int round = 0; round < 50; ++round) {
      std::string text;
      for (size_t i = random() % 60; i > 0; --i) {
        const char32_t c = static_cast<char32_t>(random() % (round % 2 == 0 ? 0x80 : 0xD800));
        append_char(c, text);
      }
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text, false), false), text) << name;
    }
  }
}

TEST(Tokenizer, TokenBytesOfAWordJoinToItsText) {
  const std::string text = " größer 🙂";
  for (const char* name : {"qwen2", "o200k"}) {
    const auto tokenizer = load_folder(golden_folder(name));
    std::string bytes;
    for (const int32_t id : tokenizer->encode(text, false)) bytes += tokenizer->token_bytes(id);
    EXPECT_EQ(bytes, text);
  }
  const auto sentence_piece = load_folder(golden_folder("mixtral_prepend"));
  std::string bytes;
  for (const int32_t id : sentence_piece->encode("größer 🙂", false))
    bytes += sentence_piece->token_bytes(id);
  EXPECT_EQ(bytes, " größer 🙂");
  EXPECT_EQ(sentence_piece->token_bytes(*sentence_piece->token_id("<0xC3>")), "\xC3");
  EXPECT_EQ(sentence_piece->token_bytes(1 << 30), "");
  EXPECT_EQ(sentence_piece->token_bytes(-1), "");
}

TEST(Tokenizer, UnknownIdsDecodeToNothing) {
  const auto tokenizer = load_folder(golden_folder("qwen2"));
  EXPECT_EQ(tokenizer->decode(Ids{-1, 1 << 30, tokenizer->vocab_size()}, false), "");
  EXPECT_EQ(tokenizer->token_string(-7), "");
  EXPECT_FALSE(tokenizer->is_special(-7));
}

TEST(Tokenizer, ThreadsShareOneTokenizer) {
  const auto tokenizer = load_folder(demo_folder());
  const nlohmann::json golden = read_json(demo_folder() + "/golden.json");
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < 50; ++round) {
        for (const auto& prompt : golden["prompts"]) {
          const Ids ids = tokenizer->encode(prompt["text"].get<std::string>(), true);
          if (ids != prompt["ids"].get<Ids>()) ++wrong;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Tokenizer, AChainOfDoublingReplacementsStaysBounded) {
  nlohmann::json steps = nlohmann::json::array();
  for (int i = 0; i < 60; ++i) {
    steps.push_back({{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}});
  }
  const nlohmann::json parts = {{"normalizer", {{"type", "Sequence"}, {"normalizers", steps}}}};
  const auto tokenizer = character_tokenizer("a", parts.dump());
  EXPECT_LT(tokenizer->encode("aaaa", true).size(), size_t{1} << 19);
}

}  // namespace
}  // namespace conclave::coordinator
