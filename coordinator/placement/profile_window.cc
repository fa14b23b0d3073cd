#include "coordinator/placement/profile_window.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace conclave::coordinator {
namespace {

// Ageing touches every count, so it is done in steps that are small against any sensible half-life.
constexpr std::chrono::seconds kAgeingPeriod{5};

bool below(const std::vector<protocol::RoutingCounts::Entry>& entries, int64_t end) {
  return std::all_of(entries.begin(), entries.end(),
                     [end](const auto& entry) { return entry.index < end; });
}

bool meet(std::span<const int32_t> a, std::span<const int32_t> b) {
  return std::any_of(a.begin(), a.end(),
                     [b](int32_t rank) { return std::find(b.begin(), b.end(), rank) != b.end(); });
}

}  // namespace

absl::StatusOr<ProfileWindow> ProfileWindow::create(const Options& options, Time now) {
  ASSIGN_OR_RETURN(placement::RoutingProfile profile,
                   placement::RoutingProfile::create(options.shape));
  ProfileWindow window(options, std::move(profile), now);
  window.clear(now);
  return window;
}

void ProfileWindow::clear(Time now) {
  profile_.age(0);
  samples_ = {};
  samples_.layers = profile_.layers();
  samples_.experts = profile_.experts();
  samples_.top_k = profile_.top_k();
  aged_at_ = now;
}

absl::Status ProfileWindow::replace(const placement::RoutingProfile& profile, Time now) {
  const placement::ProfileShape& shape = profile.shape();
  if (shape != profile_.shape()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the profile is of ", shape.moe_layers.size(), " MoE layers of ", shape.experts,
        " experts, top-", shape.top_k, "; the model has ", profile_.layers(), " of ",
        profile_.experts(), ", top-", profile_.top_k(), "; make a profile with this model"));
  }
  clear(now);
  profile_ = profile;
  samples_ = placement::thin_rows(profile.samples(), options_.max_samples);
  profile_.set_samples({});
  // Live sequences count up from 0; loaded ones must not be taken for them.
  for (int32_t& sequence : samples_.sequence) sequence = -1 - sequence;
  if (samples_.rows() > 0) return absl::OkStatus();
  samples_ = {profile_.layers(), profile_.experts(), profile_.top_k(), {}, {}};
  return absl::OkStatus();
}

absl::Status ProfileWindow::check(const protocol::RoutingCounts& counts) const {
  const int64_t layers = profile_.layers();
  const int64_t e = profile_.experts();
  const auto row = static_cast<size_t>(layers * profile_.top_k());
  const bool good = below(counts.loads, layers * e) &&
                    below(counts.transitions, (layers - 1) * e * e) &&
                    below(counts.pairs, layers * e * e) &&
                    counts.samples.size() == counts.sample_sequences.size() * row &&
                    std::all_of(counts.samples.begin(), counts.samples.end(),
                                [e](uint16_t expert) { return expert < e; });
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError("a rank reported routing counts of another model");
}

absl::Status ProfileWindow::add(const protocol::RoutingCounts& counts, Time now) {
  RETURN_IF_ERROR(check(counts));
  age(now);
  const auto e = static_cast<uint32_t>(profile_.experts());
  profile_.add_tokens(static_cast<double>(counts.rows));
  for (const auto& entry : counts.loads) {
    profile_.add_load(static_cast<int32_t>(entry.index / e), static_cast<int32_t>(entry.index % e),
                      entry.count);
  }
  const auto add_matrix = [e](const auto& entries, auto add) {
    for (const auto& entry : entries) {
      add(static_cast<int32_t>(entry.index / e / e), static_cast<int32_t>(entry.index / e % e),
          static_cast<int32_t>(entry.index % e), static_cast<double>(entry.count));
    }
  };
  add_matrix(counts.transitions, [this](int32_t layer, int32_t from, int32_t to, double n) {
    profile_.add_transition(layer, from, to, n);
  });
  add_matrix(counts.pairs, [this](int32_t layer, int32_t a, int32_t b, double n) {
    profile_.add_pair(layer, a, b, n);
  });
  keep_samples(counts);
  return absl::OkStatus();
}

