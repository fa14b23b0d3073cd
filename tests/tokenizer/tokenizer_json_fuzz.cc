// Arbitrary bytes as tokenizer.json and, each behind a zero byte and where it is not empty,
// tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json: an error or a
// tokenizer that encodes and decodes, never a crash and never without end. The streamed text must
// equal the decoded one for whatever files these are.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/unicode.h"

namespace {

constexpr std::string_view kText =
    "Hello  w\xC3\xB6rld's 12345\r\n\t<s>e\xCC\x81 \xF0\x9F\x99\x82 \xE2\x96\x81\xE6\xBC\xA2 "
    "aaaa--b\xFF";

void check(bool condition) {
  if (!condition) std::abort();
}

conclave::coordinator::TokenizerFiles files_of(std::string_view bytes) {
  conclave::coordinator::TokenizerFiles files;
  files.folder = "fuzz";
  const auto next = [&bytes] {
    const size_t end = std::min(bytes.find('\0'), bytes.size());
    std::string part(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
    return part;
  };
  files.tokenizer_json = next();
  for (std::optional<std::string>* file : {&files.tokenizer_config, &files.special_tokens_map,
                                           &files.added_tokens, &files.model_config}) {
    std::string part = next();
    if (!part.empty()) *file = std::move(part);
  }
  return files;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using conclave::coordinator::DetokenizerStream;
  using conclave::coordinator::Tokenizer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto loaded = Tokenizer::from_files(files_of(bytes));
  if (!loaded.ok()) {
    check(!loaded.status().message().empty());
    return 0;
  }
  const Tokenizer& tokenizer = **loaded;
  std::vector<int32_t> ids = tokenizer.encode(kText, true);
  for (const int32_t id : ids) check(id >= 0);
  ids.resize(std::min<size_t>(ids.size(), 200));
  for (int32_t id = -1; id <= tokenizer.vocab_size() && id < 100; ++id) ids.push_back(id);
  const std::string text = tokenizer.decode(ids, false);
  check(conclave::coordinator::is_valid_utf8(text));
  DetokenizerStream stream(*loaded, false);
  std::string streamed;
  for (const int32_t id : ids) streamed += stream.append(id);
  streamed += stream.finish();
  check(streamed == text);
  for (const int32_t id : ids) tokenizer.token_bytes(id);
  return 0;
}
