#include "expert_placement/report/html_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "expert_placement/baselines/baselines.h"

namespace conclave::placement {
namespace {

constexpr int32_t kMostMatrixExperts = 64;  // an E x E picture beyond this is too fine to read

constexpr char kStyle[] =
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 "
    "1rem;color:#1c2330;background:#fff}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse}"
    "td,th{padding:.2rem .9rem .2rem "
    "0;text-align:left;vertical-align:top}th{font-weight:600;color:#526074}"
    "svg{max-width:100%;height:auto}.pair{display:flex;gap:2.5rem;flex-wrap:wrap}figure{margin:0}"
    "figcaption{color:#526074;margin-bottom:.3rem}.key span{display:inline-block;padding:0 "
    ".5rem;margin:0 .2rem .2rem 0;border-radius:3px}"
    "text{font:11px system-ui,sans-serif;fill:#526074}";

// Hues far apart for neighbours in rank number (golden angle).
std::string colour(int32_t rank) {
  const double hue = std::fmod(rank * 137.508 + 205, 360);
  return absl::StrFormat("hsl(%.0f 58%% %d%%)", hue, rank % 2 == 0 ? 58 : 70);
}

std::string rect(double x, double y, double width, double height, const std::string& fill,
                 const std::string& title) {
  return absl::StrFormat(
      "<rect x='%.1f' y='%.1f' width='%.1f' height='%.1f' fill='%s'><title>%s</title></rect>", x, y,
      width, height, fill, title);
}

std::string svg(const std::string& id, double width, double height, const std::string& body) {
  return absl::StrFormat(
             "<svg id='%s' viewBox='0 0 %.0f %.0f' width='%.0f' height='%.0f' role='img'>", id,
             width, height, width, height) +
         body + "</svg>\n";
}

std::string facts(const Problem& problem, const Solution& s) {
  std::string rows;
  const auto add = [&rows](const std::string& name, const std::string& value) {
    absl::StrAppend(&rows, "<tr><th>", name, "</th><td>", value, "</td></tr>");
  };
  add("objective", absl::StrCat(name_of(problem.objective), ", plan ", name_of(problem.plan)));
  add(problem.start != nullptr ? "before (table in force)" : "before (contiguous)",
      absl::StrFormat("%.6g%s", s.objective_before,
                      s.start_obeys_cap ? "" : " (does not obey the limits)"));
  add("after",
      absl::StrFormat(
          "%.6g (%+.1f %%)", s.objective_after,
          s.objective_before > 0 ? 100 * (s.objective_after / s.objective_before - 1) : 0.0));
  add("proven lower bound",
      s.lower_bound ? absl::StrFormat("%.6g, gap %.1f %%", *s.lower_bound, 100 * *s.gap())
                    : "none known");
  add("ranks, nodes", absl::StrFormat("%d, %d", problem.cluster.ranks(), problem.cluster.nodes()));
  add("experts per rank and layer", absl::StrCat(s.table.slots_per_rank()));
  add("copies that move", absl::StrCat(s.moved_experts));
  add("profile",
      absl::StrFormat("%s, %.0f tokens", problem.profile->id(), problem.profile->tokens()));
  add("solver", absl::StrFormat("%s, %.1f s", s.solver, s.seconds));
  return absl::StrCat("<table id='facts'>", rows, "</table>\n");
}

std::string expert_map(const Problem& problem, const PlacementTable& table) {
  const double cell = std::clamp(900.0 / table.experts(), 4.0, 22.0), height = 16, left = 60;
  std::string body;
  for (int32_t layer = 0; layer < table.layers(); ++layer) {
    const double y = 14 + layer * (height + 2);
    absl::StrAppendFormat(&body, "<text x='0' y='%.1f'>layer %d</text>", y + 12,
                          table.moe_layers()[static_cast<size_t>(layer)]);
    for (int32_t expert = 0; expert < table.experts(); ++expert) {
      const auto holders = table.holders(layer, expert);
      std::string where;
      for (int32_t rank : holders) absl::StrAppend(&where, where.empty() ? "" : ", ", rank);
      const double share = problem.profile->empty()
                               ? 0
                               : 100 * problem.profile->loads(layer)[static_cast<size_t>(expert)] /
                                     problem.profile->tokens();
      const std::string title =
          absl::StrFormat("expert %d on rank %s, used by %.1f %% of tokens", expert, where, share);
      for (size_t i = 0; i < holders.size(); ++i) {
        const double part = height / static_cast<double>(holders.size());
        absl::StrAppend(&body, rect(left + expert * cell, y + static_cast<double>(i) * part,
                                    cell - 0.6, part, colour(holders[i]), title));
      }
    }
  }
  return svg("map", left + table.experts() * cell, 16 + table.layers() * (height + 2), body);
}

std::string colour_key(int32_t ranks) {
  std::string key = "<p class='key'>";
  for (int32_t rank = 0; rank < std::min(ranks, 64); ++rank) {
    absl::StrAppend(&key, "<span style='background:", colour(rank), "'>rank ", rank, "</span>");
  }
  return key + "</p>\n";
}

// [n, n] counts as a picture; titles name rows and columns.
std::string matrix(const std::string& id, const std::vector<double>& counts, size_t n,
                   const std::string& what) {
  const double side = std::clamp(360.0 / static_cast<double>(n), 3.0, 60.0);
  const double largest = std::max(1e-300, *std::max_element(counts.begin(), counts.end()));
  const double total = std::max(1e-300, std::accumulate(counts.begin(), counts.end(), 0.0));
  std::string body;
  for (size_t row = 0; row < n; ++row) {
    for (size_t column = 0; column < n; ++column) {
      const double count = counts[row * n + column];
      if (n > 24 && count <= 0) continue;
      const int light = 97 - static_cast<int>(67 * std::sqrt(count / largest));
      const std::string fill = row == column && what == "rank"
                                   ? absl::StrFormat("hsl(150 45%% %d%%)", light)
                                   : absl::StrFormat("hsl(215 65%% %d%%)", light);
      absl::StrAppend(&body, rect(static_cast<double>(column) * side,
                                  static_cast<double>(row) * side, side - 0.5, side - 0.5, fill,
                                  absl::StrFormat("%s %d to %d: %.2f %%", what, row, column,
                                                  100 * count / total)));
    }
  }
  return svg(id, static_cast<double>(n) * side, static_cast<double>(n) * side, body);
}

std::vector<double> between_ranks(const RoutingProfile& profile, const PlacementTable& table) {
  const auto ranks = static_cast<size_t>(table.ranks()),
             experts = static_cast<size_t>(profile.experts());
  std::vector<double> counts(ranks * ranks, 0);
  for (int32_t layer = 0; layer + 1 < profile.layers(); ++layer) {
    const auto weights = profile.transitions(layer);
    for (size_t from = 0; from < experts; ++from) {
      for (size_t to = 0; to < experts; ++to) {
        if (weights[from * experts + to] == 0) continue;
        const auto holders = table.holders(layer, static_cast<int32_t>(from));
        for (int32_t rank : holders) {
          const auto next =
              static_cast<size_t>(table.serving_rank(layer + 1, static_cast<int32_t>(to), rank));
          counts[static_cast<size_t>(rank) * ranks + next] +=
              weights[from * experts + to] / static_cast<double>(holders.size());
        }
      }
    }
  }
  return counts;
}

// Transitions of the first pair of layers, experts in the order of their ranks.
std::vector<double> between_experts(const RoutingProfile& profile, const PlacementTable& table) {
  const auto experts = static_cast<size_t>(profile.experts());
  const auto order = [&](int32_t layer) {
    std::vector<size_t> by_rank(experts);
    std::iota(by_rank.begin(), by_rank.end(), size_t{0});
    std::sort(by_rank.begin(), by_rank.end(), [&](size_t a, size_t b) {
      return std::pair(table.holders(layer, static_cast<int32_t>(a))[0], a) <
             std::pair(table.holders(layer, static_cast<int32_t>(b))[0], b);
    });
    return by_rank;
  };
  const std::vector<size_t> rows = order(0), columns = order(1);
  std::vector<double> counts;
  for (size_t from : rows) {
    for (size_t to : columns) counts.push_back(profile.transitions(0)[from * experts + to]);
  }
  return counts;
}

std::string figure(const std::string& caption, const std::string& picture) {
  return absl::StrCat("<figure><figcaption>", caption, "</figcaption>", picture, "</figure>\n");
}

std::string transition_section(const RoutingProfile& profile, const PlacementTable& before,
                               const PlacementTable& after) {
  const auto ranks = static_cast<size_t>(after.ranks());
  if (profile.layers() < 2 || ranks > 64) return "";
  std::string html =
      "<h2>Transitions of the leading expert between ranks, all layers</h2><div class='pair'>";
  absl::StrAppend(
      &html,
      figure("before", matrix("ranks-before", between_ranks(profile, before), ranks, "rank")),
      figure("after (green: stays)",
             matrix("ranks-after", between_ranks(profile, after), ranks, "rank")),
      "</div>\n");
  if (profile.experts() > kMostMatrixExperts) return html;
  const auto experts = static_cast<size_t>(profile.experts());
  absl::StrAppend(
      &html,
      "<h2>Transitions between experts of the first two MoE layers, in the order of their "
      "ranks</h2><div class='pair'>",
      figure("before",
             matrix("experts-before", between_experts(profile, before), experts, "place")),
      figure("after", matrix("experts-after", between_experts(profile, after), experts, "place")),
      "</div>\n");
  return html;
}

std::string balance_bars(const Solution& s) {
  const double left = 60, scale = 260;
  std::string body;
  for (size_t layer = 0; layer < s.balance.size(); ++layer) {
    const double y = static_cast<double>(layer) * 18 + 4;
    const std::string title =
        absl::StrFormat("max/mean %.3f, cap %.3f", s.balance[layer], s.balance_cap[layer]);
    absl::StrAppendFormat(&body, "<text x='0' y='%.1f'>layer %d</text>", y + 11,
                          s.table.moe_layers()[layer]);
    absl::StrAppend(
        &body, rect(left, y, s.balance[layer] * scale, 13, "hsl(215 55% 60%)", title),
        rect(left + s.balance_cap[layer] * scale - 1, y - 2, 2, 17, "hsl(10 75% 50%)", title));
    absl::StrAppendFormat(&body, "<text x='%.1f' y='%.1f'>%.2f</text>",
                          left + s.balance_cap[layer] * scale + 8, y + 11, s.balance[layer]);
  }
  return svg("balance", left + 2.2 * scale, static_cast<double>(s.balance.size()) * 18 + 8, body);
}

}  // namespace

std::string html_report(const Problem& problem, const Solution& solution) {
  const PlacementTable before = problem.start != nullptr
                                    ? *problem.start
                                    : contiguous_table(*problem.profile, problem.cluster.ranks());
  return absl::StrCat(
      "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><title>Expert "
      "placement</title><style>",
      kStyle, "</style></head><body>\n<h1>Expert placement</h1>\n", facts(problem, solution),
      "<h2>Where the experts live (layers x experts, coloured by rank)</h2>\n",
      colour_key(problem.cluster.ranks()), expert_map(problem, solution.table),
      transition_section(*problem.profile, before, solution.table),
      "<h2>Load of the fullest rank over the mean, by layer (red: cap)</h2>\n",
      balance_bars(solution), "</body></html>\n");
}

}  // namespace conclave::placement
