#include <optional>
#include <utility>

#include "base/status_macros.h"
#include "coordinator/engine/group_transport.h"

namespace conclave::coordinator {
namespace {

class InProcessTransport : public GroupTransport {
 public:
  InProcessTransport(MakePeers start, std::function<void()> stop, bool can_restart)
      : start_(std::move(start)), stop_(std::move(stop)), can_restart_(can_restart) {}
  ~InProcessTransport() override { stop(); }

  absl::Status start(OnConnection on_connection) override {
    ASSIGN_OR_RETURN(std::vector<std::unique_ptr<comm::ChannelPeer>> peers, start_());
    running_ = true;
    for (auto& peer : peers) on_connection(std::move(peer));
    return absl::OkStatus();
  }
  void stop() override {
    if (running_ && stop_) stop_();
    running_ = false;
  }
  std::optional<std::string> poll_exit() override {
    return running_ ? std::nullopt : std::optional<std::string>("its threads ended");
  }
  bool can_restart() const override { return can_restart_; }

 private:
  MakePeers start_;
  std::function<void()> stop_;
  bool can_restart_;
  bool running_ = false;
};

}  // namespace

std::unique_ptr<GroupTransport> make_connected_transport(
    std::vector<std::unique_ptr<comm::ChannelPeer>> peers) {
  // std::function wants a copyable callable.
  auto held = std::make_shared<std::vector<std::unique_ptr<comm::ChannelPeer>>>(std::move(peers));
  return std::make_unique<InProcessTransport>(
      [held]() -> absl::StatusOr<std::vector<std::unique_ptr<comm::ChannelPeer>>> {
        return std::move(*held);
      },
      nullptr,
      /*can_restart=*/false);
}

std::unique_ptr<GroupTransport> make_in_process_transport(MakePeers start,
                                                          std::function<void()> stop) {
  return std::make_unique<InProcessTransport>(std::move(start), std::move(stop),
                                              /*can_restart=*/true);
}

}  // namespace conclave::coordinator
