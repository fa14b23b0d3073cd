#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/model/model_folder.h"

namespace conclave::model {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json golden_config(const std::string& name) {
  return json::parse(file_text(golden_folder(name) + "/config.json"));
}

absl::StatusOr<ModelSpec> parse(const json& config) {
  return parse_config(config.dump(), "dir/config.json");
}

// Any value under any key: a spec whose numbers are sane, or an error that names the file.
TEST(ConfigProperty, AnyValueUnderAnyKeyIsReadOrRefusedByName) {
  const std::vector<json> values = {nullptr,
                                    true,
                                    false,
                                    0,
                                    1,
                                    -1,
                                    2,
                                    3,
                                    7,
                                    1000000007,
                                    INT64_MIN,
                                    UINT64_MAX,
                                    0.5,
                                    -1e300,
                                    1e300,
                                    "",
                                    "x",
                                    json::array(),
                                    json::object(),
                                    {1, 2},
                                    {-1},
                                    {"a"},
                                    {{"rope_type", "yarn"}},
                                    {{"distance", 3}},
                                    {{"rope_type", "llama3"}, {"factor", 1e9}},
                                    {{"__float__", "Infinity"}}};
  std::mt19937_64 random(5);
  int accepted = 0;
  for (const std::string& name : golden_names()) {
    json keys = golden_config(name);
    keys.update(json::parse(file_text(golden_folder(name) + "/config_legacy.json")));
    for (const char* key : {"pre_gate", "ladder_residual", "layer_types", "clip_qkv"})
      keys[key] = 0;
    for (const auto& item : keys.items()) {
      for (const json& value : values) {
        json config = golden_config(name);
        config[item.key()] = value;
        if (random() % 3 == 0) config.erase("rope_parameters");
        const auto spec = parse(config);
        if (!spec.ok()) {
          EXPECT_THAT(std::string(spec.status().message()), HasSubstr("dir/config.json"));
          continue;
        }
        ++accepted;
        EXPECT_GT(spec->total_parameters(), 0);
        EXPECT_LE(spec->active_parameters(), spec->total_parameters());
        EXPECT_EQ(spec->heads % spec->kv_heads, 0);
        EXPECT_LE(spec->top_k, spec->experts);
        EXPECT_EQ(spec->rope.inverse_freq.size(), static_cast<size_t>(spec->rope.rotary_dim / 2));
      }
    }
  }
  EXPECT_GT(accepted, 1000);
}

}  // namespace
}  // namespace conclave::model