void ProfileWindow::age(Time now) {
  if (now - aged_at_ < kAgeingPeriod) return;
  const double seconds = std::chrono::duration<double>(now - aged_at_).count();
  profile_.age(std::exp2(-seconds / options_.half_life_seconds));
  profile_.set_window({options_.half_life_seconds, 0.5});
  aged_at_ = now;
}

// The oldest go in bulk, so that a row costs no more than its copy.
void ProfileWindow::keep_samples(const protocol::RoutingCounts& counts) {
  samples_.chosen.insert(samples_.chosen.end(), counts.samples.begin(), counts.samples.end());
  samples_.sequence.insert(samples_.sequence.end(), counts.sample_sequences.begin(),
                           counts.sample_sequences.end());
  if (samples_.rows() < 2 * options_.max_samples) return;
  const int64_t old = samples_.rows() - options_.max_samples;
  const int64_t row = int64_t{samples_.layers} * samples_.top_k;
  samples_.chosen.erase(samples_.chosen.begin(), samples_.chosen.begin() + old * row);
  samples_.sequence.erase(samples_.sequence.begin(), samples_.sequence.begin() + old);
}

placement::RoutingProfile ProfileWindow::snapshot() const {
  placement::RoutingProfile copy = profile_;
  // Rows of one sequence must be consecutive, in order; reports of several ranks and steps
  // interleave.
  std::vector<size_t> order(samples_.sequence.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [this](size_t a, size_t b) {
    return std::pair(samples_.sequence[a], a) < std::pair(samples_.sequence[b], b);
  });
  placement::RoutingRows sorted;
  sorted.layers = samples_.layers;
  sorted.experts = samples_.experts;
  sorted.top_k = samples_.top_k;
  const auto row = static_cast<size_t>(samples_.layers) * static_cast<size_t>(samples_.top_k);
  for (const size_t i : order) {
    sorted.sequence.push_back(samples_.sequence[i]);
    const auto first = samples_.chosen.begin() + static_cast<int64_t>(i * row);
    sorted.chosen.insert(sorted.chosen.end(), first, first + static_cast<int64_t>(row));
  }
  copy.set_samples(std::move(sorted));
  return copy;
}

std::vector<double> rank_balance(const placement::RoutingProfile& profile,
                                 const placement::PlacementTable& table) {
  std::vector<double> balance;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    std::vector<double> rows(static_cast<size_t>(table.ranks()), 0.0);
    double sum = 0;
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      const auto holders = table.holders(layer, expert);
      const double load = profile.loads(layer)[static_cast<size_t>(expert)];
      sum += load;
      for (const int32_t rank : holders) {
        rows[static_cast<size_t>(rank)] += load / static_cast<double>(holders.size());
      }
    }
    const double most = *std::max_element(rows.begin(), rows.end());
    balance.push_back(sum > 0 ? most * table.ranks() / sum : 1);
  }
  return balance;
}

double leader_crossings(const placement::RoutingProfile& profile,
                        const placement::PlacementTable& table) {
  double all = 0;
  double crossing = 0;
  const int32_t experts = table.experts();
  for (int32_t layer = 0; layer + 1 < table.layers(); ++layer) {
    const std::span<const double> counts = profile.transitions(layer);
    for (int32_t from = 0; from < experts; ++from) {
      for (int32_t to = 0; to < experts; ++to) {
        const double n = counts[static_cast<size_t>(from) * static_cast<size_t>(experts) +
                                static_cast<size_t>(to)];
        if (n == 0) continue;
        all += n;
        if (!meet(table.holders(layer, from), table.holders(layer + 1, to))) crossing += n;
      }
    }
  }
  return all > 0 ? crossing / all : 0;
}

}  // namespace conclave::coordinator
