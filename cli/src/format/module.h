// A module: its cells, and what they are in the course (exports, holes, mistakes, tests).
#pragma once

#include <string>
#include <vector>

#include "format/cells.h"

namespace tito {

// An exercise: the whole body of one function, in one cell.
struct Hole {
  std::string grade_id;   // "05-reduce-to"
  std::string function;   // "reduce_to", "nn::LinearImpl::forward"
  std::string signature;  // the function's head, one space for each run of white space
  std::string todo;       // the first line of its TODO
  std::string kind;       // fill, design, debug or optimize
  std::size_t cell = 0;   // index in Module::cells
  // Indices in the cell's body: [body_first, body_last] are the lines between the braces, without the two
  // SOLUTION comments; [todo_first, todo_last] is the scaffold.
  std::size_t body_first = 0, body_last = 0, todo_first = 0, todo_last = 0;
  int line = 0;  // of the function in the module file

  // What the empty hole throws: "05 reduce_to: Sum away what broadcasting added."
  std::string message() const;
};

// A wrong body for a hole, that learners really write.
struct Mistake {
  std::string grade_id;  // of the hole
  std::string name;
  std::string says;
  std::size_t cell = 0;
  std::vector<std::string> body;  // the lines between the braces of its function
  int body_line = 0;              // of body[0] in the module file
  int line = 0;

  // "05-reduce-to/drops-kept-dims"
  std::string id() const { return grade_id + "/" + name; }
};

// A TEST_CASE or a DEMO.
struct Test {
  std::string name;
  bool is_demo = false;
  std::string grade_id;            // of its cell; empty when it has none
  bool graded = false;             // its cell has points
  std::vector<std::string> holes;  // grade_ids of the holes between the graded test before it and itself
  std::size_t cell = 0;
  std::size_t first = 0, last = 0;  // its lines, as indices in the cell's body, leading comments included
  int line = 0;
};

enum class Edition {
  Reference,  // the file in modules/, with solutions
  Student,    // a student's copy, perhaps worked on: bodies stand where solutions were
};

// Whether a number, or a name that begins with one, is a library chapter's: 6x to 9x are.
inline bool is_library_chapter(std::string_view number) { return number[0] >= '5'; }

struct Module {
  Edition edition = Edition::Reference;
  std::string number;  // "05"
  std::string name;    // "autograd"
  fs::path file;
  std::vector<std::string> header;
  std::vector<Cell> cells;
  bool library_chapter = false;
  std::string after;  // library chapters: the number of the module they follow
  std::vector<Hole> holes;
  std::vector<Mistake> mistakes;
  std::vector<Test> tests;
  std::size_t open_cell = 0, close_cell = 0;  // the cells `namespace tinytorch {` and `}  // namespace tinytorch`

  std::vector<std::size_t> include_breaks;    // cells between them that close the namespace, include for the tests, and open it again

  std::string folder() const { return number + "_" + name; }
  // The stage that it belongs to: its own number, or for library chapters that of the module they follow.
  const std::string& stage() const { return library_chapter ? after : number; }
};

bool breaks_for_includes(const Module& module, std::size_t cell);

// Throws Diagnostic on the first thing that does not follow docs/module_format.md.
Module parse_module(const fs::path& file, Edition edition = Edition::Reference);
Module parse_module(const fs::path& file, std::string_view text, Edition edition = Edition::Reference);

// modules/NN_*/ in the order of the stages: library chapters come after the module they name, by number or behind the chapter they name.
std::vector<Module> load_course(const fs::path& root);

// The files of the stage that the module `name` belongs to, in the same order, unread. Throws std::runtime_error for an unknown name.
std::vector<fs::path> module_files(const fs::path& root, std::string_view name);

// The modules of the stage that the module `name` belongs to. Later modules are not read, so that an unfinished one
// does not stand in the way. Throws std::runtime_error for an unknown name.
std::vector<Module> load_stage_of(const fs::path& root, std::string_view name);

// The nearest folder at or above `from` with modules/ and tito. Throws std::runtime_error if there is none.
fs::path find_root(const fs::path& from);

// Where the course lies that this tito belongs to: what TITO_ROOT names, the project around the program, or, for an installed
// one, share/tinytorch beside its folder. Throws std::runtime_error if there is none.
fs::path course_folder();

// The root of the project that contains the working folder, or the environment's TITO_ROOT.
fs::path project_root();

// "5", "05", "autograd" or "05_autograd" -> that module. Throws std::runtime_error and lists the modules otherwise.
const Module& find_module(const std::vector<Module>& course, std::string_view name);

}  // namespace tito
