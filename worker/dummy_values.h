#ifndef CONCLAVE_WORKER_DUMMY_VALUES_H_
#define CONCLAVE_WORKER_DUMMY_VALUES_H_

#include <cstddef>
#include <cstdint>

#include "base/dtype.h"

namespace conclave::worker {

// Fills `count` elements of `dtype` with numbers uniform in [-bound, bound): a pure function of seed and
// index, so that every rank and every run makes the same dummy model.
void fill_dummy_values(uint64_t seed, float bound, DType dtype, size_t count, std::byte* out);

// A number below `shifts`, evenly spread over seeds.
size_t dummy_shift(uint64_t seed, size_t shifts);

// The bound that keeps a product over `inputs` terms at unit variance.
float dummy_bound(int64_t inputs);

}  // namespace conclave::worker

#endif  // CONCLAVE_WORKER_DUMMY_VALUES_H_
