#ifndef CONCLAVE_COORDINATOR_HTTP_CLIENT_SSE_SPLITTER_H_
#define CONCLAVE_COORDINATOR_HTTP_CLIENT_SSE_SPLITTER_H_

#include <functional>
#include <string>
#include <string_view>

namespace conclave::coordinator {

// Cuts a byte stream into server-sent events: lines ending in LF or CRLF, several "data:" lines joined by LF, an empty
// line ends an event, comments and other fields ignored. Not thread-safe.
class SseSplitter {
 public:
  explicit SseSplitter(std::function<void(std::string_view data)> on_event) : on_event_(std::move(on_event)) {}
  void feed(std::string_view bytes);

 private:
  void line(std::string_view text);
  std::function<void(std::string_view)> on_event_;
  std::string partial_;
  std::string data_;
  bool has_data_ = false;
};

}  // namespace conclave::coordinator

#endif  // CONCLAVE_COORDINATOR_HTTP_CLIENT_SSE_SPLITTER_H_
