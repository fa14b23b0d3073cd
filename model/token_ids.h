#ifndef CONCLAVE_MODEL_TOKEN_IDS_H_
#define CONCLAVE_MODEL_TOKEN_IDS_H_

#include <cstdint>
#include <vector>

namespace conclave::model {

// Moves the ids that a vocabulary of `vocab` tokens does not have, negative ones too, from *ids to
// the end of *outside. They can never be sampled and would be out of range wherever logits are
// masked; transformers too reads such files and never sees these ids.
void take_outside(std::vector<int32_t>* ids, int32_t vocab, std::vector<int32_t>* outside);

// Appends the ids that *ids lacks, in order.
void add_missing(const std::vector<int32_t>& more, std::vector<int32_t>* ids);

}  // namespace conclave::model

#endif  // CONCLAVE_MODEL_TOKEN_IDS_H_
