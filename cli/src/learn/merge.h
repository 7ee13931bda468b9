// Bringing a newer version of a lesson into a learner's copy: a three-way merge of cells, and of lines within a cell.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tito {

struct MergeConflict {
  std::string cell;  // its grade_id, or its first words
  int line = 0;      // in the learner's file
};

struct Merged {
  std::string text;
  std::vector<MergeConflict> conflicts;  // what both sides changed; the text has the learner's version there
};

// `base` is the lesson as it was handed out, `mine` the learner's copy of it, `course` the lesson as it is now. Cells are
// the same when they have the same grade_id, others when they say the same or stand between the same neighbours. Every
// line that is in `mine` and not in `base` is in the result.
Merged merge_lessons(std::string_view base, std::string_view mine, std::string_view course);

// Lines; nothing when both sides changed the same ones.
std::optional<std::vector<std::string>> merge_lines(const std::vector<std::string>& base, const std::vector<std::string>& mine,
                                                    const std::vector<std::string>& course);

// The pairs of equal elements of a longest common subsequence.
std::vector<std::pair<std::size_t, std::size_t>> common_subsequence(const std::vector<std::string>& left,
                                                                    const std::vector<std::string>& right);

}  // namespace tito
