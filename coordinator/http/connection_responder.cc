#include "coordinator/http/connection_responder.h"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <utility>

namespace conclave::coordinator {

ConnectionResponder::ConnectionResponder(std::shared_ptr<Connection> connection, uint64_t seq)
    : connection_(std::move(connection)), seq_(seq) {}

// Posted, not dispatched: the last reference may go away inside one of the connection's own calls.
ConnectionResponder::~ConnectionResponder() {
  if (stopped()) return;
  boost::asio::post(connection_->socket_.get_executor(),
                    [connection = connection_, seq = seq_] { connection->abandon(seq); });
}

void ConnectionResponder::respond(int status, HttpHeaders headers, std::string body) {
  if (stopped()) return;
  boost::asio::dispatch(connection_->socket_.get_executor(),
                        [connection = connection_, seq = seq_, status, headers = std::move(headers),
                         body = std::move(body)]() mutable {
                          connection->respond(seq, status, headers, std::move(body));
                        });
}

void ConnectionResponder::begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) {
  if (stopped()) return;
  boost::asio::dispatch(connection_->socket_.get_executor(),
                        [connection = connection_, seq = seq_, status, headers = std::move(headers),
                         heartbeat = std::move(heartbeat)]() mutable {
                          connection->begin_stream(seq, status, headers, std::move(heartbeat));
                        });
}

void ConnectionResponder::respond_from(int status, HttpHeaders headers, HttpBodySource source) {
  if (stopped()) return;
  boost::asio::dispatch(connection_->socket_.get_executor(),
                        [connection = connection_, seq = seq_, status, headers = std::move(headers),
                         source = std::move(source)]() mutable {
                          connection->respond_from(seq, status, headers, std::move(source));
                        });
}

void ConnectionResponder::write(std::string chunk) {
  if (stopped()) return;
  boost::asio::dispatch(connection_->socket_.get_executor(),
                        [connection = connection_, seq = seq_, chunk = std::move(chunk)] {
                          connection->write(seq, chunk);
                        });
}

void ConnectionResponder::finish() {
  if (stopped()) return;
  boost::asio::dispatch(connection_->socket_.get_executor(),
                        [connection = connection_, seq = seq_] { connection->finish(seq); });
}

void ConnectionResponder::on_disconnect(std::function<void()> callback) {
  if (stopped()) return;
  boost::asio::dispatch(
      connection_->socket_.get_executor(),
      [connection = connection_, seq = seq_, callback = std::move(callback)]() mutable {
        connection->set_on_disconnect(seq, std::move(callback));
      });
}

void ConnectionResponder::post(std::function<void()> task) {
  if (stopped()) return;
  boost::asio::post(connection_->socket_.get_executor(), std::move(task));
}

void ConnectionResponder::post_after(std::chrono::milliseconds delay, std::function<void()> task) {
  if (stopped()) return;
  auto timer =
      std::make_shared<boost::asio::steady_timer>(connection_->socket_.get_executor(), delay);
  timer->async_wait([timer, task = std::move(task)](boost::system::error_code error) {
    if (!error) task();
  });
}

}  // namespace conclave::coordinator
