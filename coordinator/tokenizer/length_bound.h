#ifndef CONCLAVE_COORDINATOR_TOKENIZER_LENGTH_BOUND_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_LENGTH_BOUND_H_

#include <cstddef>
#include <string_view>

#include "coordinator/tokenizer/added_tokens.h"
#include "coordinator/tokenizer/bpe_model.h"
#include "coordinator/tokenizer/json_fields.h"

namespace conclave::coordinator {

// How many characters of a text, as it comes in, one token stands for at most; 0 where that is not
// certain, because normalizer or pre-tokenizer remove text, an added token swallows white space, or
// characters have no token. file: the tokenizer file that the other two were read from.
size_t most_characters_a_token(const Json& file, const BpeModel& model, const AddedTokens& added);

// Characters of valid UTF-8; of other text no more than it becomes when it is made valid.
size_t count_characters(std::string_view text);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_LENGTH_BOUND_H_
