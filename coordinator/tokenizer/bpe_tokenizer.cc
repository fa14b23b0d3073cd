#include "coordinator/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/length_bound.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

// Words up to here are encoded rather than estimated: they take no time worth a look.
constexpr size_t kLongWordBytes = 4096;

const Json& part(const Json& file, const char* key) {
  static const Json kNull;
  const auto it = file.find(key);
  return it == file.end() ? kNull : *it;
}

class ChainStream final : public DecodeStream {
 public:
  ChainStream(const BpeTokenizer* tokenizer, const DecodeChain& chain, bool skip_special_tokens)
      : tokenizer_(tokenizer), chain_(chain), skip_special_tokens_(skip_special_tokens) {}

  std::string append(int32_t id) override {
    std::string text;
    append_to(id, text);
    return text;
  }
  std::string finish() override {
    std::string text;
    chain_.finish(text);
    return text;
  }
  std::unique_ptr<DecodeStream> clone() const override {
    return std::make_unique<ChainStream>(*this);
  }

  void append_to(int32_t id, std::string& text) {
    if (const auto token = tokenizer_->decodable(id, skip_special_tokens_))
      chain_.push(*token, text);
  }

 private:
  const BpeTokenizer* tokenizer_;
  DecodeChain chain_;
  bool skip_special_tokens_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> BpeTokenizer::create(
    const Json& file, const TokenizerSettings& settings, const std::string& source) {
  auto tokenizer = std::make_shared<BpeTokenizer>();
  RETURN_IF_ERROR(tokenizer->load(file, settings, source));
  tokenizer->surround(settings);
  return std::shared_ptr<const Tokenizer>(std::move(tokenizer));
}

absl::Status BpeTokenizer::load(const Json& file, const TokenizerSettings& settings,
                                const std::string& source) {
  const auto place = [&](const char* key) { return absl::StrCat(source, ": ", key); };
  ASSIGN_OR_RETURN(model_, BpeModel::from_json(part(file, "model"), place("model")));
  ASSIGN_OR_RETURN(normalizer_,
                   normalizer_from_json(part(file, "normalizer"), place("normalizer")));
  ASSIGN_OR_RETURN(pre_tokenizer_,
                   pre_tokenizer_from_json(part(file, "pre_tokenizer"), place("pre_tokenizer")));
  ASSIGN_OR_RETURN(post_processor_,
                   PostProcessor::from_json(part(file, "post_processor"), place("post_processor")));
  ASSIGN_OR_RETURN(decoder_, DecodeChain::from_json(part(file, "decoder"), place("decoder")));
  ASSIGN_OR_RETURN(const Json* added, array_field(file, "added_tokens", source));
  ASSIGN_OR_RETURN(
      added_, AddedTokens::from_json(added, settings.tokens, *model_, normalizer_.get(),
                                     place("added_tokens")));
  most_characters_a_token_ = most_characters_a_token(file, *model_, added_);
  if (settings.split_special_tokens) added_.split_special_tokens();
  special_tokens_ = settings.named;
  return absl::OkStatus();
}

void BpeTokenizer::surround(const TokenizerSettings& settings) {
  if (!settings.add_bos_token.has_value() && !settings.add_eos_token.has_value()) return;
  // Either setting replaces the file's own post_processor; one without its token counts as false.
  const auto ids = [this](std::optional<bool> wanted, const std::string& token) {
    std::vector<int32_t> result;
    const std::optional<int32_t> id = wanted.value_or(false) ? token_id(token) : std::nullopt;
    if (id.has_value()) result.push_back(*id);
    return result;
  };
  post_processor_ = PostProcessor::around(ids(settings.add_bos_token, bos_token()),
                                          ids(settings.add_eos_token, eos_token()));
}

// Cuts on raw added tokens, normalises what is between them, and cuts on normalised added tokens.
PieceList BpeTokenizer::pieces_of(const std::string& text) const {
  PieceList list;
  list.limit = grown_text_limit(text.size());
  std::vector<Piece> raw;
  added_.split_raw(text, raw);
  std::vector<Piece> cut;
  for (const Piece& piece : raw) {
    if (piece.token != kNoToken) {
      list.pieces.push_back({list.text.size(), list.text.size(), piece.token});
      continue;
    }
    NormalizedText normalized;
    normalized.text = text.substr(piece.begin, piece.end - piece.begin);
    if (piece.begin == 0) normalized.head_bytes = char_bytes(text[0]);
    if (normalizer_ != nullptr) {
      normalizer_->apply(normalized, std::max(list.limit, list.text.size()) - list.text.size());
    }
    const size_t base = list.text.size();
    if (piece.begin == 0) list.head_bytes = normalized.head_bytes;
    cut.clear();
    added_.split_normalized(normalized.text, cut);
    for (const Piece& p : cut) list.pieces.push_back({base + p.begin, base + p.end, p.token});
    list.text += normalized.text;
  }
  return list;
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, bool add_special_tokens) const {
  return encode_within(text, add_special_tokens, {}).ids;
}

BoundedEncoding BpeTokenizer::encode_within(std::string_view text, bool add_special_tokens,
                                            const EncodeLimits& limits) const {
  using End = BoundedEncoding::End;
  const auto cancelled = [&limits] { return limits.cancelled != nullptr && *limits.cancelled; };
  if (most_characters_a_token_ != 0) {
    const size_t least = count_characters(text) / most_characters_a_token_;
    if (least > limits.max_tokens) return {.end = End::kTooLong, .at_least = least};
  }
  PieceList list = pieces_of(make_valid_utf8(text));
  if (cancelled()) return {.end = End::kCancelled};
  if (pre_tokenizer_ != nullptr) pre_tokenizer_->apply(list);
  std::vector<int32_t> ids;
  ids.reserve(std::min(list.text.size() / 4, limits.max_tokens) + 8);
  size_t since_look = 0;
  for (const Piece& piece : list.pieces) {
    const size_t bytes = piece.end - piece.begin;
    if ((since_look += bytes) > kLongWordBytes) {
      since_look = 0;
      if (cancelled()) return {.end = End::kCancelled};
    }
    size_t least = ids.size();
    if (piece.token != kNoToken) {
      ids.push_back(piece.token);
    } else if (bytes <= kLongWordBytes ||
               (least += model_->least_tokens(list.view(piece))) <= limits.max_tokens) {
      model_->encode_word(list.view(piece), ids);
    }
    least = std::max(least, ids.size());
    if (least > limits.max_tokens) return {.end = End::kTooLong, .at_least = least};
  }
  ids = post_processor_.apply(std::move(ids), add_special_tokens);
  if (ids.size() > limits.max_tokens) return {.end = End::kTooLong, .at_least = ids.size()};
  return {.ids = std::move(ids)};
}

std::string BpeTokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  ChainStream stream(this, decoder_, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) stream.append_to(id, text);
  return text + stream.finish();
}

