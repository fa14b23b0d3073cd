#ifndef CONCLAVE_COORDINATOR_TOKENIZER_BPE_TOKENIZER_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_BPE_TOKENIZER_H_

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/bpe_model.h"
#include "coordinator/tokenizer/decoder.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/normalizer.h"
#include "coordinator/tokenizer/post_processor.h"
#include "coordinator/tokenizer/pre_tokenizer.h"
#include "coordinator/tokenizer/tokenizer.h"
#include "coordinator/tokenizer/tokenizer_settings.h"

namespace conclave::coordinator {

// The parts of a tokenizer.json put together.
class BpeTokenizer final : public Tokenizer {
 public:
  // file: tokenizer.json, which errors call `source`.
  static absl::StatusOr<std::shared_ptr<const Tokenizer>> create(const Json& file,
                                                                 const TokenizerSettings& settings,
                                                                 const std::string& source);

  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens) const override;
  BoundedEncoding encode_within(std::string_view text, bool add_special_tokens,
                                const EncodeLimits& limits) const override;
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens) const override;
  std::string token_bytes(int32_t id) const override;
  std::string token_string(int32_t id) const override;
  std::optional<int32_t> token_id(std::string_view token) const override;
  bool is_special(int32_t id) const override;
  int32_t vocab_size() const override;
  const std::map<std::string, std::string>& special_tokens() const override {
    return special_tokens_;
  }
  std::unique_ptr<DecodeStream> new_stream(bool skip_special_tokens) const override;

  // The string that decoding sees; nullopt for ids it passes over.
  std::optional<std::string_view> decodable(int32_t id, bool skip_special_tokens) const;

 private:
  absl::Status load(const Json& file, const TokenizerSettings& settings, const std::string& source);
  void surround(const TokenizerSettings& settings);
  PieceList pieces_of(const std::string& text) const;

  std::unique_ptr<const Normalizer> normalizer_;       // null: none
  std::unique_ptr<const PreTokenizer> pre_tokenizer_;  // null: none
  std::unique_ptr<const BpeModel> model_;
  AddedTokens added_;
  size_t most_characters_a_token_ = 0;  // 0: not certain
  PostProcessor post_processor_;
  DecodeChain decoder_;
  std::map<std::string, std::string> special_tokens_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_BPE_TOKENIZER_H_
