#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/status_macros.h"
#include "comm/channel/tcp_channel.h"
#include "coordinator/engine/group_transport.h"

namespace conclave::coordinator {
namespace {

// Where new connections go; shared with the listener's thread. Ranks that nobody launched may come
// before the group is started, and wait here; of launched ranks that can only be a leftover.
class Reception {
 public:
  explicit Reception(size_t max_waiting) : max_waiting_(max_waiting) {}
  void take(std::unique_ptr<comm::ChannelPeer> peer) {
    const std::lock_guard lock(mutex_);
    if (on_connection_) {
      on_connection_(std::move(peer));
    } else if (waiting_.size() < max_waiting_) {
      waiting_.push_back(std::move(peer));
    } else {
      peer->close();
    }
  }
  void open(GroupTransport::OnConnection on_connection) {
    const std::lock_guard lock(mutex_);
    on_connection_ = std::move(on_connection);
    for (auto& peer : waiting_) on_connection_(std::move(peer));
    waiting_.clear();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    on_connection_ = nullptr;
  }

 private:
  const size_t max_waiting_;
  std::mutex mutex_;
  GroupTransport::OnConnection on_connection_;
  std::vector<std::unique_ptr<comm::ChannelPeer>> waiting_;
};

class ListeningTransportImpl : public ListeningTransport {
 public:
  ListeningTransportImpl(ListenOptions options, std::unique_ptr<GroupLauncher> launcher)
      : options_(std::move(options)),
        launcher_(std::move(launcher)),
        reception_(std::make_shared<Reception>(
            launcher_ == nullptr ? static_cast<size_t>(options_.ranks) : 0)) {}
  ~ListeningTransportImpl() override {
    stop();
    listener_.reset();
  }

  absl::Status open() {
    if (options_.secret.empty()) options_.secret = comm::make_group_secret();
    if (launcher_ != nullptr && options_.secret_file.empty()) {
      RETURN_IF_ERROR(write_secret());
    }
    comm::ChannelListener::Options listen;
    listen.address = options_.address;
    listen.port = options_.port;
    listen.secret = options_.secret;
    auto listener = comm::ChannelListener::listen(
        listen, [reception = reception_](std::unique_ptr<comm::ChannelPeer> peer) {
          reception->take(std::move(peer));
        });
    if (!listener.ok()) return listener.status();
    listener_ = *std::move(listener);
    return absl::OkStatus();
  }

  absl::Status start(OnConnection on_connection) override {
    reception_->open(std::move(on_connection));
    running_ = true;
    if (launcher_ == nullptr) return absl::OkStatus();
    LaunchSpec spec;
    spec.coordinator_address =
        options_.advertised_address.empty() ? options_.address : options_.advertised_address;
    spec.coordinator_port = port();
    spec.secret_file = options_.secret_file;
    spec.group = options_.group;
    spec.ranks = options_.ranks;
    return launcher_->start(spec);
  }
  void stop() override {
    reception_->close();
    running_ = false;
    if (launcher_ != nullptr) launcher_->kill();
  }
  std::optional<std::string> poll_exit() override {
    if (launcher_ != nullptr) return launcher_->poll_exit();
    return running_ ? std::nullopt : std::optional<std::string>("its ranks were let go");
  }
  bool can_restart() const override { return true; }
  bool has_processes() const override { return launcher_ != nullptr; }
  void adopt_local_process(int64_t pid) override {
    if (launcher_ != nullptr) launcher_->adopt_local_process(pid);
  }
  std::optional<RankEnd> rank_end() override {
    return launcher_ == nullptr ? std::nullopt : launcher_->rank_end();
  }
  std::string last_words() override { return launcher_ == nullptr ? "" : launcher_->last_words(); }
  uint16_t port() const override { return listener_->port(); }

 private:
  // A file of mode 0600 that goes away with the run's folder.
  absl::Status write_secret() {
    if (options_.folder == nullptr) {
      ASSIGN_OR_RETURN(const std::string base, temporary_base());
      ASSIGN_OR_RETURN(options_.folder, RunFolder::create(base));
    }
    options_.secret_file = options_.folder->path() + "/secret";
    return write_file_atomically(options_.secret_file, options_.secret, 0600);
  }

  ListenOptions options_;  // with the run's folder: outlives what lies there
  std::unique_ptr<GroupLauncher> launcher_;
  std::shared_ptr<Reception> reception_;
  std::unique_ptr<comm::ChannelListener> listener_;
  bool running_ = false;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ListeningTransport>> ListeningTransport::create(
    ListenOptions options, std::unique_ptr<GroupLauncher> launcher) {
  auto transport =
      std::make_unique<ListeningTransportImpl>(std::move(options), std::move(launcher));
  RETURN_IF_ERROR(transport->open());
  return std::unique_ptr<ListeningTransport>(std::move(transport));
}

}  // namespace conclave::coordinator
