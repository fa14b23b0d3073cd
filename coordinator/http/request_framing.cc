#include "coordinator/http/request_framing.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "coordinator/http/http_message.h"

namespace conclave::coordinator {
namespace {

constexpr std::string_view kLineEnd = "\r\n";

bool is_token_character(char c) {
  const bool alphanumeric =
      (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

std::string_view trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

std::string_view take_line(std::string_view* text) {
  const size_t end = std::min(text->find(kLineEnd), text->size());
  const std::string_view line = text->substr(0, end);
  text->remove_prefix(std::min(end + kLineEnd.size(), text->size()));
  return line;
}

FramingFault fault(std::string message) { return {400, std::move(message)}; }

// What the head says about Host and the body, before any of it is believed.
struct Claims {
  size_t hosts = 0;
  std::vector<std::string_view> lengths;
  std::vector<std::string_view> codings;  // of all Transfer-Encoding lines, in order
  bool coded = false;                     // there is such a line
};

void add_codings(std::string_view value, Claims* claims) {
  claims->coded = true;
  for (;;) {
    const size_t comma = std::min(value.find(','), value.size());
    if (const auto coding = trim(value.substr(0, comma)); !coding.empty())
      claims->codings.push_back(coding);
    if (comma == value.size()) return;
    value.remove_prefix(comma + 1);
  }
}

std::optional<FramingFault> read_line(std::string_view line, Claims* claims) {
  if (line.front() == ' ' || line.front() == '\t')
    return fault("A header line that goes on in the next line is not taken; write it as one line.");
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (colon == std::string_view::npos || name.empty() ||
      !std::all_of(name.begin(), name.end(), is_token_character)) {
    return fault(
        "A header line is not NAME: VALUE with a name without blanks, also before the colon.");
  }
  const std::string_view value = trim(line.substr(colon + 1));
  if (equals_ignoring_case(name, "host")) ++claims->hosts;
  if (equals_ignoring_case(name, "content-length")) claims->lengths.push_back(value);
  if (equals_ignoring_case(name, "transfer-encoding")) add_codings(value, claims);
  return std::nullopt;
}

std::optional<FramingFault> decide_coding(const Claims& claims, bool http10,
                                          RequestFraming* framing) {
  if (!claims.lengths.empty())
    return fault("The request has both Transfer-Encoding and Content-Length; send one of them.");
  if (http10) return fault("Transfer-Encoding does not belong into a request of HTTP/1.0.");
  if (claims.codings.empty()) return fault("Transfer-Encoding names no coding.");
  for (const std::string_view coding : claims.codings) {
    if (!equals_ignoring_case(coding, "chunked")) {
      return FramingFault{501, "The transfer coding \"" + std::string(coding.substr(0, 40)) +
                                   "\" is not supported; send the body as it is, with "
                                   "Content-Length or Transfer-Encoding: chunked."};
    }
  }
  if (claims.codings.size() > 1) return fault("A body is chunked once at most.");
  framing->chunked = true;
  return std::nullopt;
}

std::optional<FramingFault> decide_length(const Claims& claims, RequestFraming* framing) {
  if (claims.lengths.empty()) return std::nullopt;
  if (claims.lengths.size() > 1) return fault("The request has more than one Content-Length.");
  const std::string_view digits = claims.lengths.front();
  const char* end = digits.data() + digits.size();
  const auto parsed = std::from_chars(digits.data(), end, framing->content_length);
  if (digits.empty() || parsed.ec != std::errc() || parsed.ptr != end)
    return fault("Content-Length is not a number of bytes.");
  return std::nullopt;
}

}  // namespace

HeadScanner::Found HeadScanner::look(std::string_view head) {
  for (; next_ < head.size(); ++next_) {
    const char c = head[next_];
    const bool after_return = next_ > 0 && head[next_ - 1] == '\r';
    if (after_return != (c == '\n')) return Found::kBadByte;
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\r' && c != '\n' && c != '\t') || byte == 0x7F)
      return Found::kBadByte;
    if (c == '\n' && head.substr(0, next_ + 1).ends_with("\r\n\r\n")) {
      ++next_;
      return Found::kEnd;
    }
  }
  return Found::kMore;
}

std::optional<FramingFault> read_framing(std::string_view head, RequestFraming* framing) {
  const bool http10 = take_line(&head).ends_with("HTTP/1.0");
  Claims claims;
  for (std::string_view line = take_line(&head); !line.empty(); line = take_line(&head)) {
    if (auto wrong = read_line(line, &claims)) return wrong;
  }
  if (claims.hosts > 1) return fault("The request has more than one Host.");
  if (claims.hosts == 0 && !http10) return fault("The request has no Host.");
  if (claims.coded) return decide_coding(claims, http10, framing);
  return decide_length(claims, framing);
}

}  // namespace conclave::coordinator
