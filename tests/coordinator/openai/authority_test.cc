#include "coordinator/http/authority.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

TEST(Authority, HostAndPort) {
  EXPECT_EQ(parse_authority("Example.ORG:8001")->host, "example.org");
  EXPECT_EQ(parse_authority("example.org:8001")->port, 8001);
  EXPECT_FALSE(parse_authority("example.org")->port.has_value());
  EXPECT_EQ(parse_authority("[::1]:7")->host, "::1");
  EXPECT_EQ(parse_authority("[::1]:7")->port, 7);
  for (const char* bad :
       {"", ":80", "a b", "user@host", "host/path", "host:", "host:x", "host:65536", "host:1:2",
        "[::1", "[::1]x", "[]", "::1", "h\tx", "h?x", "h#x"})
    EXPECT_FALSE(parse_authority(bad).has_value()) << bad;
}

TEST(Authority, OnlyLiteralsAndLocalhostAreThisMachine) {
  for (const char* local :
       {"localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:8001", "127.255.3.4", "[::1]",
        "[::1]:80", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]:8001", "[::ffff:7f00:1]"})
    EXPECT_TRUE(is_loopback_authority(local)) << local;
  for (const char* other : {"127.evil.example",
                            "127.0.0.1.evil",
                            "127.0.0.1.evil:8001",
                            "localhost.evil",
                            "localhost.",
                            "evil.localhost",
                            "0x7f.1",
                            "0x7f.0.0.1",
                            "127.1",
                            "127",
                            "2130706433",
                            "0177.0.0.1",
                            "127.0.0.1.",
                            "127.0.0.01",
                            "127.0.0.256",
                            "128.0.0.1",
                            "0.0.0.0",
                            "[::]",
                            "[::2]",
                            "[::ffff:10.0.0.1]",
                            "[::127.0.0.1]",
                            "[::1%lo]",
                            "[127.0.0.1]",
                            "127.0.0.1@evil",
                            "evil@127.0.0.1",
                            "evil.example",
                            "",
                            " 127.0.0.1",
                            "127.0.0.1 evil"})
    EXPECT_FALSE(is_loopback_authority(other)) << other;
}

TEST(Authority, AddressesToListenOn) {
  for (const char* local :
       {"127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]", "unix:/run/x", "::ffff:127.0.0.1"})
    EXPECT_TRUE(is_loopback_address(local)) << local;
  for (const char* open : {"0.0.0.0", "::", "", "127.evil.example", "10.0.0.1", "node7", "fe80::1"})
    EXPECT_FALSE(is_loopback_address(open)) << open;
}

}  // namespace
}  // namespace conclave::coordinator
