#ifndef CONCLAVE_COORDINATOR_ENGINE_LAUNCHER_WORDS_H_
#define CONCLAVE_COORDINATOR_ENGINE_LAUNCHER_WORDS_H_

// What a launcher (mpirun, srun) says about the processes that it started.

#include <cstdint>
#include <deque>
#include <optional>
#include <string>

namespace conclave::coordinator {

// How one rank's process ended.
struct RankEnd {
  int32_t rank = 0;
  std::string host;  // "" if the launcher did not say
  std::string how;   // "was killed by signal 9 (Killed)", "exited with status 1"
};

// Reads a launcher's output line by line and keeps the little that a failure's sentence needs. Not
// thread-safe.
class LauncherWords {
 public:
  void add(const std::string& line);
  // Of the rank that ended first.
  const std::optional<RankEnd>& rank_end() const { return rank_end_; }
  // The last lines that are no record of our own log, as one line of bounded length; "" if none.
  std::string last_words() const;

 private:
  std::deque<std::string> lines_;
  std::optional<RankEnd> rank_end_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_LAUNCHER_WORDS_H_
