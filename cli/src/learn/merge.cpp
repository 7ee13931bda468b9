#include "learn/merge.h"

#include <algorithm>
#include <map>
#include <set>

#include "format/cells.h"

namespace tito {
namespace {

using Lines = std::vector<std::string>;

// A cell as the lines it has in its file, with the blank ones behind it.
struct Block {
  std::string id;  // its grade_id; of other cells their text
  Lines lines;
  int line = 0;
  bool graded = false;  // the id is a grade_id

  bool operator==(const Block& other) const { return lines == other.lines; }
};

std::string first_words(const Lines& lines) {
  for (const std::string& line : lines) {
    const std::size_t first = line.find_first_not_of("/ #%|");
    if (first != std::string::npos) return line.substr(first, 60);
  }
  return "an empty cell";
}

std::vector<Block> blocks_of(std::string_view text) {
  const CellFile file = parse_cells("a lesson", text);
  const Lines lines = split_lines(text);
  std::vector<Block> out;
  const auto add = [&](int first, int stop, const std::string& grade_id) {
    Block block;
    block.lines.assign(lines.begin() + first, lines.begin() + stop);
    block.line = first + 1;
    block.graded = !grade_id.empty();
    Lines words = block.lines;
    while (!words.empty() && words.back().empty()) words.pop_back();
    block.id = block.graded ? grade_id : join_lines(words);
    out.push_back(std::move(block));
  };
  add(0, file.cells.front().line - 1, "the file's header");
  for (std::size_t i = 0; i < file.cells.size(); ++i) {
    const int stop = i + 1 < file.cells.size() ? file.cells[i + 1].line - 1 : static_cast<int>(lines.size());
    add(file.cells[i].line - 1, stop, file.cells[i].grade_id());
  }
  return out;
}

Lines ids_of(const std::vector<Block>& blocks) {
  Lines out;
  for (const Block& block : blocks) out.push_back(block.id);
  return out;
}

Lines joined(const std::vector<Block>& blocks) {
  Lines out;
  for (const Block& block : blocks) out.insert(out.end(), block.lines.begin(), block.lines.end());
  return out;
}

template <class T>
std::vector<T> part(const std::vector<T>& all, std::size_t first, std::size_t stop) {
  return {all.begin() + static_cast<std::ptrdiff_t>(first), all.begin() + static_cast<std::ptrdiff_t>(stop)};
}

// What lies between two elements that all three sides have, or such an element itself.
template <class T>
struct Chunk {
  std::vector<T> base, mine, course;
};

// Cuts three sequences where all three have the same key.
template <class T>
std::vector<Chunk<T>> chunks(const std::vector<T>& base, const std::vector<T>& mine, const std::vector<T>& course, const Lines& base_keys,
                             const Lines& mine_keys, const Lines& course_keys) {
  std::map<std::size_t, std::size_t> in_mine, in_course;
  for (const auto& [b, m] : common_subsequence(base_keys, mine_keys)) in_mine[b] = m;
  for (const auto& [b, c] : common_subsequence(base_keys, course_keys)) in_course[b] = c;
  std::vector<Chunk<T>> out;
  std::size_t b = 0, m = 0, c = 0;
  const auto between = [&](std::size_t b_stop, std::size_t m_stop, std::size_t c_stop) {
    if (b != b_stop || m != m_stop || c != c_stop) {
      out.push_back({part(base, b, b_stop), part(mine, m, m_stop), part(course, c, c_stop)});
    }
  };
  for (const auto& [at, mine_at] : in_mine) {
    const auto found = in_course.find(at);
    if (found == in_course.end()) continue;
    between(at, mine_at, found->second);
    out.push_back({{base[at]}, {mine[mine_at]}, {course[found->second]}});
    b = at + 1;
    m = mine_at + 1;
    c = found->second + 1;
  }
  between(base.size(), mine.size(), course.size());
  return out;
}

void append(Lines& out, const Lines& lines) { out.insert(out.end(), lines.begin(), lines.end()); }

// Every line of `mine` that `base` has not is in `merged`, as often.
bool keeps_all(const Lines& base, const Lines& mine, const Lines& merged) {
  std::map<std::string, int> count;
  for (const std::string& line : mine) ++count[line];
  for (const std::string& line : base) --count[line];
  std::map<std::string, int> in_merged;
  for (const std::string& line : merged) ++in_merged[line];
  return std::all_of(count.begin(), count.end(), [&](const auto& entry) {
    return entry.second <= 0 || entry.first.empty() || in_merged[entry.first] >= entry.second;
  });
}

}  // namespace

std::vector<std::pair<std::size_t, std::size_t>> common_subsequence(const Lines& left, const Lines& right) {
  std::vector<std::pair<std::size_t, std::size_t>> out;
  std::size_t first = 0;
  while (first < left.size() && first < right.size() && left[first] == right[first]) {
    out.emplace_back(first, first);
    ++first;
  }
  std::size_t left_stop = left.size(), right_stop = right.size();
  while (left_stop > first && right_stop > first && left[left_stop - 1] == right[right_stop - 1]) {
    --left_stop;
    --right_stop;
  }
  const std::size_t rows = left_stop - first, columns = right_stop - first;
  std::vector<std::vector<unsigned>> length(rows + 1, std::vector<unsigned>(columns + 1, 0));
  for (std::size_t i = rows; i-- > 0;) {
    for (std::size_t j = columns; j-- > 0;) {
      length[i][j] = left[first + i] == right[first + j] ? length[i + 1][j + 1] + 1 : std::max(length[i + 1][j], length[i][j + 1]);
    }
  }
  for (std::size_t i = 0, j = 0; i < rows && j < columns;) {
    if (left[first + i] == right[first + j]) {
      out.emplace_back(first + i++, first + j++);
    } else {
      length[i + 1][j] >= length[i][j + 1] ? ++i : ++j;
    }
  }
  for (std::size_t i = 0; i < left.size() - left_stop; ++i) out.emplace_back(left_stop + i, right_stop + i);
  return out;
}

std::optional<Lines> merge_lines(const Lines& base, const Lines& mine, const Lines& course) {
  Lines out;
  for (const Chunk<std::string>& chunk : chunks(base, mine, course, base, mine, course)) {
    if (chunk.mine == chunk.base) {
      append(out, chunk.course);
    } else if (chunk.course == chunk.base || chunk.mine == chunk.course) {
      append(out, chunk.mine);
    } else {
      return std::nullopt;
    }
  }
  return out;
}

Merged merge_lessons(std::string_view base_text, std::string_view mine_text, std::string_view course_text) {
  const std::vector<Block> base = blocks_of(base_text), mine = blocks_of(mine_text), course = blocks_of(course_text);
  Merged merged;
  Lines out;
  for (const Chunk<Block>& chunk : chunks(base, mine, course, ids_of(base), ids_of(mine), ids_of(course))) {
    const Lines base_lines = joined(chunk.base), mine_lines = joined(chunk.mine), course_lines = joined(chunk.course);
    if (mine_lines == base_lines) {
      append(out, course_lines);
    } else if (course_lines == base_lines || mine_lines == course_lines) {
      append(out, mine_lines);
    } else if (base_lines.empty()) {
      append(out, course_lines);  // both added cells here: the learner's stand behind the course's
      append(out, mine_lines);
    } else {
      const std::optional<Lines> lines = merge_lines(base_lines, mine_lines, course_lines);
      if (lines && keeps_all(base_lines, mine_lines, *lines)) {
        append(out, *lines);
        continue;
      }
      const Block& where = chunk.mine.empty() ? chunk.base.front() : chunk.mine.front();
      merged.conflicts.push_back({where.graded ? where.id : first_words(where.lines), where.line});
      append(out, mine_lines);
    }
  }
  merged.text = join_lines(out);
  return merged;
}

}  // namespace tito
