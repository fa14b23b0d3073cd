#ifndef CONCLAVE_COORDINATOR_TOKENIZER_PRE_TOKENIZER_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/piece_list.h"

namespace conclave::coordinator {

// Cuts pieces into words and may rewrite their text. Immutable; any thread.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PieceList& list) const = 0;
};

// json: the "pre_tokenizer" of a tokenizer file; null gives nullptr. INVALID_ARGUMENT names the
// place.
absl::StatusOr<std::unique_ptr<const PreTokenizer>> pre_tokenizer_from_json(
    const Json& json, const std::string& where);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_PRE_TOKENIZER_H_
