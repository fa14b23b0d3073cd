#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "cli/conclavectl/doctor.h"
#include "cli/conclavectl/output.h"
#include "cli/conclavectl/redaction.h"
#include "cli/conclavectl/verbs.h"

extern char** environ;

namespace conclave::ctl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDocuments[] = {"status", "health", "ranks", "requests", "experts", "model", "config",
                                      "version", "history", "logs", "admission", "placement", "profile"};

std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return text;
}

// Removed with all it holds.
class TemporaryFolder {
 public:
  static absl::StatusOr<std::unique_ptr<TemporaryFolder>> create() {
    std::error_code error;
    std::string path = (fs::temp_directory_path(error) / "conclave-bundle-XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) return absl::InternalError("cannot make a temporary folder; is TMPDIR writable?");
    return std::unique_ptr<TemporaryFolder>(new TemporaryFolder(std::move(path)));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

// Where keys and secrets are is nobody's business either.
void redact(Json* config) {
  if (!config->contains("settings")) return;
  for (auto& [name, value] : (*config)["settings"].items()) {
    if (is_sensitive_setting(name) && value.is_string() && value != "") value = "(set)";
  }
}

// The folder of a bundle. Every text that is written loses what nobody else shall see.
class BundleFolder {
 public:
  BundleFolder(std::string path, Redaction redaction) : path_(std::move(path)), redaction_(std::move(redaction)) {}
  absl::Status write(const std::string& name, const std::string& text) const {
    return write_file_atomically(absl::StrCat(path_, "/", name), redaction_.clean(text));
  }

 private:
  const std::string path_;
  const Redaction redaction_;
};

// "" where no key is used or its file cannot be read: then the first question says so.
std::string own_key(const Session& session) {
  if (session.options().key_file.empty()) return "";
  const auto text = read_file(session.options().key_file, 1 << 16);
  return text.ok() ? text->substr(0, text->find('\n')) : "";
}

std::string readable(const Json& json) { return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"; }

absl::Status collect(Session& session, const std::string& path) {
  const auto config = session.get("/admin/v1/config");
  const BundleFolder folder(path, Redaction(config.ok() && config->contains("settings") ? (*config)["settings"] : Json(), own_key(session)));
  std::string missing;
  for (const char* kind : kDocuments) {
    auto document = session.get(absl::StrCat("/admin/v1/", kind));
    if (!document.ok()) {
      if (absl::IsUnauthenticated(document.status())) return document.status();
      absl::StrAppend(&missing, kind, ": ", std::string(document.status().message()), "\n");
      continue;
    }
    if (std::string(kind) == "config") redact(&*document);
    RETURN_IF_ERROR(folder.write(absl::StrCat(kind, ".json"), readable(*document)));
  }
  const auto metrics = session.text("GET", "/metrics");
  if (metrics.ok()) RETURN_IF_ERROR(folder.write("metrics.txt", *metrics));
  std::vector<Finding> findings = check_host();
  for (Finding& finding : check_cluster(session)) findings.push_back(std::move(finding));
  RETURN_IF_ERROR(folder.write("doctor.json", readable(doctor_document(findings))));
  if (!missing.empty()) RETURN_IF_ERROR(folder.write("missing.txt", missing));
  return folder.write("README.txt", absl::StrCat("Debug bundle of ", session.options().endpoint, ", made by conclavectl ", kVersion, " at ", timestamp(),
                                                 ".\nNo prompts, no answers, no keys. logs.json has the last lines of the coordinator and of each rank.\n"
                                                 "missing.txt, if there, says what the server did not give.\n"));
}

absl::Status pack(const std::string& parent, const std::string& name, const std::string& target) {
  const std::string output = fs::absolute(target).string();
  std::vector<std::string> words = {"tar", "-C", parent, "-czf", output, name};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = -1;
  int status = 0;
  if (::posix_spawnp(&pid, "tar", nullptr, nullptr, argv.data(), environ) != 0 || ::waitpid(pid, &status, 0) != pid || status != 0) {
    return absl::InternalError(absl::StrCat("tar could not write ", target, "; is it installed and the folder writable?"));
  }
  return absl::OkStatus();
}

absl::Status bundle(Session& session, std::string path) {
  const std::string name = absl::StrCat("conclave-bundle-", timestamp());
  if (path.empty()) path = name + ".tar.gz";
  ASSIGN_OR_RETURN(const auto temporary, TemporaryFolder::create());
  const std::string folder = absl::StrCat(temporary->path(), "/", name);
  std::error_code error;
  fs::create_directory(folder, error);
  if (error) return absl::InternalError(absl::StrCat(folder, ": ", error.message()));
  RETURN_IF_ERROR(collect(session, folder));
  RETURN_IF_ERROR(pack(temporary->path(), name, path));
  if (session.wants_data()) {
    print_data(session, {{"version", 1}, {"kind", "bundle"}, {"file", path}, {"bytes", fs::file_size(path, error)}});
  } else {
    std::printf("%s\n", path.c_str());
  }
  return absl::OkStatus();
}

}  // namespace

void add_bundle_verb(CLI::App& app, Action* action) {
  auto path = std::make_shared<std::string>();
  CLI::App* verb = app.add_subcommand("bundle", "Everything a helper needs to see, in one .tar.gz without prompts and secrets");
  verb->add_option("file", *path, "default: conclave-bundle-TIME.tar.gz in this folder");
  verb->callback([action, path] {
    *action = [path](Session& session) { return bundle(session, *path); };
  });
}

}  // namespace conclave::ctl
