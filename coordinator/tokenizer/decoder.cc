#include "coordinator/tokenizer/decoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/decode_steps.h"
#include "coordinator/tokenizer/metaspace.h"
#include "coordinator/tokenizer/pattern.h"

namespace conclave::coordinator {
namespace {

using StepPtr = std::unique_ptr<DecodeStep>;

absl::StatusOr<StepPtr> strip_from_json(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const char32_t content, char_field(json, "content", U' ', where));
  ASSIGN_OR_RETURN(const int64_t start, int_field(json, "start", 0, where));
  ASSIGN_OR_RETURN(const int64_t stop, int_field(json, "stop", 0, where));
  constexpr int64_t kMax = 1 << 20;
  if (start < 0 || stop < 0 || start > kMax || stop > kMax) {
    return bad_file(where, absl::StrCat("\"start\" and \"stop\" must be from 0 to ", kMax));
  }
  return make_strip_step(content, static_cast<size_t>(start), static_cast<size_t>(stop));
}

absl::StatusOr<StepPtr> step_from_json(const std::string& type, const Json& json,
                                       const std::string& where) {
  if (type == "ByteLevel") return make_byte_level_step();
  if (type == "ByteFallback") return make_byte_fallback_step();
  if (type == "Fuse") return make_fuse_step();
  if (type == "Strip") return strip_from_json(json, where);
  if (type == "Metaspace") {
    ASSIGN_OR_RETURN(const MetaspaceOptions options, metaspace_from_json(json, where));
    return make_metaspace_step(options);
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, Pattern::from_json(json, where));
    ASSIGN_OR_RETURN(std::string content, string_field(json, "content", "", where));
    return make_replace_step(std::move(pattern), std::move(content));
  }
  if (type == "BPEDecoder") {
    ASSIGN_OR_RETURN(std::string suffix, string_field(json, "suffix", "</w>", where));
    return make_word_end_step(std::move(suffix));
  }
  return bad_file(where,
                  absl::StrCat("the decoder type ", in_quotes(type),
                               " is not supported; this program knows ByteLevel, Replace, "
                               "ByteFallback, Fuse, Strip, Metaspace, BPEDecoder and Sequence"));
}

}  // namespace

DecodeChain::DecodeChain(const DecodeChain& other) {
  steps_.reserve(other.steps_.size());
  for (const StepPtr& step : other.steps_) steps_.push_back(step->clone());
}

DecodeChain& DecodeChain::operator=(const DecodeChain& other) {
  if (this != &other) *this = DecodeChain(other);
  return *this;
}

absl::StatusOr<DecodeChain> DecodeChain::from_json(const Json& json, const std::string& where) {
  DecodeChain chain;
  if (json.is_null()) {
    chain.steps_.push_back(make_join_step());
  } else {
    RETURN_IF_ERROR(chain.add(json, where));
  }
  return chain;
}

absl::Status DecodeChain::add(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const std::string type, type_of(json, where));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const Json* items, array_field(json, "decoders", where));
    for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
      RETURN_IF_ERROR(add((*items)[i], absl::StrCat(where, ".decoders[", i, "]")));
    }
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(StepPtr step, step_from_json(type, json, where));
  steps_.push_back(std::move(step));
  return absl::OkStatus();
}

void DecodeChain::run(std::vector<TokenPart> parts, size_t from, std::string& text) {
  std::vector<TokenPart> next;
  for (size_t i = from; i < steps_.size() && !parts.empty(); ++i) {
    next.clear();
    for (TokenPart& part : parts) steps_[i]->push(std::move(part), next);
    parts.swap(next);
  }
  for (const TokenPart& part : parts) text += part.text;
}

void DecodeChain::push(std::string_view token, std::string& text) {
  std::vector<TokenPart> parts;
  parts.push_back({std::string(token), true, true});
  run(std::move(parts), 0, text);
}

void DecodeChain::finish(std::string& text) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    std::vector<TokenPart> parts;
    steps_[i]->finish(parts);
    run(std::move(parts), i + 1, text);
  }
}

std::string DecodeChain::bytes_of(std::string_view token) const {
  std::string bytes(token);
  for (const StepPtr& step : steps_) step->rewrite_bytes(bytes);
  return bytes;
}

}  // namespace conclave::coordinator
