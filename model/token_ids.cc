#include "model/token_ids.h"

#include <algorithm>

namespace conclave::model {

void take_outside(std::vector<int32_t>* ids, int32_t vocab, std::vector<int32_t>* outside) {
  const auto known = [vocab](int32_t id) { return id >= 0 && id < vocab; };
  const auto end = std::stable_partition(ids->begin(), ids->end(), known);
  outside->insert(outside->end(), end, ids->end());
  ids->erase(end, ids->end());
}

void add_missing(const std::vector<int32_t>& more, std::vector<int32_t>* ids) {
  for (const int32_t id : more) {
    if (std::find(ids->begin(), ids->end(), id) == ids->end()) ids->push_back(id);
  }
}

}  // namespace conclave::model
