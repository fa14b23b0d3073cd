#include "coordinator/http/http_server.h"

#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <cerrno>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "coordinator/http/connection.h"

namespace conclave::coordinator {
namespace {

using boost::asio::ip::tcp;
using Strand = boost::asio::strand<boost::asio::io_context::executor_type>;

// Beyond the limit, connections still get a 503 instead of a reset, up to this many.
constexpr size_t kRefusedConnections = 64;
constexpr std::chrono::milliseconds kAcceptRetry{100};
// For sockets to be closed after the grace period; only a handler that blocks its thread takes
// longer.
constexpr std::chrono::milliseconds kCloseWait{1000};

constexpr std::string_view kUnixPrefix = "unix:";
constexpr size_t kLongestSocketPath = 107;  // sockaddr_un

uint16_t port_of(const sockaddr* address) {
  if (address->sa_family == AF_INET6)
    return ntohs(reinterpret_cast<const sockaddr_in6*>(address)->sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port);
}

class AsioHttpServer : public HttpServer {
 public:
  AsioHttpServer(HttpServerOptions options, HttpHandler handler)
      : host_(std::make_shared<ConnectionHost>()),
        strand_(boost::asio::make_strand(host_->io)),
        acceptor_(strand_),
        ticker_(strand_) {
    host_->options = std::move(options);
    host_->handler = std::move(handler);
    host_->bodies = std::make_shared<BodyBudget>(host_->options.max_total_body_bytes);
    const auto shortest = std::min({host_->options.header_timeout, host_->options.body_timeout,
                                    host_->options.idle_timeout, host_->options.write_timeout});
    tick_period_ =
        std::clamp(shortest / 5, std::chrono::milliseconds(5), std::chrono::milliseconds(250));
  }
  ~AsioHttpServer() override { AsioHttpServer::stop(std::chrono::milliseconds(0)); }

  absl::Status listen();
  absl::Status listen_on_path(const std::string& path);
  void start_threads();
  uint16_t port() const override { return port_; }
  size_t open_connections() const override {
    std::lock_guard lock(host_->mutex);
    return host_->open.size();
  }
  void stop(std::chrono::milliseconds grace) override;

 private:
  void accept();
  void on_accept(boost::system::error_code error, Connection::Socket socket);
  void tick();
  std::vector<std::shared_ptr<Connection>> living_connections() const;
  void wait_until_closed(std::chrono::milliseconds limit);

  const std::shared_ptr<ConnectionHost> host_;
  Strand strand_;  // of acceptor and ticker
  boost::asio::basic_socket_acceptor<boost::asio::generic::stream_protocol, Strand> acceptor_;
  boost::asio::basic_waitable_timer<std::chrono::steady_clock,
                                    boost::asio::wait_traits<std::chrono::steady_clock>, Strand>
      ticker_;
  std::chrono::milliseconds tick_period_{250};
  uint16_t port_ = 0;
  std::string socket_path_;  // removed with the server; "" for TCP
  std::vector<std::thread> threads_;

