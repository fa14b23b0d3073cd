#ifndef CONCLAVE_TESTS_COORDINATOR_OPENAI_HTTP_CLIENT_H_
#define CONCLAVE_TESTS_COORDINATOR_OPENAI_HTTP_CLIENT_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace conclave::coordinator {

struct ClientResponse {
  int status = 0;                              // 0: the connection ended before a status line
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool complete = false;                       // the framing says that nothing is missing
};

// A blocking client that shows the server's bytes as they are. Every wait has a deadline.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool send(std::string_view bytes);  // false: the server does not read any more
  ClientResponse read_response(bool head_only = false);
  // Reads until `text` has arrived in all that was received; false at end of connection or
  // deadline.
  bool read_until(std::string_view text);
  bool read_end();    // true once the server has closed
  void half_close();  // no more from this side
  void close();
  void reset();  // closes with RST
  void set_receive_buffer(int bytes);
  const std::string& received() const { return buffer_; }

 private:
  bool fill();
  int fd_ = -1;
  bool ended_ = false;
  std::string buffer_;
};

// One request on one connection.
ClientResponse http_get(uint16_t port, const std::string& path, const std::string& headers = "");
ClientResponse http_post(uint16_t port, const std::string& path, const std::string& json,
                         const std::string& headers = "");
std::string post_text(const std::string& path, const std::string& json,
                      const std::string& headers = "");

}  // namespace conclave::coordinator

#endif  // CONCLAVE_TESTS_COORDINATOR_OPENAI_HTTP_CLIENT_H_
