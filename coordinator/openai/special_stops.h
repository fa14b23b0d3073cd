#ifndef CONCLAVE_COORDINATOR_OPENAI_SPECIAL_STOPS_H_
#define CONCLAVE_COORDINATOR_OPENAI_SPECIAL_STOPS_H_

#include <cstdint>
#include <optional>

#include "coordinator/openai/requests.h"
#include "coordinator/tokenizer/tokenizer.h"

namespace conclave::coordinator {

// Special tokens are left out of the text in which stop strings are found. So a stop string that is
// a special token ends generation at its id; 400 for one that has a special token beside other
// text, which could never be found, unless skip_special_tokens is off.
std::optional<ApiError> stop_at_special_tokens(const Tokenizer& tokenizer, int32_t vocab_size,
                                               GenerationFields* fields);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_OPENAI_SPECIAL_STOPS_H_
