#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_H_

// Mixed-integer programs for COIN-OR CBC, solved by a process of its own (conclave-cbc): CBC has
// been seen to run far past its own time limit, and a killed process is the only stop that always
// works.

#include <cstdint>
#include <utility>
#include <vector>

namespace conclave::placement {

// Maximise sum of gain * x.
struct MipModel {
  struct Column {
    double lower = 0, upper = 1, gain = 0;
    bool integer = true;
  };
  struct Row {
    double lower = 0, upper = 0;
    std::vector<std::pair<int32_t, double>> entries;  // column, coefficient
  };
  std::vector<Column> columns;
  std::vector<Row> rows;
  std::vector<double> start;  // a feasible point to begin with, or empty
};

enum class MipStatus : uint8_t {
  kOptimal,
  kFeasible,
  kNothing
};  // kNothing: no answer in time, or none exists
struct MipResult {
  MipStatus status = MipStatus::kNothing;
  double objective = 0;
  double bound = 0;            // no solution gains more; meaningful unless kNothing
  std::vector<double> values;  // [columns]
};

// Whether the solver program was built and lies beside this one.
bool mip_available();
// Returns after `seconds` plus half a second of grace at most. kNothing as well when there is no
// solver program.
MipResult solve_mip(const MipModel& model, double seconds);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_H_
