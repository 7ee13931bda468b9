#include "grade/batch.h"

#include <map>
#include <optional>

#include "build/parallel.h"
#include "learn/text_files.h"

namespace tito {
namespace {

using OrderedJson = nlohmann::ordered_json;

// The grade in the file, if it is whole and for the same text.
std::optional<Grade> kept_grade(const fs::path& file, const std::string& fingerprint) {
  const nlohmann::json json = nlohmann::json::parse(read_if_there(file), nullptr, false);
  if (!json.is_object() || json.value("fingerprint", "") != fingerprint) return std::nullopt;
  try {
    return grade_of(json);
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

void keep(const fs::path& file, const std::string& name, const std::string& fingerprint, const Grade& grade) {
  OrderedJson json = {{"submission", name}, {"fingerprint", fingerprint}};
  json.update(json_of(grade));
  write_atomically(file, json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n");
}

}  // namespace

std::vector<BatchResult> grade_files(const Grader& grader, const std::vector<fs::path>& files, const fs::path& folder) {
  std::vector<BatchResult> results(files.size());
  std::vector<std::string> fingerprints(files.size());
  std::vector<Submission> submissions(files.size());
  std::map<std::string, std::vector<std::size_t>> same;  // fingerprint -> those with this text
  for (std::size_t i = 0; i < files.size(); ++i) {
    results[i].name = files[i].stem().string();
    try {
      submissions[i] = read_submission(files[i]);
      fingerprints[i] = grader.fingerprint(submissions[i]);
    } catch (const Diagnostic& error) {
      results[i].error = error.message;
      if (!folder.empty()) fs::remove(folder / (results[i].name + ".json"));
      continue;
    }
    const std::optional<Grade> kept = folder.empty() ? std::nullopt : kept_grade(folder / (results[i].name + ".json"), fingerprints[i]);
    if (kept) {
      results[i].grade = *kept;
      results[i].kept = true;
    } else {
      same[fingerprints[i]].push_back(i);
    }
  }
  std::vector<const std::vector<std::size_t>*> groups;
  for (const auto& [fingerprint, members] : same) groups.push_back(&members);
  in_parallel(groups.size(), "grading " + grader.module().folder(), [&](std::size_t group) {
    const std::vector<std::size_t>& members = *groups[group];
    const Grade grade = grader.grade(submissions[members.front()]);
    for (const std::size_t i : members) {
      results[i].grade = grade;
      if (!folder.empty()) keep(folder / (results[i].name + ".json"), results[i].name, fingerprints[i], grade);
    }
  });
  return results;
}

}  // namespace tito
