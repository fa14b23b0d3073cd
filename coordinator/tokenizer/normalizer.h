#ifndef CONCLAVE_COORDINATOR_TOKENIZER_NORMALIZER_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_NORMALIZER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// A text on its way through the normalizers. head_bytes: how many of its first bytes come from the
// first character of the whole input (0 for text that starts later); Metaspace's "first" needs it.
struct NormalizedText {
  std::string text;
  size_t head_bytes = 0;
};

// One normalizer or a sequence. Immutable; any thread.
class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // limit: bytes that the text may grow to (grown_text_limit()).
  virtual void apply(NormalizedText& piece, size_t limit) const = 0;
};

// json: the "normalizer" of a tokenizer file; null gives nullptr. INVALID_ARGUMENT names the place.
absl::StatusOr<std::unique_ptr<const Normalizer>> normalizer_from_json(const Json& json,
                                                                       const std::string& where);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_NORMALIZER_H_
