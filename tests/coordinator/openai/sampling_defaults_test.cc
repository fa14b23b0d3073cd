#include "coordinator/openai/sampling_defaults.h"

#include <gtest/gtest.h>

namespace conclave::coordinator {
namespace {

TEST(SamplingDefaults, RequestWinsOverModelWinsOverApi) {
  model::GenerationDefaults model;
  model.temperature = 0.7f;
  model.top_p = 0.9f;
  model.top_k = 20;
  const SamplingDefaults defaults = defaults_of_model(model);
  SamplingFields fields;
  fields.temperature = 0.0;
  fields.top_k = 0;
  const protocol::Sampling sampling = resolve_sampling(fields, defaults, 9);
  EXPECT_EQ(sampling.temperature, 0.0f);
  EXPECT_EQ(sampling.top_k, 0);
  EXPECT_EQ(sampling.top_p, 0.9f);
  EXPECT_EQ(sampling.min_p, 0.0f);
  EXPECT_EQ(sampling.repetition_penalty, 1.0f);
  EXPECT_EQ(sampling.seed, 9u);
}

TEST(SamplingDefaults, NamedSeedIsKept) {
  SamplingFields fields;
  fields.seed = 42;
  EXPECT_EQ(resolve_sampling(fields, {}, 9).seed, 42u);
}

TEST(SamplingDefaults, DescriptionSpellsNumbersAsTheFileDoes) {
  model::GenerationDefaults model;
  model.temperature = 0.7f;
  EXPECT_EQ(describe(defaults_of_model(model)),
            "temperature=0.7 top_p=1.0 top_k=0.0 min_p=0.0 repetition_penalty=1.0");
  model.max_new_tokens = 64;
  EXPECT_EQ(describe(defaults_of_model(model)),
            "temperature=0.7 top_p=1.0 top_k=0.0 min_p=0.0 repetition_penalty=1.0 max_tokens=64");
}

}  // namespace
}  // namespace conclave::coordinator
