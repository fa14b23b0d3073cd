#include "coordinator/tokenizer/metaspace.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/split.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

using Prepend = MetaspaceOptions::Prepend;

class MetaspacePreTokenizer final : public PreTokenizer {
 public:
  explicit MetaspacePreTokenizer(const MetaspaceOptions& options) : options_(options) {
    append_char(options.replacement, mark_);
    delimiter_ = Pattern::from_literal(mark_);
  }

  void apply(PieceList& list) const override {
    if (list.text.size() > list.limit / 4) return;
    std::string out;
    out.reserve(list.text.size() + list.text.size() / 2);
    size_t head = 0;
    for (Piece& piece : list.pieces) {
      const size_t begin = out.size();
      const size_t piece_head = rewrite(list, piece, out);
      if (piece_head > begin) head = piece_head;
      piece.begin = begin;
      piece.end = out.size();
    }
    list.text = std::move(out);
    list.head_bytes = head;
    if (!options_.split) return;
    split_pieces(
        list,
        [this](std::string_view text, std::vector<Stretch>& stretches) {
          delimiter_.cut(text, stretches);
        },
        SplitBehavior::kMergedWithNext);
  }

 private:
  // Appends the piece with its spaces marked; returns where in `out` the input's first character
  // ends.
  size_t rewrite(const PieceList& list, const Piece& piece, std::string& out) const {
    if (piece.token != kNoToken) return 0;
    const std::string_view text = list.view(piece);
    const bool marked = text.substr(0, mark_.size()) == mark_ || (!text.empty() && text[0] == ' ');
    const bool wanted = options_.prepend == Prepend::kAlways ||
                        (options_.prepend == Prepend::kFirst && piece.begin < list.head_bytes);
    if (wanted && !marked && !text.empty()) out += mark_;
    size_t head = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] == ' ') {
        out += mark_;
      } else {
        out += text[i];
      }
      if (piece.begin + i < list.head_bytes) head = out.size();
    }
    return head;
  }

  MetaspaceOptions options_;
  std::string mark_;
  Pattern delimiter_;
};

}  // namespace

absl::StatusOr<MetaspaceOptions> metaspace_from_json(const Json& json, const std::string& where) {
  MetaspaceOptions options;
  ASSIGN_OR_RETURN(options.replacement,
                   char_field(json, "replacement", options.replacement, where));
  ASSIGN_OR_RETURN(options.split, bool_field(json, "split", true, where));
  ASSIGN_OR_RETURN(const bool add_prefix_space, bool_field(json, "add_prefix_space", true, where));
  ASSIGN_OR_RETURN(const std::string scheme, string_field(json, "prepend_scheme", "", where));
  if (scheme == "never" || (scheme.empty() && !add_prefix_space)) {
    options.prepend = Prepend::kNever;
  } else if (scheme == "first") {
    options.prepend = Prepend::kFirst;
  } else if (!scheme.empty() && scheme != "always") {
    return bad_file(where, absl::StrCat("\"prepend_scheme\" must be always, first or never, not ",
                                        in_quotes(scheme)));
  }
  if (!add_prefix_space && options.prepend != Prepend::kNever) {
    return bad_file(where, "\"add_prefix_space\" false contradicts \"prepend_scheme\"; remove one");
  }
  return options;
}

absl::StatusOr<std::unique_ptr<const PreTokenizer>> metaspace_pre_tokenizer_from_json(
    const Json& json, const std::string& where) {
  ASSIGN_OR_RETURN(const MetaspaceOptions options, metaspace_from_json(json, where));
  return std::make_unique<MetaspacePreTokenizer>(options);
}

}  // namespace conclave::coordinator
