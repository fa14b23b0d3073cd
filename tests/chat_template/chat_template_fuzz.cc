// Any bytes as a template, rendered with a fixed conversation: an answer or an error, never a crash,
// and never more than the limits allow.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "coordinator/chat_template/limited_template.h"

namespace {

const nlohmann::ordered_json& variables() {
  static const auto* const kVariables = new nlohmann::ordered_json(nlohmann::ordered_json::parse(R"({
    "messages": [
      {"role": "system", "content": "Grüße ✨\n"},
      {"role": "user", "content": [{"type": "text", "text": "a"}]},
      {"role": "assistant", "content": "<think>x</think> y", "tool_calls":
          [{"function": {"name": "f", "arguments": {"k": [1, 2.5, null, true]}}}]},
      {"role": "tool", "content": "3"}],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
    "add_generation_prompt": true, "bos_token": "<s>", "n": 7, "x": -2.5})"));
  return *kVariables;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  conclave::coordinator::jinja::RenderLimits limits;
  limits.value_bytes = size_t{1} << 16;
  limits.work_bytes = size_t{1} << 22;
  limits.steps = 50'000;
  limits.loop_iterations = 2'000;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto parsed = conclave::coordinator::jinja::parse_limited(text, "fuzz", limits);
  if (!parsed.ok()) return 0;
  const auto rendered = (*parsed)->render(variables());
  if (rendered.ok() && rendered->size() > 2 * limits.value_bytes) std::abort();
  return 0;
}
