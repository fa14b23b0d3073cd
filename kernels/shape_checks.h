#ifndef CONCLAVE_KERNELS_SHAPE_CHECKS_H_
#define CONCLAVE_KERNELS_SHAPE_CHECKS_H_

// The shapes every host kernel set accepts. INVALID_ARGUMENT for nonsense, UNIMPLEMENTED for shapes
// beyond the sizes of the fixed scratch.

#include <cmath>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/kernel_set.h"

namespace conclave::kernels {

inline constexpr int32_t kMaxHeadDim = 512;
inline constexpr int32_t kMaxRouterTopK = 64;

inline absl::Status check_shape(const AttentionShape& shape) {
  if (shape.heads < 1 || shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("attention: ", shape.heads,
                                                   " query heads cannot share ", shape.kv_heads,
                                                   " key/value heads; the first must be a "
                                                   "positive multiple of the second"));
  }
  if (shape.head_dim < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("attention: head_dim ", shape.head_dim, " is not positive"));
  }
  if (shape.head_dim > kMaxHeadDim) {
    return absl::UnimplementedError(absl::StrCat("attention: head_dim ", shape.head_dim,
                                                 " is larger than the supported ", kMaxHeadDim));
  }
  if (shape.rotary_dim < 0 || shape.rotary_dim > shape.head_dim || shape.rotary_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat("attention: rotary_dim ", shape.rotary_dim,
                                                   " must be even and at most head_dim ",
                                                   shape.head_dim));
  }
  if (shape.sliding_window < 0 || !std::isfinite(shape.scale) || !(shape.clip >= 0)) {
    return absl::InvalidArgumentError(
        "attention: sliding_window and clip must not be negative and scale must be finite");
  }
  return absl::OkStatus();
}

inline absl::Status check_shape(const RouterShape& shape) {
  if (shape.experts < 1 || shape.top_k < 1 || shape.top_k > shape.experts) {
    return absl::InvalidArgumentError(
        absl::StrCat("router: cannot choose ", shape.top_k, " of ", shape.experts,
                     " experts; top_k must be between 1 and the number of experts"));
  }
  if (shape.top_k > kMaxRouterTopK) {
    return absl::UnimplementedError(absl::StrCat("router: top_k ", shape.top_k,
                                                 " is larger than the supported ", kMaxRouterTopK));
  }
  return absl::OkStatus();
}

}  // namespace conclave::kernels

#endif  // CONCLAVE_KERNELS_SHAPE_CHECKS_H_
