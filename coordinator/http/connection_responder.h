#ifndef CONCLAVE_COORDINATOR_HTTP_CONNECTION_RESPONDER_H_
#define CONCLAVE_COORDINATOR_HTTP_CONNECTION_RESPONDER_H_

#include <memory>
#include <string>

#include "coordinator/http/connection.h"

namespace conclave::coordinator {

// The handler's end of a connection: carries each call to the connection's strand.
class ConnectionResponder : public HttpResponder {
 public:
  ConnectionResponder(std::shared_ptr<Connection> connection, uint64_t seq);
  ~ConnectionResponder() override;
  void respond(int status, HttpHeaders headers, std::string body) override;
  void begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) override;
  void respond_from(int status, HttpHeaders headers, HttpBodySource source) override;
  void write(std::string chunk) override;
  void finish() override;
  void on_disconnect(std::function<void()> callback) override;
  void post(std::function<void()> task) override;
  void post_after(std::chrono::milliseconds delay, std::function<void()> task) override;

 private:
  // After the server has stopped nothing runs the strand; queueing would only keep memory alive.
  bool stopped() const { return connection_->host_->stopped.load(); }
  const std::shared_ptr<Connection> connection_;
  const uint64_t seq_;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CONNECTION_RESPONDER_H_
