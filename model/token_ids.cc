#include "model/token_ids.h"

#include <algorithm>

namespace conclave::model {

void take_outside(std::vector<int32_t>* ids, int32_t vocab, std::vector<int32_t>* outside) {
  size_t kept = 0;
  for (const int32_t id : *ids) {
    if (id >= 0 && id < vocab) {
      (*ids)[kept++] = id;
    } else {
      outside->push_back(id);
    }
  }
  ids->resize(kept);
}

void add_missing(const std::vector<int32_t>& more, std::vector<int32_t>* ids) {
  for (const int32_t id : more) {
    if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
  }
}

}  // namespace conclave::model
