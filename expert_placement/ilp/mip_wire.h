#ifndef CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_WIRE_H_
#define CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_WIRE_H_

// How a program travels to the solver process and its answer back: arrays of doubles over one
// socket, each preceded by its length. Both ends are the same build on the same machine.

#include <chrono>
#include <vector>

#include "expert_placement/ilp/mip.h"

namespace conclave::placement {

using WireDeadline = std::chrono::steady_clock::time_point;

std::vector<double> encode_model(const MipModel& model, double seconds);
// False if the numbers are not what encode_model wrote.
bool decode_model(const std::vector<double>& numbers, MipModel* model, double* seconds);
std::vector<double> encode_result(const MipResult& result);
bool decode_result(const std::vector<double>& numbers, MipResult* result);

// False when the other end is gone or the deadline passes.
bool send_numbers(int socket, const std::vector<double>& numbers, WireDeadline deadline);
bool receive_numbers(int socket, std::vector<double>* numbers, WireDeadline deadline);

}  // namespace conclave::placement

#endif  // CONCLAVE_EXPERT_PLACEMENT_ILP_MIP_WIRE_H_
