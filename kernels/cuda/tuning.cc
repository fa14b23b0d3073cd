#include "kernels/cuda/tuning.h"

#include <cstdlib>
#include <string>
#include <string_view>

namespace conclave::device::cuda {
namespace {

struct Knob {
  std::string_view name;
  int32_t* value;
  int32_t most;
};

bool set(const Knob& knob, std::string_view text) {
  const std::string digits(text);
  char* end = nullptr;
  const long value = std::strtol(digits.c_str(), &end, 10);
  if (digits.empty() || *end != '\0' || value < 0 || value > knob.most) return false;
  *knob.value = static_cast<int32_t>(value);
  return true;
}

}  // namespace

bool parse_tuning(const char* text, Tuning* out) {
  const Knob knobs[] = {
      {"tiled.spread", &out->tiled.spread, 1}, {"tiled.cluster", &out->tiled.cluster, 2},
      {"deep", &out->deep, 1},                 {"six", &out->six, 1},
      {"fuse", &out->fuse, 1},                 {"append", &out->append, 1},
      {"near", &out->near, 1},                 {"trio", &out->trio, 8},
  };
  std::string_view rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const size_t end = rest.find(',');
    const std::string_view item = rest.substr(0, end);
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
    const size_t equals = item.find('=');
    bool known = false;
    for (const Knob& knob : knobs) {
      if (equals == std::string_view::npos || item.substr(0, equals) != knob.name) continue;
      known = set(knob, item.substr(equals + 1));
    }
    if (!known) return false;
  }
  return true;
}

}  // namespace conclave::device::cuda
