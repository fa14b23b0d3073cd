#ifndef CONCLAVE_COORDINATOR_TOKENIZER_PIECE_LIST_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_PIECE_LIST_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::coordinator {

inline constexpr int32_t kNoToken = -1;

// A stretch of PieceList::text, either still text (token == kNoToken) or an added token, which
// nothing looks into any more.
struct Piece {
  size_t begin;
  size_t end;
  int32_t token;
};

// A text in pieces, in order; what encoding works on between the normalizer and the model. One
// buffer for all pieces, because a page of text is thousands of words.
struct PieceList {
  std::string text;
  std::vector<Piece> pieces;
  size_t head_bytes = 0;  // as in NormalizedText, counted in `text`
  size_t limit = 0;       // bytes that `text` may grow to

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_PIECE_LIST_H_
