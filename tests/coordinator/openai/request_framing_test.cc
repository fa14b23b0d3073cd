// Where a request ends is never a guess: drawn requests, drawn cuts, and the number of answers.

#include "coordinator/http/request_framing.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "coordinator/http/http_server.h"
#include "coordinator/http/request_parser.h"
#include "tests/coordinator/openai/http_client.h"

namespace conclave::coordinator {
namespace {

using Random = std::mt19937;

template <typename T>
const T& pick(Random& random, const std::vector<T>& choices) {
  return choices[std::uniform_int_distribution<size_t>(0, choices.size() - 1)(random)];
}

// What follows the request line, and how it ends: 200, or the status after which nothing follows.
struct Drawn {
  std::string head;  // lines with their ends
  std::string body;
  std::string content;  // of the body, for 200
  int status = 200;
};

std::string chunks_of(Random& random, std::string content) {
  std::string out;
  while (!content.empty()) {
    const size_t size = std::uniform_int_distribution<size_t>(1, content.size())(random);
    char hex[20];
    std::snprintf(hex, sizeof hex, pick(random, std::vector<const char*>{"%zx", "%zX", "0%zx"}),
                  size);
    out += std::string(hex) +
           pick(random, std::vector<std::string>{"", ";x", ";x=y", ";x=\"a;b\""}) + "\r\n" +
           content.substr(0, size) + "\r\n";
    content.erase(0, size);
  }
  return out +
         pick(random, std::vector<std::string>{"0\r\n\r\n", "000\r\n\r\n", "0\r\nX-T: 1\r\n\r\n"});
}

Drawn draw_good(Random& random) {
  Drawn drawn;
  drawn.head =
      pick(random, std::vector<std::string>{"Host: h\r\n", "hOsT:h\r\n", "Host:\th:80 \r\n"});
  drawn.head +=
      pick(random, std::vector<std::string>{"", "X-A: b\r\n", "X-A:\r\n", "X-Te: chunked\r\n"});
  // A body that looks like a request must stay a body.
  drawn.content = pick(
      random, std::vector<std::string>{"x", "hello", "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n",
                                       "0\r\n\r\n", "\r\n\r\n", std::string(300, 'z')});
  const std::string length = std::to_string(drawn.content.size());
  switch (random() % 4) {
    case 0:
      drawn.content.clear();
      break;
    case 1:
      drawn.content.clear();
      drawn.head += "Content-Length: 0\r\n";
      break;
    case 2:
      drawn.head += pick(random, std::vector<std::string>{"Content-Length: ", "content-length:",
                                                          "Content-Length:  00"}) +
                    length + "\r\n";
      drawn.body = drawn.content;
      break;
    default:
      drawn.head += pick(random, std::vector<std::string>{"Transfer-Encoding: chunked\r\n",
                                                          "transfer-encoding:CHUNKED\r\n",
                                                          "Transfer-Encoding: , chunked ,\r\n"});
      drawn.body = chunks_of(random, drawn.content);
  }
  return drawn;
}

Drawn draw_bad(Random& random) {
  struct Fault {
    int status;
    const char* lines;  // instead of what frames the body
    const char* body;
  };
  static const std::vector<Fault> kFaults = {
      {501, "Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: gzip\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: identity\r\n", ""},
      {501, "Host: h\r\nTransfer-Encoding: xchunked\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"},
      {501, "Host: h\r\nTransfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding:\r\n", ""},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n", "0\r\n\r\n"},
      {400, "Host: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "hello!"},
      {400, "Host: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: 5, 5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: +5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: -5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: 5x\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: 0x5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length: 5 5\r\n", "hello"},
      {400, "Host: h\r\nContent-Length:\r\n", ""},
      {400, "Host: h\r\nContent-Length: 99999999999999999999\r\n", ""},
      {413, "Host: h\r\nContent-Length: 4000\r\n", "hello"},
      {400, "", ""},
      {400, "X-A: b\r\n", ""},
      {400, "Host: h\r\nHost: h\r\n", ""},
      {400, "Host: h\r\nhost: other\r\n", ""},
      {400, "Host: h\r\nContent-Length : 5\r\n", "hello"},
      {400, "Host: h\r\nTransfer-Encoding : chunked\r\n", "0\r\n\r\n"},
      {400, "Host : h\r\n", ""},
      {400, " Host: h\r\n", ""},
      {400, "Host: h\r\nX-A: b\r\n Content-Length: 5\r\n", "hello"},
      {400, "Host: h\r\nX-A: b\r\n\tc\r\n", ""},
      {400, "Host: h\r\nno colon\r\n", ""},
      {400, "Host: h\r\n: no name\r\n", ""},
      {400, "Host: h\nX-A: b\r\n", ""},
      {400, "Host: h\r\nX-A: b\nContent-Length: 5\r\n", "hello"},
      {400, "Host: h\r\nX-A: b\rContent-Length: 5\r\n", "hello"},
      {400, "Host: h\r\nX-A: \x01\r\n", ""},
      {400, "Host: h\r\nX-A: \x0b\r\n", ""},
      {400,
       "Host: h\r\nTransfer-Encoding: \x0b"
       "chunked\r\n",
       "0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "x\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "5\nhello\r\n0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "-5\r\nhello\r\n0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "5 x\r\nhello\r\n0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "4\r\nhello\r\n0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n"},
      {400, "Host: h\r\nTransfer-Encoding: chunked\r\n",
       "5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n"},
      {413, "Host: h\r\nTransfer-Encoding: chunked\r\n", "ffff\r\nhello"},
  };
  const Fault& fault = pick(random, kFaults);
  return {fault.lines, fault.body, "", fault.status};
}

std::string request_text(const Drawn& drawn, const std::string& path) {
  return "POST " + path + " HTTP/1.1\r\n" + drawn.head + "\r\n" + drawn.body;
}

// A connection's worth of requests: good ones, of which the last may be a bad one, and behind
// everything one more good one that must not be heard if a bad one came before it.
struct Conversation {
  std::string bytes;
  std::vector<std::string> contents;  // of the requests that are heard
  int refusal = 0;                    // 0: all are heard
};

Conversation draw_conversation(Random& random) {
  Conversation conversation;
  const size_t good = random() % 3;
  for (size_t i = 0; i < good; ++i) {
    const Drawn drawn = draw_good(random);
    conversation.bytes += pick(random, std::vector<std::string>{"", "", "\r\n"});
    conversation.bytes += request_text(drawn, "/good");
    conversation.contents.push_back(drawn.content);
  }
  if (random() % 3 != 0) {
    const Drawn drawn = draw_bad(random);
    conversation.bytes += request_text(drawn, "/bad");
    conversation.refusal = drawn.status;
  }
  conversation.bytes += "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
  if (conversation.refusal == 0) conversation.contents.emplace_back();
  return conversation;
}

constexpr size_t kMaxBody = 3000;

// What a connection would hear, the bytes cut anywhere.
Conversation listen(const std::vector<std::string>& pieces) {
  Conversation heard;
  RequestParser parser(4096, kMaxBody);
  const auto advance = [&] {
    for (;;) {
      if (parser.state() == RequestParser::State::kHead) {
        parser.accept_body();
      } else if (parser.state() == RequestParser::State::kDone) {
        heard.contents.push_back(parser.take().body);
        parser.next();
      } else {
        return;
      }
    }
  };
  for (const std::string& piece : pieces) {
    parser.feed(piece);
    advance();
  }
  if (parser.state() == RequestParser::State::kFailed) heard.refusal = parser.error().status;
  return heard;
}

std::vector<std::string> cut(Random& random, std::string bytes) {
  std::vector<std::string> pieces;
  const size_t longest = pick(random, std::vector<size_t>{1, 3, 20, 400, bytes.size()});
  while (!bytes.empty()) {
    const size_t size = std::min(bytes.size(), 1 + random() % longest);
    pieces.push_back(bytes.substr(0, size));
    bytes.erase(0, size);
  }
  return pieces;
}

TEST(RequestFraming, DrawnRequestsAreHeardOnceOrEndTheConnection) {
  for (uint32_t seed = 0; seed < 4000; ++seed) {
    Random random(seed);
    const Conversation told = draw_conversation(random);
    const Conversation heard = listen(cut(random, told.bytes));
    ASSERT_EQ(heard.refusal, told.refusal) << "seed " << seed << "\n" << told.bytes;
    ASSERT_EQ(heard.contents, told.contents) << "seed " << seed << "\n" << told.bytes;
  }
}

TEST(RequestFraming, EveryRequestGetsOneAnswerAndUncertainOnesTheLast) {
  auto server =
      HttpServer::start({.max_header_bytes = 4096, .max_body_bytes = kMaxBody},
                        [](HttpRequest request, std::shared_ptr<HttpResponder> responder) {
                          responder->respond(200, {}, "heard " + request.body);
                        });
  ASSERT_TRUE(server.ok()) << server.status();
  for (uint32_t seed = 0; seed < 150; ++seed) {
    Random random(seed);
    const Conversation told = draw_conversation(random);
    HttpClient client((*server)->port());
    for (const std::string& piece : cut(random, told.bytes)) {
      if (!client.send(piece)) break;  // it was refused by a part of it
    }
    for (const std::string& content : told.contents) {
      const ClientResponse answer = client.read_response();
      ASSERT_EQ(answer.status, 200) << "seed " << seed << "\n" << told.bytes;
      ASSERT_EQ(answer.body, "heard " + content) << "seed " << seed;
    }
    if (told.refusal == 0) continue;
    const ClientResponse refusal = client.read_response();
    ASSERT_EQ(refusal.status, told.refusal) << "seed " << seed << "\n" << told.bytes;
    ASSERT_EQ(refusal.headers.at("connection"), "close");
    ASSERT_TRUE(client.read_end());
    ASSERT_EQ(client.received(), "") << "an answer to what is no request, seed " << seed;
  }
}

TEST(RequestFraming, Http10NeedsNoHostAndKnowsNoChunks) {
  RequestFraming framing;
  EXPECT_FALSE(read_framing("GET / HTTP/1.0\r\n\r\n", &framing).has_value());
  EXPECT_EQ(read_framing("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", &framing)->status,
            400);
}

TEST(RequestFraming, ABadByteIsSeenBeforeTheHeadEnds) {
  HeadScanner bare, tls;
  EXPECT_EQ(bare.look("GET / HTTP/1.1\nHost"), HeadScanner::Found::kBadByte);
  EXPECT_EQ(tls.look("\x16\x03\x01"), HeadScanner::Found::kBadByte);
  HeadScanner good;
  EXPECT_EQ(good.look("GET / HTTP/1.1\r"), HeadScanner::Found::kMore);
  EXPECT_EQ(good.look("GET / HTTP/1.1\r\n\r\nrest"), HeadScanner::Found::kEnd);
  EXPECT_EQ(good.length(), 18u);
}

// A chunk's size line or a trailer that never ends does not fill the memory.
TEST(RequestFraming, ChunkExtensionsAndTrailersAreBounded) {
  for (const char* begin : {"5;", "0\r\nX-T: "}) {
    RequestParser parser(1024, 1 << 20);
    parser.feed("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    ASSERT_EQ(parser.accept_body(), RequestParser::State::kBody);
    parser.feed(begin);
    for (int i = 0; i < 100 && parser.state() == RequestParser::State::kBody; ++i)
      parser.feed(std::string(100, 'a'));
    EXPECT_EQ(parser.state(), RequestParser::State::kFailed) << begin;
  }
}

}  // namespace
}  // namespace conclave::coordinator
