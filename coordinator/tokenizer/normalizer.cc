#include "coordinator/tokenizer/normalizer.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/byte_level.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

using NormalizerPtr = std::unique_ptr<const Normalizer>;

class UnicodeForm final : public Normalizer {
 public:
  explicit UnicodeForm(NormalizationForm form) : form_(form) {}
  void apply(NormalizedText& piece, size_t) const override {
    std::string text = unicode_normalize(piece.text, form_);
    if (piece.head_bytes > 0) {
      const std::string head = piece.text.substr(0, piece.head_bytes);
      piece.head_bytes = std::min(unicode_normalize(head, form_).size(), text.size());
    }
    piece.text = std::move(text);
  }

 private:
  NormalizationForm form_;
};

// Lowercase, StripAccents and ByteLevel: a text for each character.
class PerCharacter : public Normalizer {
 public:
  void apply(NormalizedText& piece, size_t limit) const final {
    if (piece.text.size() > limit / 2) return;
    std::string out;
    out.reserve(piece.text.size());
    size_t head = 0;
    for (size_t at = 0; at < piece.text.size();) {
      const bool in_head = at < piece.head_bytes;
      append_mapped(next_char(piece.text, at), out);
      if (in_head) head = out.size();
    }
    piece.text = std::move(out);
    piece.head_bytes = head;
  }
  virtual void append_mapped(char32_t c, std::string& out) const = 0;
};

class Lowercase final : public PerCharacter {
  void append_mapped(char32_t c, std::string& out) const override { append_lowercase(c, out); }
};

class StripAccents final : public PerCharacter {
  void append_mapped(char32_t c, std::string& out) const override {
    if (!is_mark(c)) append_char(c, out);
  }
};

class ByteLevelNormalizer final : public PerCharacter {
  void append_mapped(char32_t c, std::string& out) const override {
    std::string bytes;
    append_char(c, bytes);
    append_byte_chars(bytes, out);
  }
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string text) : text_(std::move(text)) {}
  void apply(NormalizedText& piece, size_t limit) const override {
    if (piece.text.empty() || piece.text.size() + text_.size() > limit) return;
    if (piece.head_bytes > 0) piece.head_bytes += text_.size();
    piece.text.insert(0, text_);
  }

 private:
  std::string text_;
};

class Replace final : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void apply(NormalizedText& piece, size_t limit) const override {
    if (piece.head_bytes > 0) piece.head_bytes = new_head(piece);
    piece.text = pattern_.replace_all(piece.text, content_, limit);
    piece.head_bytes = std::min(piece.head_bytes, piece.text.size());
  }

 private:
  // A replacement belongs to the last character that it replaces.
  size_t new_head(const NormalizedText& piece) const {
    std::vector<Stretch> stretches;
    pattern_.cut(piece.text, stretches);
    size_t head = 0;
    for (const Stretch& stretch : stretches) {
      if (stretch.range.begin >= piece.head_bytes) break;
      if (!stretch.is_match) {
        head += std::min(stretch.range.end, piece.head_bytes) - stretch.range.begin;
      } else if (stretch.range.end <= piece.head_bytes) {
        head += content_.size();
      }
    }
    return head;
  }

  Pattern pattern_;
  std::string content_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& piece, size_t) const override {
    const std::string& text = piece.text;
    size_t begin = 0;
    size_t end = text.size();
    while (left_ && begin < end) {
      size_t next = begin;
      if (!is_whitespace(next_char(text, next))) break;
      begin = next;
    }
    while (right_ && begin < end) {
      size_t last = end - 1;
      while (last > begin && is_continuation_byte(text[last])) --last;
      size_t at = last;
      if (!is_whitespace(next_char(text, at))) break;
      end = last;
    }
    piece.head_bytes = std::min(piece.head_bytes, end) - std::min(piece.head_bytes, begin);
    piece.text = text.substr(begin, end - begin);
  }

 private:
  bool left_;
  bool right_;
};

class NormalizerSequence final : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<NormalizerPtr> steps) : steps_(std::move(steps)) {}
  void apply(NormalizedText& piece, size_t limit) const override {
    for (const NormalizerPtr& step : steps_) {
      if (step != nullptr) step->apply(piece, limit);
    }
  }

 private:
  std::vector<NormalizerPtr> steps_;
};

absl::StatusOr<NormalizerPtr> sequence_from_json(const Json& json, const std::string& where) {
  RETURN_IF_ERROR(check_byte_levels(json, "normalizers", where));
  ASSIGN_OR_RETURN(const Json* items, array_field(json, "normalizers", where));
  std::vector<NormalizerPtr> steps;
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    ASSIGN_OR_RETURN(
        NormalizerPtr step,
        normalizer_from_json((*items)[i], absl::StrCat(where, ".normalizers[", i, "]")));
    steps.push_back(std::move(step));
  }
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

absl::StatusOr<NormalizerPtr> configured_from_json(const std::string& type, const Json& json,
                                                   const std::string& where) {
  if (type == "Prepend") {
    ASSIGN_OR_RETURN(std::string text, string_field(json, "prepend", "", where));
    return std::make_unique<Prepend>(std::move(text));
  }
  if (type == "Replace") {
    ASSIGN_OR_RETURN(Pattern pattern, Pattern::from_json(json, where));
    ASSIGN_OR_RETURN(std::string content, string_field(json, "content", "", where));
    return std::make_unique<Replace>(std::move(pattern), std::move(content));
  }
  if (type == "Strip") {
    ASSIGN_OR_RETURN(const bool left, bool_field(json, "strip_left", true, where));
    ASSIGN_OR_RETURN(const bool right, bool_field(json, "strip_right", true, where));
    return std::make_unique<Strip>(left, right);
  }
  return bad_file(where, absl::StrCat("the normalizer type ", in_quotes(type),
                                      " is not supported; this program knows NFC, NFD, NFKC, NFKD, "
                                      "Prepend, Replace, Strip, Lowercase, StripAccents, ByteLevel "
                                      "and Sequence"));
}

}  // namespace

absl::StatusOr<NormalizerPtr> normalizer_from_json(const Json& json, const std::string& where) {
  if (json.is_null()) return NormalizerPtr();
  ASSIGN_OR_RETURN(const std::string type, type_of(json, where));
  if (type == "NFC") return std::make_unique<UnicodeForm>(NormalizationForm::kNfc);
  if (type == "NFD") return std::make_unique<UnicodeForm>(NormalizationForm::kNfd);
  if (type == "NFKC") return std::make_unique<UnicodeForm>(NormalizationForm::kNfkc);
  if (type == "NFKD") return std::make_unique<UnicodeForm>(NormalizationForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents") return std::make_unique<StripAccents>();
  if (type == "ByteLevel") return std::make_unique<ByteLevelNormalizer>();
  if (type == "Sequence") return sequence_from_json(json, where);
  return configured_from_json(type, json, where);
}

}  // namespace conclave::coordinator
