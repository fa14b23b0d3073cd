#include "coordinator/engine/startup_check.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"

namespace conclave::coordinator {
namespace {

constexpr int32_t kMaxCopies = 16;
constexpr size_t kTokensForAVerdict = 4;  // fewer that are equal say nothing

// Of one prompt row.
enum class RowKind : uint8_t { kGood, kNan, kInfinite, kFlat };

RowKind kind_of(const float* row, int32_t vocab) {
  const float* end = row + vocab;
  if (std::any_of(row, end, [](float x) { return std::isnan(x); })) return RowKind::kNan;
  if (std::any_of(row, end, [](float x) { return std::isinf(x); })) return RowKind::kInfinite;
  const bool flat = vocab > 1 && std::all_of(row, end, [&](float x) { return x == *row; });
  return flat ? RowKind::kFlat : RowKind::kGood;
}

absl::Status broken(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("the start-up check failed: ", what,
                                                 "; the weights are damaged, not those of this "
                                                 "architecture, or too large for the compute type "
                                                 "(--compute f32 is the widest)"));
}

}  // namespace

class StartupCheck::Listener : public GenerationListener {
 public:
  Listener(std::shared_ptr<State> state, size_t copy) : state_(std::move(state)), copy_(copy) {}
  void on_prompt(PromptPart part) override {
    state_->logits.insert(state_->logits.end(), part.logits.begin(), part.logits.end());
  }
  void on_token(GeneratedToken token) override { state_->answers[copy_].push_back(token.id); }
  void on_end(GenerationEnd end) override {
    --state_->open;
    if (!end.error.ok()) state_->failure.Update(end.error);
    // Ended by somebody before it proved anything.
    if (end.error.ok() && end.reason == FinishReason::kCancelled)
      state_->failure.Update(absl::UnavailableError("the start-up check was cancelled"));
  }

 private:
  const std::shared_ptr<State> state_;
  const size_t copy_;
};

StartupCheck::StartupCheck(const std::vector<int32_t>& prompt, int32_t max_tokens, int32_t vocab,
                           int32_t ranks)
    : prompt_(prompt), max_tokens_(max_tokens), vocab_(vocab), state_(std::make_shared<State>()) {
  state_->open = static_cast<size_t>(std::clamp(ranks, 1, kMaxCopies));
  state_->answers.resize(state_->open);
}

std::vector<StartupCheck::Probe> StartupCheck::probes() const {
  std::vector<Probe> probes;
  for (size_t copy = 0; copy < state_->answers.size(); ++copy) {
    Probe& probe = probes.emplace_back();
    probe.request.request_id = absl::StrCat("start-up-check-", copy);
    probe.request.prompt = prompt_;
    probe.request.max_tokens = max_tokens_;
    probe.request.ignore_eos = true;
    probe.request.probe = true;
    // One copy shows its logits: they are many.
    probe.request.want_logits = copy == 0;
    probe.listener = std::make_shared<Listener>(state_, copy);
  }
  return probes;
}

absl::Status StartupCheck::verdict() const {
  // What the ranks found in the rows that they sampled from.
  if (absl::IsInternal(state_->failure)) return broken(std::string(state_->failure.message()));
  if (!state_->failure.ok()) return state_->failure;
  const size_t vocab = static_cast<size_t>(vocab_);
  if (vocab == 0 || state_->logits.size() != prompt_.size() * vocab) return absl::OkStatus();
  size_t flat = 0;
  for (size_t row = 0; row < prompt_.size(); ++row) {
    switch (kind_of(&state_->logits[row * vocab], vocab_)) {
      case RowKind::kNan:
        return broken(absl::StrCat("the model's logits after prompt token ", row, " of ",
                                   prompt_.size(), " are NaN"));
      case RowKind::kInfinite:
        return broken(absl::StrCat("the model's logits after prompt token ", row, " of ",
                                   prompt_.size(), " are infinite"));
      case RowKind::kFlat:
        ++flat;
        break;
      case RowKind::kGood:
        break;
    }
  }
  // A single row may be flat: the embedding of a padding token is all zeros in some models.
  if (flat < prompt_.size()) return absl::OkStatus();
  return broken("all logits of the model are equal, whatever the token");
}

std::string StartupCheck::warning() const {
  const std::vector<int32_t>& first = state_->answers.front();
  if (first.size() < kTokensForAVerdict) return "";
  for (const std::vector<int32_t>& answer : state_->answers) {
    if (std::any_of(answer.begin(), answer.end(),
                    [&](int32_t token) { return token != first.front(); }))
      return "";
  }
  return absl::StrCat("the start-up check got token ", first.front(), " and nothing else, ",
                      first.size(),
                      " times in a row: look at an answer before you trust this model");
}

}  // namespace conclave::coordinator
