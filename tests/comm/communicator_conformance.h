#ifndef CONCLAVE_TESTS_COMM_COMMUNICATOR_CONFORMANCE_H_
#define CONCLAVE_TESTS_COMM_COMMUNICATOR_CONFORMANCE_H_

// What every transport must do, as bodies that all ranks of a group run together. The local tests
// run them on threads, the MPI test program in processes.

#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "comm/communicator.h"

namespace conclave::comm {

struct ConformanceContext {
  Communicator* communicator = nullptr;
  // Makes a fresh communicator over the same ranks; all ranks call it equally often.
  std::function<absl::StatusOr<std::unique_ptr<Communicator>>()> make_communicator;
};

struct ConformanceCase {
  const char* name;
  // The first thing that went wrong on this rank.
  absl::Status (*run)(const ConformanceContext& context);
};

std::span<const ConformanceCase> conformance_cases();

}  // namespace conclave::comm

#endif  // CONCLAVE_TESTS_COMM_COMMUNICATOR_CONFORMANCE_H_
