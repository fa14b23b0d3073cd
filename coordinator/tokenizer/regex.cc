#include "coordinator/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/tokenizer/json_fields.h"
#include "coordinator/tokenizer/onig_syntax.h"
#include "coordinator/tokenizer/unicode.h"

namespace conclave::coordinator {
namespace {

constexpr uint32_t kMatchLimit = 20'000'000;  // backtracking steps of one match: about a second
constexpr uint32_t kProbeMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 256 * 1024;  // for the interpreter, where there is no JIT
constexpr size_t kMaxPatternBytes = 64 * 1024;
constexpr size_t kJitStackBytes = 1024 * 1024;

struct MatchContextDeleter {
  void operator()(pcre2_match_context* p) const { pcre2_match_context_free(p); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* p) const { pcre2_match_data_free(p); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* p) const { pcre2_jit_stack_free(p); }
};
struct CompileContextDeleter {
  void operator()(pcre2_compile_context* p) const { pcre2_compile_context_free(p); }
};

// What a thread needs while matching; made once, since a text is thousands of short matches.
struct Scratch {
  explicit Scratch(uint32_t match_limit)
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)) {
    if (context == nullptr) return;
    pcre2_set_match_limit(context.get(), match_limit);
    pcre2_set_heap_limit(context.get(), kHeapLimitKib);
    if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
  bool ok() const { return data != nullptr && context != nullptr; }

  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data;
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context;
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack;
};

bool find_all_with(const pcre2_code* code, const Scratch& scratch, std::string_view text,
                   std::vector<TextRange>& matches) {
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  while (from <= text.size()) {
    int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, scratch.data.get(),
                         scratch.context.get());
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {
      rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                       scratch.data.get(), scratch.context.get());
    }
    if (rc == PCRE2_ERROR_NOMATCH) return true;
    if (rc < 0) return false;
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(scratch.data.get());
    const size_t begin = range[0];
    const size_t end = range[1];
    if (begin > end || end < from) return false;  // \K in a lookbehind can do this
    if (begin == end && end == last_end) {
      if (from >= text.size()) return true;
      from += char_bytes(text[from]);
      continue;
    }
    if (begin < (last_end == std::string_view::npos ? 0 : last_end)) return false;
    matches.push_back({begin, end});
    from = end;
    last_end = end;
  }
  return true;
}

}  // namespace

struct Regex::Code {
  pcre2_code* compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::~Regex() = default;

absl::StatusOr<std::shared_ptr<const Regex>> Regex::compile(std::string_view pattern) {
  const auto invalid = [&](const std::string& why) {
    return absl::InvalidArgumentError(absl::StrCat("the pattern ", in_quotes(pattern), " ", why));
  };
  const absl::StatusOr<std::string> translated = pcre2_from_onig(pattern);
  if (!translated.ok()) return invalid(std::string(translated.status().message()));

  const std::unique_ptr<pcre2_compile_context, CompileContextDeleter> context(
      pcre2_compile_context_create(nullptr));
  if (context == nullptr) return absl::ResourceExhaustedError("no memory for a regular expression");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_max_pattern_length(context.get(), kMaxPatternBytes);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  code->compiled = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_UTF_CHECK,
      &error, &offset, context.get());
  if (code->compiled == nullptr) {
    std::array<PCRE2_UCHAR, 256> message{};
    pcre2_get_error_message(error, message.data(), message.size());
    return invalid(absl::StrCat("is not valid: ", reinterpret_cast<const char*>(message.data())));
  }
  // Not every pattern can be compiled to machine code; PCRE2 then interprets it.
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE);

  const Scratch probe(kProbeMatchLimit);
  if (!probe.ok()) return absl::ResourceExhaustedError("no memory for a regular expression");
  for (const char c : {'a', ' ', '0', '!'}) {
    std::vector<TextRange> matches;
    std::string text(64, c);
    text += '\x01';
    if (!find_all_with(code->compiled, probe, text, matches)) {
      return invalid("backtracks without bound; use one that matches in linear time");
    }
  }
  return std::shared_ptr<const Regex>(new Regex(std::move(code)));
}

bool Regex::find_all(std::string_view text, std::vector<TextRange>& matches) const {
  static thread_local const Scratch scratch(kMatchLimit);
  if (!scratch.ok()) return false;
  return find_all_with(code_->compiled, scratch, text, matches);
}

}  // namespace conclave::coordinator
