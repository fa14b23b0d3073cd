#include "cli/preflight/verdict.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/file.h"

namespace conclave::cli {
namespace {

using Links = std::set<std::pair<std::string, std::string>>;  // (who missed, whom)

// Takes the blamed node's links away until none is left.
std::vector<std::string> blame(Links links) {
  std::vector<std::string> sentences;
  while (!links.empty()) {
    std::map<std::string, std::set<std::string>> missed_by;
    std::map<std::string, size_t> broken;
    for (const auto& [from, to] : links) {
      missed_by[to].insert(from);
      ++broken[from];
      ++broken[to];
    }
    const auto worst =
        std::max_element(broken.begin(), broken.end(), [&](const auto& a, const auto& b) {
          return std::pair(a.second, missed_by[a.first].size()) <
                 std::pair(b.second, missed_by[b.first].size());
        });
    const std::string node = worst->first;
    std::set<std::string> others;
    for (const auto& [from, to] : links) {
      if (to == node) others.insert(from);
    }
    if (!others.empty()) {
      sentences.push_back(
          absl::StrCat("node ", node, " cannot be reached from ", absl::StrJoin(others, ", ")));
    } else {
      for (const auto& [from, to] : links) {
        if (from == node) others.insert(to);
      }
      sentences.push_back(
          absl::StrCat("node ", node, " cannot reach ", absl::StrJoin(others, ", ")));
    }
    std::erase_if(links,
                  [&](const auto& link) { return link.first == node || link.second == node; });
  }
  return sentences;
}

}  // namespace

absl::StatusOr<std::string> judge(const std::vector<std::string>& expected_nodes,
                                  const std::map<std::string, NodeReport>& reports) {
  std::vector<std::string> faults;
  std::set<std::string> silent;
  Links links;
  for (const std::string& node : expected_nodes) {
    const auto found = reports.find(node);
    if (found == reports.end()) {
      silent.insert(node);
      faults.push_back(
          absl::StrCat("node ", node,
                       " gave no report: nothing runs there, or it does not see the job's folder"));
      continue;
    }
    for (const CheckResult& check : found->second.checks) {
      if (!check.ok && check.name != "links")
        faults.push_back(absl::StrCat("node ", node, ": ", check.message));
    }
    for (const std::string& other : found->second.unreachable) links.insert({node, other});
  }
  // Nobody can reach a node on which nothing runs.
  std::erase_if(links, [&](const auto& link) { return silent.contains(link.second); });
  for (std::string& sentence : blame(links)) faults.push_back(std::move(sentence));
  if (!faults.empty()) return absl::InvalidArgumentError(absl::StrJoin(faults, "; "));
  std::vector<std::string> parts;
  for (const std::string& node : expected_nodes) {
    std::vector<std::string> found;
    for (const CheckResult& check : reports.at(node).checks) found.push_back(check.message);
    parts.push_back(absl::StrCat(node, " (", absl::StrJoin(found, ", "), ")"));
  }
  return absl::StrCat("pre-flight passed: ", absl::StrJoin(parts, "; "));
}

std::map<std::string, NodeReport> read_reports(const std::string& folder,
                                               const std::vector<std::string>& nodes) {
  std::map<std::string, NodeReport> reports;
  for (const std::string& node : nodes) {
    const absl::StatusOr<std::string> text =
        read_file(absl::StrCat(folder, "/", node, ".json"), 1 << 20);
    if (!text.ok()) continue;
    absl::StatusOr<NodeReport> report = report_from_json(*text);
    if (!report.ok()) {
      report = NodeReport{
          node,
          {{"report", false,
            absl::StrCat("its report cannot be read: ", std::string(report.status().message()))}},
          {}};
    }
    reports[node] = *std::move(report);
  }
  return reports;
}

}  // namespace conclave::cli
