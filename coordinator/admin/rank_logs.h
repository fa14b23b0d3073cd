#ifndef CONCLAVE_COORDINATOR_ADMIN_RANK_LOGS_H_
#define CONCLAVE_COORDINATOR_ADMIN_RANK_LOGS_H_

// The last lines that the ranks and the program that starts them wrote, for `conclavectl logs` and
// bundles: those that passed through this process and, under a batch system that writes them to
// files, the ends of these.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace conclave::coordinator {

struct RankLog {
  int32_t rank = -1;  // -1: the program that starts the ranks, or nobody knows who
  std::vector<std::string> lines;
};

// The rank that a line of ours names ("rank=3" or "rank":3), or -1.
int32_t rank_of_line(std::string_view line);

// Thread-safe.
class RankLogs {
 public:
  static constexpr size_t kLinesOfARank = 128;
  static constexpr size_t kLines = 4096;  // of all ranks; the longest log gives way
  static constexpr size_t kLongestLine = 2048;

  // folder: with files rank-N.log that somebody else writes; "": none.
  explicit RankLogs(std::string folder = "");

  void add(std::string line);
  // By rank. Looks at the folder's files for at most a second or two: a file system may never
  // answer.
  std::vector<RankLog> last() const;

 private:
  struct FolderRead;
  std::vector<RankLog> read_folder() const;

  const std::string folder_;
  mutable std::mutex mutex_;  // guards what follows
  std::map<int32_t, std::deque<std::string>> lines_;
  size_t count_ = 0;
  mutable std::shared_ptr<FolderRead> reading_;  // one that has not come back
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ADMIN_RANK_LOGS_H_
