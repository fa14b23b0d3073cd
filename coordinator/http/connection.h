#ifndef CONCLAVE_COORDINATOR_HTTP_CONNECTION_H_
#define CONCLAVE_COORDINATOR_HTTP_CONNECTION_H_

// One client connection as a state machine on its own strand.
//
//   kReading ── request complete ──> kAnswering ── answer written ──> kReading (keep-alive) or
//   kLingering
//      │ head complete, but refused by the guard: answer before any of the body is read ─^
//      │ bad, slow or too large request: error answer ──────────────────^
//   kLingering: our side is shut down; what the client still sends is discarded for a moment,
//   because closing with unread bytes would reset the connection and destroy the answer on its way.
//
// While answering, a read stays outstanding: its end of file is how a vanished client is noticed.

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/http/body_budget.h"
#include "coordinator/http/connection_host.h"
#include "coordinator/http/request_parser.h"
#include "coordinator/http/response_text.h"

namespace conclave::coordinator {

class ConnectionResponder;

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket =
      boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol,
                                       boost::asio::strand<boost::asio::io_context::executor_type>>;
  Connection(Socket socket, std::shared_ptr<ConnectionHost> host);
  ~Connection();

  // Any thread.
  void begin();
  void refuse();              // one 503, for connections beyond the limit
  void tick(int64_t now_ns);  // looks at the deadlines; the server calls it periodically
  void begin_shutdown();      // close now if idle, else after the answer in progress
  void close_now();

 private:
  friend class ConnectionResponder;
  enum class State { kReading, kAnswering, kLingering, kClosed };
  enum class Answer { kNone, kStreaming, kComplete };

  void start_read();
  void on_readable(boost::system::error_code error);
  void on_bytes(std::string_view data);
  void on_read_end(bool clean);
  void advance();
  void on_head();
  void on_body();
  bool answer_from_head(HttpRequest& request);
  void answer_head(int status, const HttpHeaders& headers, std::string body);
  void answer_parse_error();
  void begin_exchange(const HttpRequest& request);
  void dispatch_request();
  void call_handler(HttpRequest request);

  // Called by the responder, on the strand; seq says for which request.
  bool is_current(uint64_t seq) const;
  void respond(uint64_t seq, int status, const HttpHeaders& headers, std::string body);
  void begin_stream(uint64_t seq, int status, const HttpHeaders& headers, HttpHeartbeat heartbeat);
  void respond_from(uint64_t seq, int status, const HttpHeaders& headers, HttpBodySource source);
  void write(uint64_t seq, std::string_view chunk);
  void finish(uint64_t seq);
  void set_on_disconnect(uint64_t seq, std::function<void()> callback);
  void abandon(uint64_t seq);

  void send_error(ApiError error);
  void append_stream(std::string_view chunk);
  void pull();
  void flush();
  void start_write();
  void on_write(boost::system::error_code error, size_t bytes);
  void on_answer_written();
  void release_idle_memory();
  void complete_answer();
  void linger();
  void check_deadlines(int64_t now_ns);
  void set_read_deadline();
  void report_exchange();
  void disconnect();  // the client is gone or dropped
  void leave_host();

  const std::shared_ptr<ConnectionHost>
      host_;  // first: owns the event loop that the socket belongs to
  Socket socket_;
  RequestParser parser_;
  State state_ = State::kReading;

  HttpPeer peer_;
  std::shared_ptr<BodyShare> body_share_;  // of the body that is being read
  bool reading_ = false;
  bool read_ended_ = false;  // end of file seen
  bool in_handler_ = false;
  size_t lingered_bytes_ = 0;

  uint64_t seq_ = 0;  // of the request being answered
  Answer answer_ = Answer::kNone;
  HttpExchange exchange_;
  int64_t request_ns_ = 0;
  std::string request_id_;
  HttpHeaders cors_headers_;  // of every answer to this request
  bool head_only_ = false;
  bool keep_alive_ = true;
  int http_minor_ = 1;
  BodyFraming framing_ = BodyFraming::kContentLength;
  std::function<void()> on_disconnect_;
  HttpHeartbeat heartbeat_;
  HttpBodySource source_;  // of the answer that is being sent; null: none

  std::string pending_;  // to be written after writing_
  std::string writing_;
  size_t written_ = 0;
  bool write_active_ = false;

  // Steady-clock nanoseconds; 0: none. Looked at by the server's ticker.
  std::atomic<int64_t> deadline_ns_{0};
  std::atomic<int64_t> heartbeat_ns_{0};
};

int64_t steady_now_ns();
inline int64_t to_ns(std::chrono::milliseconds duration) {
  return std::chrono::nanoseconds(duration).count();
}

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CONNECTION_H_
