#include "cli/conclavectl/redaction.h"

#include <gtest/gtest.h>

namespace conclave::ctl {
namespace {

TEST(Redaction, SettingsThatNameSecrets) {
  for (const char* name : {"admin-key-file", "api-key-file", "secret-file", "auth-token"})
    EXPECT_TRUE(is_sensitive_setting(name)) << name;
  for (const char* name : {"max-step-tokens", "port", "model"})
    EXPECT_FALSE(is_sensitive_setting(name)) << name;
}

TEST(Redaction, KnownSecretsGoWhereverTheyStand) {
  const Redaction redaction({{"admin-key-file", "/etc/keys/admin"},
                             {"secret-file", "/etc/keys/admin.secret"},
                             {"api-key-file", ""},
                             {"port", "8000"}},
                            "top-secret-key");
  EXPECT_EQ(redaction.clean(
                "read /etc/keys/admin.secret, /etc/keys/admin; key top-secret-key; port 8000"),
            "read (set), (set); key (set); port 8000");
}

TEST(Redaction, WhatLooksLikeASecretGoesToo) {
  const Redaction redaction(Json::object(), "");
  EXPECT_EQ(redaction.clean("conclave-worker --secret-file /tmp/x/secret --group 0"),
            "conclave-worker --secret-file (set) --group 0");
  EXPECT_EQ(redaction.clean(R"({"why":"Bearer abcdef"})"), R"x({"why":"Bearer (set)"})x");
  EXPECT_EQ(redaction.clean("key sk-0123456789abcdef, disk-0123456789abcdef"),
            "key (set), disk-0123456789abcdef");
  EXPECT_EQ(redaction.clean("rank=1 step=2"), "rank=1 step=2");
}

}  // namespace
}  // namespace conclave::ctl
