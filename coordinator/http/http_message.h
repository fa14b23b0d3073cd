#ifndef CONCLAVE_COORDINATOR_HTTP_HTTP_MESSAGE_H_
#define CONCLAVE_COORDINATOR_HTTP_HTTP_MESSAGE_H_

// Requests and responses as handlers see them; no HTTP library shows through.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/http/http_peer.h"

namespace conclave::coordinator {

struct ApiKey;
class BodyShare;

struct HttpHeader {
  std::string name;
  std::string value;
};
using HttpHeaders = std::vector<HttpHeader>;

struct HttpRequest {
  std::string method;  // "GET"
  std::string target;  // as sent
  std::string path;    // target without query, percent-decoded
  std::string query;   // behind '?', as sent
  std::string host;    // HOST[:PORT] that it is addressed to: an absolute target's, else the
                       // header's; "" in HTTP/1.0 without one
  HttpPeer peer;
  HttpHeaders headers;
  std::string body;
  std::shared_ptr<const BodyShare> body_share;  // what the body takes of the server's memory for
                                                // bodies, until the request goes
  std::shared_ptr<const ApiKey> key;  // it came with, once checked; null: none is asked for
  std::string request_id;             // the client's x-request-id if it is sane, else generated
  int http_minor = 1;                 // HTTP/1.x
  bool keep_alive = true;

  // First header of that name (any case), "" if none.
  std::string_view header(std::string_view name) const;
  // It announces a body, which is there or will come.
  bool has_body() const;
};

// A line sent when a stream has been silent for a while, so that proxies and clients see life.
struct HttpHeartbeat {
  std::string chunk;
  std::chrono::milliseconds period{0};  // 0: none
};

// Appends the next piece of a body, one byte or more; false: that was the last.
using HttpBodySource = std::function<bool(std::string* piece)>;

// Answers one request. Any thread may call; calls take effect in order, on the connection's own
// strand (one at a time). After the client is gone every call does nothing. Dropping the last
// reference without an answer sends 500, or cuts a stream that was not finished.
class HttpResponder {
 public:
  virtual ~HttpResponder() = default;
  virtual void respond(int status, HttpHeaders headers, std::string body) = 0;
  // A whole answer that is asked for piece by piece as the client takes it, on the strand: it need
  // not be in memory at once. The source is dropped after its last piece or when the client leaves.
  // This default asks for all of it and responds.
  virtual void respond_from(int status, HttpHeaders headers, HttpBodySource source);
  virtual void begin_stream(int status, HttpHeaders headers, HttpHeartbeat heartbeat) = 0;
  // Queued without limit of time, but a client that lets more than max_stream_queue_bytes pile up
  // is dropped.
  virtual void write(std::string chunk) = 0;
  virtual void finish() = 0;
  // Called at most once, on the strand, if the client goes away (or is dropped) before the answer
  // is complete; at once if it already has.
  virtual void on_disconnect(std::function<void()> callback) = 0;
  // Runs the task on the connection's strand, ordered with the callbacks above, also after a
  // disconnect.
  virtual void post(std::function<void()> task) = 0;
  virtual void post_after(std::chrono::milliseconds delay, std::function<void()> task) = 0;
};

using HttpHandler = std::function<void(HttpRequest, std::shared_ptr<HttpResponder>)>;

bool equals_ignoring_case(std::string_view a, std::string_view b);
// "%41b" -> "Ab"; a malformed escape stays as it is.
std::string percent_decode(std::string_view text);
// Fills path, query and host from target and headers. False for a target that is neither a path,
// nor http://HOST[:PORT]/… (or https), nor the "*" of OPTIONS.
bool split_target(HttpRequest* request);
// 24 random hex digits.
std::string random_hex_id();
// The client's id where it is 1..128 printable ASCII characters without spaces, else a new one.
std::string choose_request_id(std::string_view from_client);

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_HTTP_MESSAGE_H_
