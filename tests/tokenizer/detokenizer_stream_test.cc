#include <random>

#include "coordinator/tokenizer/unicode.h"
#include "gtest/gtest.h"
#include "tests/tokenizer/golden_files.h"

namespace conclave::coordinator {
namespace {

using Ids = std::vector<int32_t>;

Ids random_ids(std::mt19937& random, const Tokenizer& tokenizer, size_t count) {
  // Two beyond the vocabulary, for ids that have no token.
  std::uniform_int_distribution<int32_t> any(0, tokenizer.vocab_size() + 1);
  Ids ids(count);
  for (int32_t& id : ids) id = any(random);
  return ids;
}

// Byte tokens in runs, where halves of characters and wrong bytes meet.
Ids random_byte_ids(std::mt19937& random, const Tokenizer& tokenizer, size_t count) {
  static constexpr std::string_view kBytes[] = {"<0xE2>", "<0x96>", "<0x81>", "<0xC3>", "<0xA9>",
                                                "<0xF0>", "<0x9F>", "<0x99>", "<0x82>", "<0x41>",
                                                "âĸģ",    "Ã",      "©",      "ðŁ",     "a"};
  Ids ids;
  while (ids.size() < count) {
    const auto id = tokenizer.token_id(kBytes[random() % std::size(kBytes)]);
    ids.push_back(id.value_or(static_cast<int32_t>(random() % 50)));
  }
  return ids;
}

std::string stream_all(DetokenizerStream& stream, const Ids& ids) {
  std::string text;
  for (const int32_t id : ids) {
    const std::string piece = stream.append(id);
    EXPECT_TRUE(is_valid_utf8(piece));
    text += piece;
  }
  const std::string rest = stream.finish();
  EXPECT_TRUE(is_valid_utf8(rest));
  return text + rest;
}

std::string without_common_characters(const std::string& text, const std::string& other) {
  size_t same = 0;
  while (same < text.size() && same < other.size() && text[same] == other[same]) ++same;
  const bool inside_character = same < text.size() && same < other.size();
  while (inside_character && same > 0 && is_continuation_byte(text[same])) --same;
  return text.substr(same);
}

TEST(DetokenizerStream, PiecesOfRandomIdsJoinToDecodeForEveryTokenizer) {
  std::mt19937 random(7);
  for (const NamedTokenizer& named : all_tokenizers()) {
    SCOPED_TRACE(named.name);
    for (int round = 0; round < 40; ++round) {
      const size_t count = random() % 40;
      const Ids ids = round % 2 == 0 ? random_ids(random, *named.tokenizer, count)
                                     : random_byte_ids(random, *named.tokenizer, count);
      for (const bool skip : {false, true}) {
        DetokenizerStream stream(named.tokenizer, skip);
        ASSERT_EQ(stream_all(stream, ids), named.tokenizer->decode(ids, skip))
            << testing::PrintToString(ids);
      }
    }
  }
}

TEST(DetokenizerStream, WithAContextTheTextIsThatOfBothLessThatOfTheContext) {
  std::mt19937 random(8);
  for (const NamedTokenizer& named : all_tokenizers()) {
    SCOPED_TRACE(named.name);
    for (int round = 0; round < 40; ++round) {
      const bool bytes = round % 2 == 0;
      Ids prompt = bytes ? random_byte_ids(random, *named.tokenizer, random() % 12)
                         : random_ids(random, *named.tokenizer, random() % 12);
      const Ids output = bytes ? random_byte_ids(random, *named.tokenizer, random() % 12)
                               : random_ids(random, *named.tokenizer, random() % 12);
      DetokenizerStream stream(named.tokenizer, false);
      stream.set_context(prompt);
      const std::string text = stream_all(stream, output);
      const std::string before = named.tokenizer->decode(prompt, false);
      prompt.insert(prompt.end(), output.begin(), output.end());
      const std::string both = named.tokenizer->decode(prompt, false);
      ASSERT_EQ(text, without_common_characters(both, before)) << testing::PrintToString(prompt);
    }
  }
}

TEST(DetokenizerStream, AfterAPromptTheFirstWordKeepsItsSpaceWithSentencePieceDecoders) {
  const auto tokenizer = load_folder(golden_folder("mixtral_prepend"));
  const Ids prompt = tokenizer->encode("Hello", true);
  const Ids answer = tokenizer->encode("world", false);
  DetokenizerStream alone(tokenizer, true);
  EXPECT_EQ(stream_all(alone, answer), "world");
  DetokenizerStream after(tokenizer, true);
  after.set_context(prompt);
  EXPECT_EQ(stream_all(after, answer), " world");
}

TEST(DetokenizerStream, ACharacterBegunByTheContextIsWrittenWhenTheOutputCompletesIt) {
  const auto tokenizer = load_folder(golden_folder("qwen2"));
  const Ids euro = {*tokenizer->token_id("â"), *tokenizer->token_id("Ĥ"),
                    *tokenizer->token_id("¬")};
  DetokenizerStream stream(tokenizer, true);
  stream.set_context(Ids{euro[0]});
  EXPECT_EQ(stream.append(euro[1]), "");
  EXPECT_EQ(stream.append(euro[2]), "€");
  EXPECT_EQ(stream.finish(), "");
}

TEST(DetokenizerStream, WritesACharacterWithItsLastByteAndNotBefore) {
  const auto tokenizer = load_folder(golden_folder("qwen2"));
  DetokenizerStream stream(tokenizer, true);
  EXPECT_EQ(stream.append(*tokenizer->token_id("â")), "");
  EXPECT_EQ(stream.append(*tokenizer->token_id("Ĥ")), "");
  EXPECT_EQ(stream.append(*tokenizer->token_id("¬")), "€");
  EXPECT_EQ(stream.append(*tokenizer->token_id("â")), "");
  EXPECT_EQ(stream.append(*tokenizer->token_id("a")), "\uFFFDa");
  EXPECT_EQ(stream.append(*tokenizer->token_id("â")), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

TEST(DetokenizerStream, OneWrongByteSpoilsItsRunOfByteTokens) {
  const auto tokenizer = load_folder(golden_folder("mixtral_prepend"));
  const auto id = [&](const char* token) { return tokenizer->token_id(token).value_or(-1); };
  DetokenizerStream good(tokenizer, true);
  EXPECT_EQ(stream_all(good, {id("<0xC3>"), id("<0xA9>"), id("<0x41>")}), "éA");
  DetokenizerStream bad(tokenizer, true);
  EXPECT_EQ(stream_all(bad, {id("<0xC3>"), id("<0xA9>"), id("<0xFF>")}), "\uFFFD\uFFFD\uFFFD");
}

// A tokenizer from elsewhere, such as another test's, that does not override new_stream().
class ByteTokenizer final : public Tokenizer {
 public:
  Ids encode(std::string_view text, bool) const override { return Ids(text.begin(), text.end()); }
  std::string decode(std::span<const int32_t> ids, bool) const override {
    std::string bytes;
    for (const int32_t id : ids) bytes.push_back(static_cast<char>(id));
    return make_valid_utf8(bytes);
  }
  std::string token_bytes(int32_t id) const override {
    return std::string(1, static_cast<char>(id));
  }
  std::string token_string(int32_t id) const override { return token_bytes(id); }
  std::optional<int32_t> token_id(std::string_view) const override { return std::nullopt; }
  bool is_special(int32_t) const override { return false; }
  int32_t vocab_size() const override { return 256; }
  const std::map<std::string, std::string>& special_tokens() const override { return none_; }

 private:
  std::map<std::string, std::string> none_;
};

TEST(DetokenizerStream, WorksWithATokenizerThatOnlyDecodes) {
  const auto tokenizer = std::make_shared<const ByteTokenizer>();
  DetokenizerStream stream(tokenizer, true);
  const Ids ids = {'a', 0xE2, 0x82, 0xAC, 'b', 0xC3};
  EXPECT_EQ(stream_all(stream, ids), "a€b\uFFFD");
}

}  // namespace
}  // namespace conclave::coordinator
