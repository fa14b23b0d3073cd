// The coordinator's end of control connections: one listening socket, one I/O thread for all.

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/log.h"
#include "base/status_macros.h"
#include "comm/channel/tcp_channel.h"
#include "comm/channel/tcp_session.h"

namespace conclave::comm {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class TcpPeer final : public ChannelPeer {
 public:
  explicit TcpPeer(std::shared_ptr<TcpSession> session) : session_(std::move(session)) {}
  ~TcpPeer() override { session_->detach(); }
  void start(Handlers handlers) override { session_->start(std::move(handlers)); }
  absl::Status send(uint16_t type, std::vector<std::byte> payload) override {
    return session_->send(type, std::move(payload));
  }
  void close() override { session_->close(); }
  std::string remote_address() const override { return session_->remote_address(); }

 private:
  std::shared_ptr<TcpSession> session_;
};

// What the I/O thread works on. Sessions keep it alive, and it keeps sessions until they finished.
class ListenerCore : public std::enable_shared_from_this<ListenerCore> {
 public:
  using OnConnection = std::function<void(std::unique_ptr<ChannelPeer>)>;
  ListenerCore(ChannelListener::Options options, OnConnection on_connection)
      : options_(std::move(options)),
        on_connection_(std::move(on_connection)),
        acceptor_(context_),
        retry_timer_(context_) {}

  absl::Status open() {
    error_code error;
    const auto address = asio::ip::make_address(options_.address, error);
    if (error) {
      return absl::InvalidArgumentError("'" + options_.address +
                                        "' is no IP address to listen on; give one like 127.0.0.1");
    }
    const tcp::endpoint endpoint(address, options_.port);
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) port_ = acceptor_.local_endpoint(error).port();
    if (!error) return absl::OkStatus();
    return absl::UnavailableError("cannot listen on " + options_.address + ":" +
                                  std::to_string(options_.port) + ": " + error.message());
  }

  // The body of the I/O thread: ends when stop() was called and the last session finished.
  void run() {
    accept_next();
    context_.run();
  }

  // Any thread.
  void stop() {
    asio::post(context_, [self = shared_from_this()] { self->stop_on_io_thread(); });
  }
  uint16_t port() const { return port_; }

 private:
  void stop_on_io_thread() {
    stopping_ = true;
    error_code ignored;
    acceptor_.close(ignored);
    retry_timer_.cancel();
    // stop() may erase from sessions_.
    std::vector<std::shared_ptr<TcpSession>> sessions;
    for (const auto& [key, session] : sessions_) sessions.push_back(session);
    for (const auto& session : sessions) session->stop();
  }

  void accept_next() {
    acceptor_.async_accept(
        [self = shared_from_this()](const error_code& error, tcp::socket socket) {
          if (self->stopping_) return;
          if (error) return self->retry_accept(error);
          self->accept_failing_ = false;
          self->accept(std::move(socket));
          self->accept_next();
        });
  }

  // Out of descriptors, usually: connections that end make room again.
  void retry_accept(const error_code& error) {
    if (!accept_failing_) {
      log_warning("cannot accept control connections; trying on", {{"reason", error.message()}});
    }
    accept_failing_ = true;
    retry_timer_.expires_after(std::chrono::milliseconds(100));
    retry_timer_.async_wait([self = shared_from_this()](const error_code& cancelled) {
      if (!cancelled && !self->stopping_) self->accept_next();
    });
  }

  void accept(tcp::socket socket) {
    if (sessions_.size() >= static_cast<size_t>(options_.max_connections)) {
      if (!full_) {
        log_warning("control connections refused: too many at once",
                    {{"limit", std::to_string(options_.max_connections)}});
      }
      full_ = true;
      return;
    }
    TcpSession::Settings settings;
    settings.secret = options_.secret;
    settings.handshake_timeout = options_.handshake_timeout;
    settings.max_queued_bytes = options_.max_queued_bytes;
    // Raw: the session holds this core alive, a counted pointer would close a circle.
    settings.on_authenticated = [this](std::shared_ptr<TcpSession> session) {
      on_connection_(std::make_unique<TcpPeer>(std::move(session)));
    };
    settings.on_finished = [this](TcpSession* session) {
      full_ = false;
      sessions_.erase(session);
    };
    auto session =
        std::make_shared<TcpSession>(shared_from_this(), std::move(socket), std::move(settings));
    sessions_.emplace(session.get(), session);
    session->begin_handshake();
  }

  const ChannelListener::Options options_;
  const OnConnection on_connection_;
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer retry_timer_;
  uint16_t port_ = 0;
  // Of the I/O thread.
  std::unordered_map<TcpSession*, std::shared_ptr<TcpSession>> sessions_;
  bool stopping_ = false;
  bool full_ = false;
  bool accept_failing_ = false;
};

class TcpListener final : public ChannelListener {
 public:
  explicit TcpListener(std::shared_ptr<ListenerCore> core)
      : core_(std::move(core)), thread_([core = core_] { core->run(); }) {}
  ~TcpListener() override {
    core_->stop();
    if (thread_.get_id() == std::this_thread::get_id()) {
      thread_.detach();
    } else {
      thread_.join();
    }
  }
  uint16_t port() const override { return core_->port(); }

 private:
  std::shared_ptr<ListenerCore> core_;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ChannelListener>> ChannelListener::listen(
    const Options& options, std::function<void(std::unique_ptr<ChannelPeer>)> on_connection) {
  if (options.secret.empty()) {
    return absl::InvalidArgumentError("a control listener needs the group's secret; it is empty");
  }
  auto core = std::make_shared<ListenerCore>(options, std::move(on_connection));
  RETURN_IF_ERROR(core->open());
  return std::make_unique<TcpListener>(std::move(core));
}

}  // namespace conclave::comm
