#ifndef CONCLAVE_BASE_STATUS_MACROS_H_
#define CONCLAVE_BASE_STATUS_MACROS_H_

// The only two control-flow macros of the project: leave the function when a Status is not OK.

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                                   \
  do {                                                                \
    if (absl::Status status_ = (expression); !status_.ok()) {         \
      return status_;                                                 \
    }                                                                 \
  } while (false)

#define CONCLAVE_CONCAT_INNER_(a, b) a##b
#define CONCLAVE_CONCAT_(a, b) CONCLAVE_CONCAT_INNER_(a, b)
#define ASSIGN_OR_RETURN(lhs, expression) \
  CONCLAVE_ASSIGN_OR_RETURN_(CONCLAVE_CONCAT_(statusor_, __LINE__), lhs, expression)
#define CONCLAVE_ASSIGN_OR_RETURN_(statusor, lhs, expression) \
  auto statusor = (expression);                               \
  if (!statusor.ok()) return statusor.status();               \
  lhs = std::move(statusor).value()

#endif  // CONCLAVE_BASE_STATUS_MACROS_H_
