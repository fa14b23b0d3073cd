#include "expert_placement/ilp/mip.h"

#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>

#include "expert_placement/ilp/mip_wire.h"

namespace conclave::placement {
namespace {

// The solver lies where the worker program does: ../libexec/conclave beside the running program.
std::string solver_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return "";
  return self.parent_path().parent_path() / "libexec/conclave/conclave-cbc";
}

// Starts the solver with `socket` as its standard input; 0 if it cannot be started.
pid_t start_solver(int socket) {
  const std::string program = solver_program();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, STDIN_FILENO);
  char name[] = "conclave-cbc";
  char* arguments[] = {name, nullptr};
  pid_t child = 0;
  const int error = posix_spawn(&child, program.c_str(), &actions, nullptr, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? child : 0;
}

}  // namespace

bool mip_available() { return access(solver_program().c_str(), X_OK) == 0; }

MipResult solve_mip(const MipModel& model, double seconds) {
  MipResult result;
  int ends[2];
  if (seconds <= 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return result;
  const auto deadline = std::chrono::steady_clock::now() +
                        std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000) + 500);
  const pid_t child = start_solver(ends[1]);
  close(ends[1]);
  if (child > 0) {
    std::vector<double> answer;
    if (!send_numbers(ends[0], encode_model(model, seconds), deadline) ||
        !receive_numbers(ends[0], &answer, deadline) || !decode_result(answer, &result) ||
        result.values.size() != model.columns.size()) {
      result = MipResult{};
    }
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
  }
  close(ends[0]);
  return result;
}

}  // namespace conclave::placement
