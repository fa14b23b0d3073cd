// The solver process: one mixed-integer program in, one answer out, over the socket that is
// standard input. Apart from the programs that people run, so that those need no COIN-OR libraries
// and a kill ends it for sure.
#include <coin/Cbc_C_Interface.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "expert_placement/ilp/mip_wire.h"

namespace conclave::placement {
namespace {

struct ColumnMajor {
  std::vector<CoinBigIndex> start;
  std::vector<int> row;
  std::vector<double> value;
};

ColumnMajor by_column(const MipModel& model) {
  ColumnMajor out;
  out.start.assign(model.columns.size() + 1, 0);
  for (const auto& row : model.rows) {
    for (const auto& entry : row.entries) ++out.start[static_cast<size_t>(entry.first) + 1];
  }
  for (size_t i = 1; i < out.start.size(); ++i) out.start[i] += out.start[i - 1];
  std::vector<CoinBigIndex> next(out.start.begin(), out.start.end() - 1);
  out.row.resize(static_cast<size_t>(out.start.back()));
  out.value.resize(out.row.size());
  for (size_t r = 0; r < model.rows.size(); ++r) {
    for (const auto& [column, value] : model.rows[r].entries) {
      const auto at = static_cast<size_t>(next[static_cast<size_t>(column)]++);
      out.row[at] = static_cast<int>(r);
      out.value[at] = value;
    }
  }
  return out;
}

Cbc_Model* load(const MipModel& model) {
  const ColumnMajor matrix = by_column(model);
  std::vector<double> lower, upper, cost, row_lower, row_upper;
  for (const auto& column : model.columns) {
    lower.push_back(column.lower), upper.push_back(column.upper), cost.push_back(-column.gain);
  }
  for (const auto& row : model.rows) row_lower.push_back(row.lower), row_upper.push_back(row.upper);
  Cbc_Model* cbc = Cbc_newModel();
  Cbc_loadProblem(cbc, static_cast<int>(lower.size()), static_cast<int>(row_lower.size()),
                  matrix.start.data(), matrix.row.data(), matrix.value.data(), lower.data(),
                  upper.data(), cost.data(), row_lower.data(), row_upper.data());
  for (size_t i = 0; i < model.columns.size(); ++i) {
    if (model.columns[i].integer) Cbc_setInteger(cbc, static_cast<int>(i));
  }
  return cbc;
}

MipResult solve(const MipModel& model, double seconds) {
  Cbc_Model* cbc = load(model);
  Cbc_setParameter(cbc, "log", "0");
  Cbc_setParameter(cbc, "sec", std::to_string(seconds).c_str());
  Cbc_setParameter(cbc, "ratio", "0");
  if (!model.start.empty()) {
    std::vector<int> columns;
    for (size_t i = 0; i < model.start.size(); ++i) columns.push_back(static_cast<int>(i));
    Cbc_setMIPStartI(cbc, static_cast<int>(columns.size()), columns.data(), model.start.data());
  }
  Cbc_solve(cbc);
  const double* best = Cbc_numberSavedSolutions(cbc) > 0 ? Cbc_bestSolution(cbc) : nullptr;
  if (best == nullptr && Cbc_isProvenOptimal(cbc)) best = Cbc_getColSolution(cbc);
  MipResult result;
  if (best == nullptr) return result;
  result.status = Cbc_isProvenOptimal(cbc) ? MipStatus::kOptimal : MipStatus::kFeasible;
  result.objective = -Cbc_getObjValue(cbc);
  result.bound = -Cbc_getBestPossibleObjValue(cbc);
  result.values.assign(best, best + model.columns.size());
  return result;
}

int run() {
  const auto patient = std::chrono::steady_clock::now() + std::chrono::hours(1);
  std::vector<double> numbers;
  MipModel model;
  double seconds = 0;
  if (!receive_numbers(STDIN_FILENO, &numbers, patient) ||
      !decode_model(numbers, &model, &seconds)) {
    std::fputs(
        "conclave-cbc: expects a program from conclave on standard input; it is not run by hand\n",
        stderr);
    return 2;
  }
  // CBC talks on standard output whatever its log level.
  const int null = open("/dev/null", O_WRONLY);
  dup2(null, STDOUT_FILENO);
  return send_numbers(STDIN_FILENO, encode_result(solve(model, seconds)), patient) ? 0 : 1;
}

}  // namespace
}  // namespace conclave::placement

int main() { return conclave::placement::run(); }
