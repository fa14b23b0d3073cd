#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/deadline.h"
#include "coordinator/engine/group_launcher.h"
#include "gtest/gtest.h"

namespace conclave::coordinator {
namespace {

using std::chrono::milliseconds;

// True if the process runs; a zombie does not.
bool runs(pid_t pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(stat, text)) return false;
  const size_t name_end = text.rfind(')');
  return name_end != std::string::npos && text.size() > name_end + 2 && text[name_end + 2] != 'Z' &&
         text[name_end + 2] != 'X';
}

template <typename Condition>
bool eventually(Condition condition) {
  const Deadline deadline = Deadline::after_ms(20000);
  while (!condition()) {
    if (deadline.expired()) return false;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return true;
}

class Lines {
 public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
  }
  std::vector<std::string> get() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

ProcessLauncherOptions shell(const std::string& script, Lines* lines) {
  ProcessLauncherOptions options;
  options.command = [script](const LaunchSpec& spec) {
    return std::vector<std::string>{"/bin/sh", "-c", script, "worker",
                                    std::to_string(spec.coordinator_port)};
  };
  options.grace = milliseconds(200);
  options.on_stderr_line = [lines](std::string line) { lines->add(std::move(line)); };
  return options;
}

pid_t pid_in(const std::string& line) { return static_cast<pid_t>(std::atoi(line.c_str())); }

TEST(ProcessLauncher, PassesTheSpecAndForwardsLinesAndStatus) {
  Lines lines;
  auto options = shell("echo port $1 >&2; echo $COLOUR; printf unfinished >&2; exit 3", &lines);
  options.environment = {"COLOUR=blue"};
  auto launcher = make_process_launcher(options);
  LaunchSpec spec;
  spec.coordinator_port = 4711;
  ASSERT_TRUE(launcher->start(spec).ok());
  ASSERT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
  EXPECT_EQ(*launcher->poll_exit(), "/bin/sh exited with status 3");
  EXPECT_EQ(lines.get(), (std::vector<std::string>{"port 4711", "blue", "unfinished"}));
  EXPECT_EQ(launcher->last_words(), "port 4711 / blue / unfinished");
  EXPECT_FALSE(launcher->rank_end());
}

TEST(ProcessLauncher, AProgramThatCannotBeExecutedIsASentence) {
  ProcessLauncherOptions options;
  options.command = [](const LaunchSpec&) { return std::vector<std::string>{"/nowhere/mpirun"}; };
  options.cannot_execute_advice = "name another";
  auto launcher = make_process_launcher(options);
  const absl::Status status = launcher->start({});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_NE(std::string(status.message()).find("; name another"), std::string::npos) << status;
  EXPECT_NE(std::string(status.message()).find("/nowhere/mpirun"), std::string::npos) << status;
  EXPECT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
}

TEST(ProcessLauncher, KillEndsTheWholeProcessGroupEvenIfItIgnoresSigterm) {
  Lines lines;
  auto launcher =
      make_process_launcher(shell("trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo "
                                  "$!; echo $$; while :; do sleep 1; done",
                                  &lines));
  ASSERT_TRUE(launcher->start({}).ok());
  ASSERT_TRUE(eventually([&] { return lines.get().size() == 2; }));
  const pid_t grandchild = pid_in(lines.get()[0]), child = pid_in(lines.get()[1]);
  EXPECT_TRUE(runs(child) && runs(grandchild));
  EXPECT_FALSE(launcher->poll_exit().has_value());
  EXPECT_EQ(launcher->start({}).code(), absl::StatusCode::kFailedPrecondition);
  launcher->kill();
  ASSERT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
  EXPECT_FALSE(runs(child));
  EXPECT_FALSE(runs(grandchild));
  EXPECT_NE(launcher->poll_exit()->find("signal 9"), std::string::npos) << *launcher->poll_exit();
}

TEST(ProcessLauncher, ADeadLeaderTakesItsGroupAlong) {
  Lines lines;
  auto launcher = make_process_launcher(
      shell("(trap '' TERM; while :; do sleep 1; done) & echo $!; exit 1", &lines));
  ASSERT_TRUE(launcher->start({}).ok());
  ASSERT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
  EXPECT_FALSE(runs(pid_in(lines.get().at(0))));
}

TEST(ProcessLauncher, AnAdoptedProcessOutsideTheGroupIsKilledToo) {
  Lines lines;
  // As mpirun does it: the rank is in a session of its own, and stopped by a debugger or a
  // scheduler.
  auto launcher = make_process_launcher(
      shell("setsid sh -c 'echo $$; kill -STOP $$; sleep 1000' & sleep 1000", &lines));
  ASSERT_TRUE(launcher->start({}).ok());
  ASSERT_TRUE(eventually([&] { return lines.get().size() == 1; }));
  const pid_t rank = pid_in(lines.get()[0]);
  launcher->adopt_local_process(rank);
  launcher->kill();
  ASSERT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
  EXPECT_FALSE(runs(rank));
}

TEST(ProcessLauncher, CanStartAgainAfterTheEnd) {
  Lines lines;
  auto launcher = make_process_launcher(shell("echo again", &lines));
  for (size_t round = 1; round <= 3; ++round) {
    ASSERT_TRUE(launcher->start({}).ok());
    ASSERT_TRUE(eventually([&] { return launcher->poll_exit().has_value(); }));
    EXPECT_EQ(lines.get().size(), round);
  }
}

TEST(ProcessLauncher, DestructionLeavesNothingBehind) {
  Lines lines;
  pid_t child = 0;
  {
    auto launcher = make_process_launcher(shell("echo $$; sleep 1000", &lines));
    ASSERT_TRUE(launcher->start({}).ok());
    ASSERT_TRUE(eventually([&] { return lines.get().size() == 1; }));
    child = pid_in(lines.get()[0]);
  }
  EXPECT_FALSE(runs(child));
}

TEST(ProcessLauncher, TheChildDiesWithAProcessThatIsKilledWithSigkill) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t coordinator = ::fork();
  if (coordinator == 0) {  // stands for the coordinator
    Lines lines;
    auto launcher = make_process_launcher(shell("echo $$; exec sleep 1000", &lines));
    if (!launcher->start({}).ok()) ::_exit(1);
    while (lines.get().empty()) std::this_thread::sleep_for(milliseconds(5));
    const pid_t child = pid_in(lines.get()[0]);
    if (::write(fds[1], &child, sizeof child) != sizeof child) ::_exit(1);
    while (true) ::pause();
  }
  pid_t child = 0;
  ASSERT_EQ(::read(fds[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  EXPECT_TRUE(runs(child));
  ::kill(coordinator, SIGKILL);
  ::waitpid(coordinator, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return !runs(child); }));
  ::close(fds[0]);
  ::close(fds[1]);
}

}  // namespace
}  // namespace conclave::coordinator
