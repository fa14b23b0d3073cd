#include "coordinator/chat_template/text_wrap.h"

#include <algorithm>
#include <deque>

#include "coordinator/chat_template/unicode.h"

namespace conclave::coordinator::jinja {
namespace {

using Runes = std::u32string_view;  // of the paragraph, so that taking a part costs nothing

bool is_blank(char32_t c) { return c == ' ' || (c >= 9 && c <= 13); }
bool is_word_character(char32_t c) { return is_alnum(c) || c == '_'; }
bool is_letter(char32_t c) { return is_word_character(c) && !is_decimal(c); }
bool is_word_or_punctuation(char32_t c) {
  return is_word_character(c) ||
         (c < 0x80 &&
          std::string_view("!\"'&.,?").find(static_cast<char>(c)) != std::string_view::npos);
}

// Splits a paragraph into the pieces between which lines may break.
class Splitter {
 public:
  Splitter(Runes text, bool hyphens) : text_(text), hyphens_(hyphens) {}

  std::deque<Runes> pieces() const {
    std::deque<Runes> found;
    for (size_t at = 0; at < text_.size();) {
      const size_t end = piece_end(at);
      found.push_back(text_.substr(at, end - at));
      at = end;
    }
    return found;
  }

 private:
  char32_t at(size_t index) const { return index < text_.size() ? text_[index] : 0; }
  bool letter(size_t index) const { return index < text_.size() && is_letter(text_[index]); }

  size_t run_end(size_t from, bool blank) const {
    while (from < text_.size() && is_blank(text_[from]) == blank) ++from;
    return from;
  }
  // Where two or more dashes before a word end; 0 if there are none.
  size_t dashes_end(size_t from) const {
    size_t end = from;
    while (at(end) == '-') ++end;
    return end - from >= 2 && end < text_.size() && is_word_character(text_[end]) ? end : 0;
  }
  bool after_word(size_t from) const { return from > 0 && is_word_or_punctuation(text_[from - 1]); }

  // A hyphen here ends a piece: letters on both sides.
  bool breaks_at_hyphen(size_t from) const {
    if (at(from) != '-') return false;
    const bool two_letters = from >= 2 && letter(from - 1) && letter(from - 2);
    const bool letter_and_hyphen = from >= 3 && letter(from - 3) && text_[from - 2] == '-' &&
                                   is_word_or_punctuation(text_[from - 1]);
    if (!two_letters && !letter_and_hyphen) return false;
    return letter(from + 1) && (letter(from + 2) || (at(from + 2) == '-' && letter(from + 3)));
  }

  size_t piece_end(size_t from) const {
    if (is_blank(text_[from])) return run_end(from, true);
    if (!hyphens_) return run_end(from, false);
    if (after_word(from)) {
      if (const size_t end = dashes_end(from)) return end;
    }
    for (size_t end = from + 1;; ++end) {
      if (end >= text_.size() || is_blank(text_[end])) return end;
      if (breaks_at_hyphen(end)) return end + 1;
      if (after_word(end) && dashes_end(end) != 0) return end;
    }
  }

  const Runes text_;
  const bool hyphens_;
};

// How much of a word longer than a line goes onto this one.
size_t long_word_part(Runes word, size_t room, bool hyphens) {
  if (!hyphens || word.size() <= room || room == 0) return room;
  const size_t hyphen = word.rfind(U'-', room - 1);
  if (hyphen == Runes::npos || hyphen == 0) return room;
  const bool something_before = word.substr(0, hyphen).find_first_not_of(U'-') != Runes::npos;
  return something_before ? hyphen + 1 : room;
}

bool all_blank(Runes piece) {
  return std::all_of(piece.begin(), piece.end(), [](char32_t c) { return is_space(c); });
}

std::u32string take_line(std::deque<Runes>& pieces, const WrapStyle& style) {
  const auto width = static_cast<size_t>(style.width);
  std::vector<Runes> line;
  size_t length = 0;
  while (!pieces.empty() && length + pieces.front().size() <= width) {
    length += pieces.front().size();
    line.push_back(pieces.front());
    pieces.pop_front();
  }
  if (!pieces.empty() && pieces.front().size() > width) {
    if (style.break_long_words) {
      const size_t part = long_word_part(pieces.front(), width - length, style.break_on_hyphens);
      line.push_back(pieces.front().substr(0, part));
      pieces.front().remove_prefix(part);
    } else if (line.empty()) {
      line.push_back(pieces.front());
      pieces.pop_front();
    }
  }
  if (!line.empty() && all_blank(line.back())) line.pop_back();
  std::u32string joined;
  for (const Runes piece : line) joined += piece;
  return joined;
}

}  // namespace

std::vector<std::string> wrap_text(std::string_view paragraph, const WrapStyle& style) {
  std::u32string text;
  for (std::string_view rest = paragraph; !rest.empty();) {
    const DecodedRune rune = decode_rune(rest);
    text += rune.code_point;
    rest.remove_prefix(rune.bytes);
  }
  std::deque<Runes> pieces = Splitter(text, style.break_on_hyphens).pieces();
  std::vector<std::string> lines;
  while (!pieces.empty()) {
    if (!lines.empty() && all_blank(pieces.front())) pieces.pop_front();
    const std::u32string line = take_line(pieces, style);
    if (line.empty()) continue;
    std::string shown;
    for (const char32_t c : line) append_rune(shown, c);
    lines.push_back(std::move(shown));
  }
  return lines;
}

}  // namespace conclave::coordinator::jinja
