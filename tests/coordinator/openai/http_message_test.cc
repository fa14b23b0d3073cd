#include "coordinator/http/http_message.h"

#include <gtest/gtest.h>

#include "coordinator/http/request_parser.h"
#include "coordinator/http/response_text.h"

namespace conclave::coordinator {
namespace {

TEST(HttpMessage, TargetIsSplitAndDecoded) {
  HttpRequest request;
  request.target = "/v1/models/org%2Fname?x=%20";
  EXPECT_TRUE(split_target(&request));
  EXPECT_EQ(request.path, "/v1/models/org/name");
  EXPECT_EQ(request.query, "x=%20");
}

TEST(HttpMessage, AnAbsoluteTargetNamesItsHost) {
  const auto split = [](std::string method, std::string target) {
    HttpRequest request;
    request.method = std::move(method);
    request.target = std::move(target);
    request.headers = {{"Host", "from-the-header"}};
    const bool valid = split_target(&request);
    return valid ? request.host + " " + request.path + " " + request.query : "refused";
  };
  EXPECT_EQ(split("GET", "/a?b"), "from-the-header /a b");
  EXPECT_EQ(split("GET", "http://h:80/a%41?b=/c"), "h:80 /aA b=/c");
  EXPECT_EQ(split("GET", "HTTPS://h"), "h / ");
  EXPECT_EQ(split("GET", "http://h?q"), "h / q");
  EXPECT_EQ(split("OPTIONS", "*"), "from-the-header * ");
  for (const char* bad : {"*", "a", "h:80", "ftp://h/a", "http://", "http:///a", "http://u@h/", ""})
    EXPECT_EQ(split("GET", bad), "refused") << bad;
}

TEST(HttpMessage, ABodyIsAnnouncedByItsHeaders) {
  const auto has_body = [](HttpHeaders headers) {
    HttpRequest request;
    request.headers = std::move(headers);
    return request.has_body();
  };
  EXPECT_FALSE(has_body({}));
  EXPECT_FALSE(has_body({{"Content-Length", "0"}}));
  EXPECT_TRUE(has_body({{"Content-Length", "10"}}));
  EXPECT_TRUE(has_body({{"transfer-encoding", "chunked"}}));
}

TEST(HttpMessage, MalformedEscapesStay) {
  EXPECT_EQ(percent_decode("%"), "%");
  EXPECT_EQ(percent_decode("%4"), "%4");
  EXPECT_EQ(percent_decode("%zz%41"), "%zzA");
}

TEST(HttpMessage, SaneClientRequestIdsAreKeptOthersReplaced) {
  EXPECT_EQ(choose_request_id("abc-1"), "abc-1");
  EXPECT_NE(choose_request_id("two words"), "two words");
  EXPECT_NE(choose_request_id(std::string(129, 'a')), std::string(129, 'a'));
  EXPECT_NE(choose_request_id(""), choose_request_id(""));
}

TEST(HttpMessage, HeaderNamesIgnoreCase) {
  HttpRequest request;
  request.headers = {{"X-Thing", "1"}};
  EXPECT_EQ(request.header("x-thing"), "1");
  EXPECT_EQ(request.header("x-other"), "");
}

TEST(ResponseText, HeaderValuesCannotBreakTheLine) {
  const HttpHeaders headers = {{"A", "b\r\nEvil: yes"}};
  ResponseHead head;
  head.headers = &headers;
  EXPECT_EQ(render_head(head).find("\r\nEvil"), std::string::npos);
}

TEST(ResponseText, ChunksCarryTheirSizeInHexAndEmptyOnesAreDropped) {
  std::string out;
  append_chunk(&out, std::string(26, 'x'));
  append_chunk(&out, "");
  EXPECT_EQ(out, "1a\r\n" + std::string(26, 'x') + "\r\n");
}

// Feeds bytes and goes on from each head to its body.
RequestParser::State feed(RequestParser& parser, std::string_view bytes) {
  parser.feed(bytes);
  if (parser.state() == RequestParser::State::kHead) parser.accept_body();
  return parser.state();
}

// The same request, whole and cut at every byte, followed by a second one.
TEST(RequestParser, RequestsAreTheSameHoweverTheirBytesArrive) {
  const std::string first =
      "POST /a?b HTTP/1.1\r\nHost: h\r\nX-Request-Id: id7\r\nContent-Length: 5\r\n\r\nhello";
  const std::string second = "GET /c HTTP/1.1\r\nHost: h\r\n\r\n";
  for (size_t cut = 1; cut < first.size() + second.size(); ++cut) {
    RequestParser parser(1024, 1024);
    const std::string all = first + second;
    feed(parser, all.substr(0, cut));
    feed(parser, all.substr(cut));
    ASSERT_EQ(parser.state(), RequestParser::State::kDone) << cut;
    const HttpRequest request = parser.take();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/a");
    EXPECT_EQ(request.query, "b");
    EXPECT_EQ(request.body, "hello");
    EXPECT_EQ(request.request_id, "id7");
    ASSERT_EQ(parser.next(), RequestParser::State::kHead) << cut;
    ASSERT_EQ(parser.accept_body(), RequestParser::State::kDone) << cut;
    EXPECT_EQ(parser.take().path, "/c");
  }
}

TEST(RequestParser, ChunkedBodiesAreJoined) {
  RequestParser parser(1024, 1024);
  feed(
      parser,
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  ASSERT_EQ(parser.state(), RequestParser::State::kDone);
  EXPECT_EQ(parser.take().body, "abcde");
}

TEST(RequestParser, LimitsAndGarbageHaveTheirStatus) {
  const auto status_of = [](const std::string& bytes) {
    RequestParser parser(256, 16);
    feed(parser, bytes);
    return parser.state() == RequestParser::State::kFailed ? parser.error().status : 0;
  };
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: h\r\nA: " + std::string(300, 'a')), 431);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 17\r\n\r\n"), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" +
                      std::string(32, 'b') + "\r\n"),
            413);
  EXPECT_EQ(status_of("hello\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/9.9\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n"), 400);
  EXPECT_EQ(status_of("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), 400);
}

}  // namespace
}  // namespace conclave::coordinator
