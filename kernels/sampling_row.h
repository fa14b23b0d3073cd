#ifndef CONCLAVE_KERNELS_SAMPLING_ROW_H_
#define CONCLAVE_KERNELS_SAMPLING_ROW_H_

#include <cstdint>
#include <vector>

#include "kernels/sampling.h"

namespace conclave::kernels {

struct SamplingCandidate {
  float logit = 0;
  int32_t token = 0;
};

// Memory for sampling one row at a time; one per thread, sized once so that sampling allocates
// nothing.
struct SamplingScratch {
  std::vector<SamplingCandidate> candidates;  // [vocab]
  std::vector<float> raw;                     // [vocab]
  void reserve(int64_t vocab) {
    candidates.resize(static_cast<size_t>(vocab));
    raw.resize(static_cast<size_t>(vocab));
  }
};

// Samples one row of `vocab` logits, which it may modify. Pure: the result depends on its arguments
// alone. NaN logits are never chosen unless all are (then token 0); +infinity wins, lowest id
// first. Grows the scratch if it is smaller than vocab.
void sample_row(float* logits, int64_t vocab, const SamplingRow& row, SamplingScratch& scratch,
                SamplingResult& result);

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_SAMPLING_ROW_H_
