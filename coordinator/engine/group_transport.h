#ifndef CONCLAVE_COORDINATOR_ENGINE_GROUP_TRANSPORT_H_
#define CONCLAVE_COORDINATOR_ENGINE_GROUP_TRANSPORT_H_

// Where the connections of a worker group come from: a TCP listener (ranks started by a launcher,
// or coming by themselves), or channels inside this process.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "comm/channel/channel.h"
#include "coordinator/engine/group_launcher.h"
#include "coordinator/engine/run_folder.h"

namespace conclave::coordinator {

// start, stop and poll_exit are called by one thread.
class GroupTransport {
 public:
  // May be called on any thread.
  using OnConnection = std::function<void(std::unique_ptr<comm::ChannelPeer>)>;

  virtual ~GroupTransport() = default;
  // Begins an incarnation of the group: its ranks connect from now on. Called again after stop()
  // for a restart.
  virtual absl::Status start(OnConnection on_connection) = 0;
  // Ends the incarnation: asks its processes to end and kills them after a grace. Returns at once.
  virtual void stop() = 0;
  // While running: a sentence once the launched processes have ended by themselves. After stop():
  // how they ended, once all are gone. Ranks that nobody launched count as gone after stop().
  virtual std::optional<std::string> poll_exit() = 0;
  // False: the connections were handed over once and cannot come again.
  virtual bool can_restart() const = 0;
  // True: poll_exit() tells of real processes, which deserve a moment to end by themselves after
  // Shutdown.
  virtual bool has_processes() const { return false; }
  // A rank on this machine joined with this process id: stop() kills it as well if its launcher
  // forgets it.
  virtual void adopt_local_process(int64_t pid) {}
  // See GroupLauncher.
  virtual std::optional<RankEnd> rank_end() { return std::nullopt; }
  virtual std::string last_words() { return ""; }
};

struct ListenOptions {
  uint32_t group = 0;
  int32_t ranks = 1;
  std::string address = "127.0.0.1";
  std::string advertised_address;  // what workers connect to; empty: address
  uint16_t port = 0;               // 0: any
  std::string secret;              // empty: made up
  std::string
      secret_file;  // for the launched: where the secret already is; empty: a private 0600 file
  std::shared_ptr<RunFolder> folder;  // where that lies; null: one is made if it is needed
};

// launcher == nullptr: the ranks come by themselves ("joined"); a restart waits for them to come
// again.
class ListeningTransport : public GroupTransport {
 public:
  static absl::StatusOr<std::unique_ptr<ListeningTransport>> create(
      ListenOptions options, std::unique_ptr<GroupLauncher> launcher);
  virtual uint16_t port() const = 0;
};

// Ranks inside this process, connected already. Cannot restart.
std::unique_ptr<GroupTransport> make_connected_transport(
    std::vector<std::unique_ptr<comm::ChannelPeer>> peers);

// Ranks inside this process, made anew by each start(). `stop` (may be null) must end what `start`
// began.
using MakePeers = std::function<absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>>()>;
std::unique_ptr<GroupTransport> make_in_process_transport(MakePeers start,
                                                          std::function<void()> stop);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_ENGINE_GROUP_TRANSPORT_H_
