#include "tests/coordinator/openai/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace conclave::coordinator {
namespace {

constexpr int kPatienceMs = 20000;

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

void parse_head(const std::string& head, ClientResponse* response) {
  size_t line = head.find("\r\n");
  if (head.size() > 12) response->status = std::atoi(head.substr(9, 3).c_str());
  while (line != std::string::npos && line + 2 < head.size()) {
    const size_t begin = line + 2;
    line = head.find("\r\n", begin);
    const std::string text = head.substr(begin, line == std::string::npos ? line : line - begin);
    const size_t colon = text.find(": ");
    if (colon != std::string::npos)
      response->headers[lower(text.substr(0, colon))] = text.substr(colon + 2);
  }
}

}  // namespace

HttpClient::HttpClient(uint16_t port) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) close();
}

HttpClient::~HttpClient() { close(); }

void HttpClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void HttpClient::reset() {
  const linger hard{1, 0};
  ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close();
}

void HttpClient::half_close() { ::shutdown(fd_, SHUT_WR); }

void HttpClient::set_receive_buffer(int bytes) {
  ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

bool HttpClient::send(std::string_view bytes) {
  if (fd_ < 0) return false;
  while (!bytes.empty()) {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, kPatienceMs) <= 0) return false;
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool HttpClient::fill() {
  if (ended_ || fd_ < 0) return false;
  pollfd ready{fd_, POLLIN, 0};
  if (::poll(&ready, 1, kPatienceMs) <= 0) return false;
  char block[65536];
  const ssize_t got = ::recv(fd_, block, sizeof block, 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  buffer_.append(block, static_cast<size_t>(got));
  return true;
}

bool HttpClient::read_until(std::string_view text) {
  while (buffer_.find(text) == std::string::npos) {
    if (!fill()) return false;
  }
  return true;
}

bool HttpClient::read_end() {
  while (fill()) continue;
  return ended_;
}

ClientResponse HttpClient::read_response(bool head_only) {
  ClientResponse response;
  if (!read_until("\r\n\r\n")) return response;
  const size_t head_end = buffer_.find("\r\n\r\n") + 4;
  parse_head(buffer_.substr(0, head_end), &response);
  buffer_.erase(0, head_end);
  if (head_only || response.status == 204 || response.status < 200) {
    response.complete = true;
  } else if (response.headers.count("transfer-encoding") != 0) {
    while (read_until("\r\n")) {
      const size_t line = buffer_.find("\r\n");
      const size_t size = std::strtoul(buffer_.substr(0, line).c_str(), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2) {
        if (!fill()) return response;
      }
      response.body += buffer_.substr(line + 2, size);
      buffer_.erase(0, line + 2 + size + 2);
      response.complete = size == 0;
      if (response.complete) break;
    }
  } else if (response.headers.count("content-length") != 0) {
    const size_t size = std::strtoul(response.headers["content-length"].c_str(), nullptr, 10);
    while (buffer_.size() < size && fill()) continue;
    response.complete = buffer_.size() >= size;
    response.body = buffer_.substr(0, size);
    buffer_.erase(0, size);
  } else {
    response.complete = read_end();
    response.body.swap(buffer_);
  }
  return response;
}

std::string post_text(const std::string& path, const std::string& json,
                      const std::string& headers) {
  return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
         headers + "Content-Length: " + std::to_string(json.size()) + "\r\n\r\n" + json;
}

ClientResponse http_get(uint16_t port, const std::string& path, const std::string& headers) {
  HttpClient client(port);
  client.send("GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n");
  return client.read_response();
}

ClientResponse http_post(uint16_t port, const std::string& path, const std::string& json,
                         const std::string& headers) {
  HttpClient client(port);
  client.send(post_text(path, json, headers));
  return client.read_response();
}

}  // namespace conclave::coordinator
