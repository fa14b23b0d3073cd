#ifndef CONCLAVE_COORDINATOR_TOKENIZER_CLASS_PARTS_H_
#define CONCLAVE_COORDINATOR_TOKENIZER_CLASS_PARTS_H_

#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/tokenizer_class.h"
#include "coordinator/tokenizer/tokenizer_settings.h"

namespace conclave::coordinator {

// Puts the normalizer, pre-tokenizer, decoder and model options of the class into a tokenizer.json;
// vocabulary and merges stay, and the post_processor where the class keeps it.
void rebuild_by_class(const TokenizerClass& chosen, const TokenizerSettings& settings, Json* file);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_TOKENIZER_CLASS_PARTS_H_
