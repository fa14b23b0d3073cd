#ifndef CONCLAVE_COORDINATOR_TOKENIZER_METASPACE_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_METASPACE_H_

// SentencePiece's convention: a space is written as a visible character (U+2581), and one may be
// put before the text, so that a word reads the same at the start as elsewhere.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/pre_tokenizer.h"

namespace conclave::coordinator {

struct MetaspaceOptions {
  enum class Prepend { kAlways, kFirst, kNever };  // kFirst: only at the start of the whole input
  char32_t replacement = 0x2581;
  Prepend prepend = Prepend::kAlways;
  bool split = true;
};

// Reads the present form (prepend_scheme, split) and the old one (add_prefix_space).
absl::StatusOr<MetaspaceOptions> metaspace_from_json(const Json& json, const std::string& where);

absl::StatusOr<std::unique_ptr<const PreTokenizer>> metaspace_pre_tokenizer_from_json(
    const Json& json, const std::string& where);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_METASPACE_H_
