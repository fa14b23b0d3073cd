#include "coordinator/tokenizer/split.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

// Runs of stretches of one kind. The first stretch counts as following a non-match.
void join_runs(const std::vector<Stretch>& stretches, std::vector<TextRange>& out) {
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (stretch.is_match == previous_match && !out.empty()) {
      out.back().end = stretch.range.end;
    } else {
      out.push_back(stretch.range);
    }
    previous_match = stretch.is_match;
  }
}

void join_with_previous(const std::vector<Stretch>& stretches, std::vector<TextRange>& out) {
  bool previous_match = false;
  for (const Stretch& stretch : stretches) {
    if (stretch.is_match && !previous_match && !out.empty()) {
      out.back().end = stretch.range.end;
    } else {
      out.push_back(stretch.range);
    }
    previous_match = stretch.is_match;
  }
}

void join_with_next(const std::vector<Stretch>& stretches, std::vector<TextRange>& out) {
  bool next_match = false;
  for (auto it = stretches.rbegin(); it != stretches.rend(); ++it) {
    if (it->is_match && !next_match && !out.empty()) {
      out.back().begin = it->range.begin;
    } else {
      out.push_back(it->range);
    }
    next_match = it->is_match;
  }
  std::reverse(out.begin(), out.end());
}

}  // namespace

absl::StatusOr<SplitBehavior> split_behavior_from_json(const Json& json, SplitBehavior fallback,
                                                       const std::string& where) {
  ASSIGN_OR_RETURN(const std::string name, string_field(json, "behavior", "", where));
  if (name.empty()) return fallback;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return bad_file(where, absl::StrCat("\"behavior\" must be Removed, Isolated, MergedWithPrevious, "
                                      "MergedWithNext or Contiguous, not ",
                                      in_quotes(name)));
}

void arrange_stretches(const std::vector<Stretch>& stretches, SplitBehavior behavior,
                       std::vector<TextRange>& pieces) {
  pieces.clear();
  switch (behavior) {
    case SplitBehavior::kRemoved:
    case SplitBehavior::kIsolated:
      for (const Stretch& stretch : stretches) {
        if (behavior == SplitBehavior::kIsolated || !stretch.is_match) {
          pieces.push_back(stretch.range);
        }
      }
      break;
    case SplitBehavior::kContiguous:
      join_runs(stretches, pieces);
      break;
    case SplitBehavior::kMergedWithPrevious:
      join_with_previous(stretches, pieces);
      break;
    case SplitBehavior::kMergedWithNext:
      join_with_next(stretches, pieces);
      break;
  }
  pieces.erase(std::remove_if(pieces.begin(), pieces.end(),
                              [](const TextRange& range) { return range.begin == range.end; }),
               pieces.end());
}

void split_pieces(PieceList& list, const Cutter& cutter, SplitBehavior behavior) {
  std::vector<Piece> out;
  out.reserve(list.pieces.size() * 2);
  std::vector<Stretch> stretches;
  std::vector<TextRange> ranges;
  for (const Piece& piece : list.pieces) {
    if (piece.token != kNoToken) {
      out.push_back(piece);
      continue;
    }
    stretches.clear();
    cutter(list.view(piece), stretches);
    arrange_stretches(stretches, behavior, ranges);
    for (const TextRange& range : ranges) {
      out.push_back({piece.begin + range.begin, piece.begin + range.end, kNoToken});
    }
  }
  list.pieces = std::move(out);
}

void cut_by_char(std::string_view text, bool (*in_class)(char32_t),
                 std::vector<Stretch>& stretches) {
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (!in_class(next_char(text, at))) continue;
    if (done < begin) stretches.push_back({{done, begin}, false});
    stretches.push_back({{begin, at}, true});
    done = at;
  }
  if (done < text.size()) stretches.push_back({{done, text.size()}, false});
}

void cut_words(std::string_view text, std::vector<Stretch>& stretches) {
  enum class Kind { kSpace, kWord, kOther };
  Kind previous = Kind::kSpace;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_char(text, at);
    const Kind kind = is_word_char(c)    ? Kind::kWord
                      : is_whitespace(c) ? Kind::kSpace
                                         : Kind::kOther;
    if (kind == previous && !stretches.empty()) {
      stretches.back().range.end = at;
    } else {
      stretches.push_back({{begin, at}, kind != Kind::kSpace});
    }
    previous = kind;
  }
}

}  // namespace conclave::coordinator