  std::mutex stop_mutex_;
  bool stopped_ = false;
};

absl::Status AsioHttpServer::listen() {
  const HttpServerOptions& options = host_->options;
  if (options.address.starts_with(kUnixPrefix)) {
    return listen_on_path(options.address.substr(kUnixPrefix.size()));
  }
  const std::string where = options.address + ":" + std::to_string(options.port);
  boost::system::error_code error;
  tcp::resolver resolver(host_->io);
  const auto found =
      resolver.resolve(options.address, std::to_string(options.port),
                       tcp::resolver::passive | tcp::resolver::numeric_service, error);
  if (error || found.empty()) {
    return absl::InvalidArgumentError("cannot listen on " + where +
                                      ": the address is not one of this host (" + error.message() +
                                      ")");
  }
  const tcp::endpoint endpoint = *found.begin();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(boost::asio::socket_base::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(1024, error);
  if (error) {
    return absl::UnavailableError("cannot listen on " + where + ": " + error.message() +
                                  "; choose another address or port");
  }
  const auto bound = acceptor_.local_endpoint(error);
  port_ = port_of(bound.data());
  return absl::OkStatus();
}

absl::Status AsioHttpServer::listen_on_path(const std::string& path) {
  using boost::asio::local::stream_protocol;
  if (path.empty() || path.size() > kLongestSocketPath) {
    return absl::InvalidArgumentError("cannot listen on the Unix socket \"" + path +
                                      "\": a path has 1 to 107 characters");
  }
  const stream_protocol::endpoint endpoint(path);
  boost::system::error_code error;
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) {
    // A socket that nobody listens on was left behind by a process that died.
    stream_protocol::socket probe(host_->io);
    probe.connect(endpoint, error);
    if (!error) {
      return absl::UnavailableError("cannot listen on the Unix socket " + path +
                                    ": another process listens on it; choose another path");
    }
    ::unlink(path.c_str());
  }
  error.clear();
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.bind(endpoint, error);
  // Nobody can connect between bind and listen, so the mode is in place in time.
  if (!error && ::chmod(path.c_str(), 0600) != 0)
    error.assign(errno, boost::system::system_category());
  if (!error) acceptor_.listen(1024, error);
  if (error) {
    return absl::UnavailableError("cannot listen on the Unix socket " + path + ": " +
                                  error.message() + "; choose another path");
  }
  socket_path_ = path;
  return absl::OkStatus();
}

void AsioHttpServer::start_threads() {
  boost::asio::post(strand_, [this] {
    accept();
    tick();
  });
  for (int i = 0; i < std::max(1, host_->options.threads); ++i)
    threads_.emplace_back([this] { host_->io.run(); });
}

void AsioHttpServer::accept() {
  acceptor_.async_accept(boost::asio::make_strand(host_->io),
                         [this](boost::system::error_code error, Connection::Socket socket) {
                           on_accept(error, std::move(socket));
                         });
}

void AsioHttpServer::on_accept(boost::system::error_code error, Connection::Socket socket) {
  if (host_->stopping.load() || error == boost::asio::error::operation_aborted) return;
  if (error) {
    // Out of descriptors, most likely: accepting again at once would spin.
    auto pause = std::make_shared<boost::asio::steady_timer>(strand_, kAcceptRetry);
    pause->async_wait([this, pause](boost::system::error_code) {
      if (!host_->stopping.load()) accept();
    });
    return;
  }
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  socket.set_option(tcp::no_delay(true), ignored);
  if (const int bytes = host_->options.socket_send_buffer_bytes; bytes > 0) {
    socket.set_option(boost::asio::socket_base::send_buffer_size(bytes), ignored);
  }
  const size_t open = open_connections();
  if (open < host_->options.max_connections + kRefusedConnections) {
    auto connection = std::make_shared<Connection>(std::move(socket), host_);
    {
      std::lock_guard lock(host_->mutex);
      host_->open.emplace(connection.get(), connection);
    }
    if (open < host_->options.max_connections) {
      connection->begin();
    } else {
      connection->refuse();
    }
  }
  accept();
}

void AsioHttpServer::tick() {
  const int64_t now = steady_now_ns();
  for (const auto& connection : living_connections()) connection->tick(now);
  ticker_.expires_after(tick_period_);
  ticker_.async_wait([this](boost::system::error_code error) {
    if (!error) tick();
  });
}

std::vector<std::shared_ptr<Connection>> AsioHttpServer::living_connections() const {
  std::vector<std::shared_ptr<Connection>> living;
  std::lock_guard lock(host_->mutex);
  living.reserve(host_->open.size());
  for (const auto& [address, connection] : host_->open) {
    if (auto shared = connection.lock()) living.push_back(std::move(shared));
  }
  return living;
}

void AsioHttpServer::wait_until_closed(std::chrono::milliseconds limit) {
  std::unique_lock lock(host_->mutex);
  host_->connection_closed.wait_for(lock, limit, [this] { return host_->open.empty(); });
}

void AsioHttpServer::stop(std::chrono::milliseconds grace) {
  std::lock_guard stop_lock(stop_mutex_);
  if (stopped_) return;
  stopped_ = true;
  host_->stopping = true;
  boost::asio::post(strand_, [this] {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    ticker_.cancel();
  });
  for (const auto& connection : living_connections()) connection->begin_shutdown();
  wait_until_closed(grace);
  for (const auto& connection : living_connections()) connection->close_now();
  wait_until_closed(kCloseWait);
  host_->io.stop();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  // What is still queued holds connections; run it now, since nobody will later.
  host_->io.restart();
  host_->io.poll();
  host_->stopped = true;
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
  host_->handler = nullptr;
  host_->options.guard = nullptr;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::start(HttpServerOptions options,
                                                              HttpHandler handler) {
  auto server = std::make_unique<AsioHttpServer>(std::move(options), std::move(handler));
  RETURN_IF_ERROR(server->listen());
  server->start_threads();
  return absl::StatusOr<std::unique_ptr<HttpServer>>(std::move(server));
}

}  // namespace conclave::coordinator
