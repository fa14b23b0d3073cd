#ifndef CONCLAVE_COORDINATOR_TOKENIZER_SPLIT_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_SPLIT_H_

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/pattern.h"
#include "coordinator/tokenizer/piece_list.h"

namespace conclave::coordinator {

// What becomes of the delimiters. "the-final--countdown" split on "-":
enum class SplitBehavior {
  kRemoved,             // the, final, countdown
  kIsolated,            // the, -, final, -, -, countdown
  kMergedWithPrevious,  // the-, final-, -, countdown
  kMergedWithNext,      // the, -final, -, -countdown
  kContiguous,          // the, -, final, --, countdown
};

absl::StatusOr<SplitBehavior> split_behavior_from_json(const Json& json, SplitBehavior fallback,
                                                       const std::string& where);

// The pieces of a cut text, without empty ones. Stretches are relative to the text and so are
// pieces.
void arrange_stretches(const std::vector<Stretch>& stretches, SplitBehavior behavior,
                       std::vector<TextRange>& pieces);

// Cuts each text piece. cutter appends the stretches of the view it gets.
using Cutter = std::function<void(std::string_view, std::vector<Stretch>&)>;
void split_pieces(PieceList& list, const Cutter& cutter, SplitBehavior behavior);

// A cutter whose matches are the characters of a class, one by one.
void cut_by_char(std::string_view text, bool (*in_class)(char32_t),
                 std::vector<Stretch>& stretches);

// A cutter that matches runs of word characters and runs of what is neither a word character nor
// white space.
void cut_words(std::string_view text, std::vector<Stretch>& stretches);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_SPLIT_H_
