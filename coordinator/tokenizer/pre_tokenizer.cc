#include "coordinator/tokenizer/pre_tokenizer.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/byte_level.h"
#include "coordinator/tokenizer/metaspace.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/split.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

using PreTokenizerPtr = std::unique_ptr<const PreTokenizer>;

class PatternSplit final : public PreTokenizer {
 public:
  PatternSplit(Pattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}
  void apply(PieceList& list) const override {
    split_pieces(
        list,
        [this](std::string_view text, std::vector<Stretch>& stretches) {
          pattern_.cut(text, stretches);
          if (!invert_) return;
          for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
        },
        behavior_);
  }

 private:
  Pattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class FunctionSplit final : public PreTokenizer {
 public:
  FunctionSplit(Cutter cutter, SplitBehavior behavior)
      : cutter_(std::move(cutter)), behavior_(behavior) {}
  void apply(PieceList& list) const override { split_pieces(list, cutter_, behavior_); }

 private:
  Cutter cutter_;
  SplitBehavior behavior_;
};

PreTokenizerPtr split_on(bool (*in_class)(char32_t), SplitBehavior behavior) {
  return std::make_unique<FunctionSplit>(
      [in_class](std::string_view text, std::vector<Stretch>& stretches) {
        cut_by_char(text, in_class, stretches);
      },
      behavior);
}

class ByteLevelSplit final : public PreTokenizer {
 public:
  ByteLevelSplit(bool add_prefix_space, std::unique_ptr<PatternSplit> words)
      : add_prefix_space_(add_prefix_space), words_(std::move(words)) {}
  void apply(PieceList& list) const override {
    if (list.text.size() > list.limit / 2) return;
    if (add_prefix_space_) {
      rewrite(list, [](std::string_view text, size_t at, std::string& out) {
        if (at == 0 && text[0] != ' ') out += ' ';
        out += text[at];
      });
    }
    if (words_ != nullptr) words_->apply(list);
    rewrite(list, [](std::string_view text, size_t at, std::string& out) {
      append_byte_chars(text.substr(at, 1), out);
    });
  }

 private:
  // append(text, i, out) appends what becomes of byte i of a piece.
  template <typename Append>
  static void rewrite(PieceList& list, const Append& append) {
    std::string out;
    out.reserve(list.text.size() + list.text.size() / 4);
    size_t head = 0;
    for (Piece& piece : list.pieces) {
      const size_t begin = out.size();
      const std::string_view text = piece.token == kNoToken ? list.view(piece) : std::string_view();
      for (size_t i = 0; i < text.size(); ++i) {
        append(text, i, out);
        if (piece.begin + i < list.head_bytes) head = out.size();
      }
      piece.begin = begin;
      piece.end = out.size();
    }
    list.text = std::move(out);
    list.head_bytes = head;
  }

  bool add_prefix_space_;
  std::unique_ptr<PatternSplit> words_;  // null without use_regex
};

class PreTokenizerSequence final : public PreTokenizer {
 public:
  explicit PreTokenizerSequence(std::vector<PreTokenizerPtr> steps) : steps_(std::move(steps)) {}
  void apply(PieceList& list) const override {
    for (const PreTokenizerPtr& step : steps_) {
      if (step != nullptr) step->apply(list);
    }
  }

 private:
  std::vector<PreTokenizerPtr> steps_;
};

absl::StatusOr<PreTokenizerPtr> sequence_from_json(const Json& json, const std::string& where) {
  RETURN_IF_ERROR(check_byte_levels(json, "pretokenizers", where));
  ASSIGN_OR_RETURN(const Json* items, array_field(json, "pretokenizers", where));
  std::vector<PreTokenizerPtr> steps;
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    ASSIGN_OR_RETURN(
        PreTokenizerPtr step,
        pre_tokenizer_from_json((*items)[i], absl::StrCat(where, ".pretokenizers[", i, "]")));
    steps.push_back(std::move(step));
  }
  return std::make_unique<PreTokenizerSequence>(std::move(steps));
}

absl::StatusOr<PreTokenizerPtr> byte_level_from_json(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const bool add_prefix_space, bool_field(json, "add_prefix_space", true, where));
  ASSIGN_OR_RETURN(const bool use_regex, bool_field(json, "use_regex", true, where));
  std::unique_ptr<PatternSplit> words;
  if (use_regex) {
    ASSIGN_OR_RETURN(Pattern pattern, Pattern::from_regex(kGpt2WordPattern, where));
    words = std::make_unique<PatternSplit>(std::move(pattern), SplitBehavior::kIsolated, false);
  }
  return std::make_unique<ByteLevelSplit>(add_prefix_space, std::move(words));
}

absl::StatusOr<PreTokenizerPtr> split_from_json(const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(Pattern pattern, Pattern::from_json(json, where));
  ASSIGN_OR_RETURN(const SplitBehavior behavior,
                   split_behavior_from_json(json, SplitBehavior::kIsolated, where));
  ASSIGN_OR_RETURN(const bool invert, bool_field(json, "invert", false, where));
  return std::make_unique<PatternSplit>(std::move(pattern), behavior, invert);
}

}  // namespace

absl::StatusOr<PreTokenizerPtr> pre_tokenizer_from_json(const Json& json,
                                                        const std::string& where) {
  if (json.is_null()) return PreTokenizerPtr();
  ASSIGN_OR_RETURN(const std::string type, type_of(json, where));
  if (type == "Sequence") return sequence_from_json(json, where);
  if (type == "ByteLevel") return byte_level_from_json(json, where);
  if (type == "Split") return split_from_json(json, where);
  if (type == "Metaspace") return metaspace_pre_tokenizer_from_json(json, where);
  if (type == "Digits") {
    ASSIGN_OR_RETURN(const bool individual, bool_field(json, "individual_digits", false, where));
    return split_on(is_numeric, individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous);
  }
  if (type == "Punctuation") {
    ASSIGN_OR_RETURN(const SplitBehavior behavior,
                     split_behavior_from_json(json, SplitBehavior::kIsolated, where));
    return split_on(is_punctuation, behavior);
  }
  if (type == "WhitespaceSplit") {
    return split_on(is_whitespace, SplitBehavior::kRemoved);
  }
  if (type == "Whitespace") {
    return std::make_unique<FunctionSplit>(
        [](std::string_view text, std::vector<Stretch>& stretches) {
          cut_words(text, stretches);
          for (Stretch& stretch : stretches) stretch.is_match = !stretch.is_match;
        },
        SplitBehavior::kRemoved);
  }
  return bad_file(where, absl::StrCat("the pre_tokenizer type ", in_quotes(type),
                                      " is not supported; this program knows ByteLevel, Split, "
                                      "Metaspace, Digits, Punctuation, Whitespace, WhitespaceSplit "
                                      "and Sequence"));
}

}  // namespace conclave::coordinator
