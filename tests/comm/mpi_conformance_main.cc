// The conformance cases under mpirun: every rank runs them all in the same order.

#include <cstdio>
#include <memory>

#include "comm/mpi/mpi_communicator.h"
#include "tests/comm/communicator_conformance.h"

namespace conclave::comm {
namespace {

bool run_cases(const MpiRuntime& runtime) {
  const auto make = [&runtime] {
    return make_mpi_communicator(runtime, Deadline::after_ms(60000));
  };
  const auto communicator = make();
  if (!communicator.ok()) {
    std::fprintf(stderr, "%s\n", communicator.status().ToString().c_str());
    return false;
  }
  if ((*communicator)->size() != runtime.size() || (*communicator)->transport() != "mpi") {
    std::fprintf(stderr, "the communicator does not describe the MPI job\n");
    return false;
  }
  const ConformanceContext context{communicator->get(), make};
  bool passed = true;
  for (const ConformanceCase& test : conformance_cases()) {
    if (const absl::Status status = test.run(context); !status.ok()) {
      std::fprintf(stderr, "rank %d: FAILED: %s: %s\n", runtime.rank(), test.name,
                   status.ToString().c_str());
      passed = false;
    }
  }
  return passed;
}

}  // namespace
}  // namespace conclave::comm

int main(int argc, char** argv) {
  using conclave::comm::MpiRuntime;
  const auto runtime = MpiRuntime::create(&argc, &argv);
  if (!runtime.ok()) {
    std::fprintf(stderr, "%s\n", runtime.status().ToString().c_str());
    return 1;
  }
  if (MpiRuntime::create(&argc, &argv).ok()) {
    std::fprintf(stderr, "MPI could be started twice\n");
    MpiRuntime::abort(1);
  }
  if (!conclave::comm::run_cases(**runtime)) MpiRuntime::abort(1);
  return 0;
}