std::unique_ptr<DecodeStream> BpeTokenizer::new_stream(bool skip_special_tokens) const {
  return std::make_unique<ChainStream>(this, decoder_, skip_special_tokens);
}

std::optional<std::string_view> BpeTokenizer::decodable(int32_t id,
                                                        bool skip_special_tokens) const {
  std::string_view text;
  if (const AddedToken* added = added_.find(id)) {
    text = added->decoded;
  } else if (model_->has_token(id)) {
    text = model_->token(id);
  } else {
    return std::nullopt;
  }
  // As in tokenizers, the text decides, not the id: a special token that reads differently once it
  // is normalised is shown.
  if (skip_special_tokens && added_.is_special(text)) return std::nullopt;
  return text;
}

std::string BpeTokenizer::token_bytes(int32_t id) const {
  const auto token = decodable(id, false);
  return token.has_value() ? decoder_.bytes_of(*token) : std::string();
}

std::string BpeTokenizer::token_string(int32_t id) const {
  return std::string(decodable(id, false).value_or(std::string_view()));
}

std::optional<int32_t> BpeTokenizer::token_id(std::string_view token) const {
  const std::optional<int32_t> added = added_.id_of(token);
  return added.has_value() ? added : model_->id_of(token);
}

bool BpeTokenizer::is_special(int32_t id) const {
  const AddedToken* added = added_.find(id);
  return added_.is_special(added != nullptr ? added->content : model_->token(id));
}

int32_t BpeTokenizer::vocab_size() const {
  return std::max(model_->highest_id(), added_.highest_id()) + 1;
}

}  // namespace conclave::coordinator
