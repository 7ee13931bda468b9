// tito notebook NN: the lesson as a notebook in JupyterLab, with a kernel that compiles its cells.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "build/known_mistakes.h"
#include "build/progress.h"
#include "commands/commands.h"
#include "format/student.h"
#include "learn/handed_out.h"
#include "learn/lesson_test.h"
#include "learn/lessons.h"
#include "learn/text_files.h"
#include "notebook/kernel.h"
#include "notebook/lesson.h"

namespace tito {
namespace {

struct NotebookArguments {
  std::string module;
  std::string out;
  std::string sanitize;
  int port = 0;
  bool no_open = false;
  bool student = false;
  bool reference = false;
  bool describe = false;
  bool register_kernel = false;
};

// Where the notebook lives: the course, or a learner's workspace.
struct NotebookPlace {
  fs::path root;
  std::vector<Module> stage;
  const Module* module = nullptr;
  bool workspace = false;
  LessonTexts texts;
};

NotebookPlace find_place(const NotebookArguments& arguments) {
  NotebookPlace place;
  if (const std::optional<Workspace> workspace = find_workspace()) {
    const Progress progress = read_progress(*workspace);
    const std::string folder = current_lesson(*workspace, progress, arguments.module);
    LessonOptions options;
    options.reference = arguments.reference;
    place.stage = stage_modules(*workspace, progress, folder, options);
    place.root = workspace->root();
    place.module = &find_module(place.stage, folder);
    place.workspace = true;
    place.texts = {workspace->mistakes_file(folder), handed_out_lesson(*workspace, folder)};
    return place;
  }
  place.root = project_root();
  place.stage = load_stage_of(place.root, arguments.module);
  place.module = &find_module(place.stage, arguments.module);
  place.texts = {mistakes_file(*place.module), student_copy(*place.module)};
  return place;
}

// Makes the notebook with jupytext. `file` is replaced only where nobody has worked in it.
void convert(const NotebookPlace& place, const fs::path& python, const NotebookArguments& arguments, const fs::path& file) {
  const bool student = arguments.student && place.module->edition == Edition::Reference;
  const std::string text = student ? student_copy(*place.module) : notebook_text(*place.module);
  fs::create_directories(fs::absolute(file).parent_path());
  const fs::path source = fs::temp_directory_path() / fmt::format("tito-{}.cpp", getpid());
  write_atomically(source, text);
  Command command{python.string(), "-m", "tinytorch_kernel.convert", source.string(), file.string(), "--module", place.module->folder()};
  if (place.workspace && arguments.out.empty()) command.push_back("--paired");
  if (!arguments.out.empty()) command.push_back("--replace");
  ProcessOptions options;
  options.environment = {{"PYTHONPATH", notebook_folder().string()}};
  const ProcessResult result = run_process(command, options);
  std::error_code ignored;
  fs::remove(source, ignored);
  if (!result.ok()) throw std::runtime_error(fmt::format("the notebook could not be made:\n{}", result.output));
  fmt::print("{}", result.output);
}

void print_description(const NotebookPlace& place, const NotebookArguments& arguments) {
  silence_progress();
  const Sanitizer sanitizer = arguments.sanitize.empty()       ? Sanitizer::None
                              : arguments.sanitize == "thread" ? Sanitizer::Thread
                                                               : Sanitizer::Memory;
  StageOptions options = cell_options(*place.module, {"g++", sanitizer});
  options.learner = place.workspace;
  if (place.workspace) options.course = course_folder();
  const StageBuild build(place.root, modules_below(place.stage, *place.module), options);
  fmt::print("{}\n", describe_cells(build, place.stage, *place.module, place.texts));
}

// In a workspace JupyterLab writes the learner's .cpp with the notebook. Of the two, the .cpp has the cells, whichever is newer:
// the margin is in seconds, and for ever.
constexpr std::string_view pairing = R"(# Made by `tito notebook`: a notebook and the .cpp beside it are one lesson.
formats = "ipynb,cpp:percent"
comment_magics = false
outdated_text_notebook_margin = 1e9
)";

// Becomes JupyterLab.
[[noreturn]] void open_lab(const NotebookPlace& place, const fs::path& python, const fs::path& jupyter, const fs::path& file,
                           const NotebookArguments& arguments) {
  const std::string path_in_lab = fs::relative(file, place.root).generic_string();
  std::vector<std::string> words{python.string(), "-m", "jupyterlab", "--ServerApp.root_dir=" + place.root.string(),
                                 "--LabApp.default_url=/lab/tree/" + path_in_lab};
  if (arguments.no_open) words.push_back("--no-browser");
  if (arguments.port != 0) words.push_back(fmt::format("--port={}", arguments.port));
  if (geteuid() == 0) words.push_back("--allow-root");
  const char* earlier = std::getenv("JUPYTER_PATH");
  const std::string path = jupyter.string() + (earlier == nullptr ? "" : ":" + std::string(earlier));
  setenv("JUPYTER_PATH", path.c_str(), 1);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::fflush(stdout);
  execv(python.c_str(), pointers.data());
  throw std::runtime_error("JupyterLab could not be started");
}

void run_notebook(const NotebookArguments& arguments) {
  const NotebookPlace place = find_place(arguments);
  if (arguments.describe) return print_description(place, arguments);
  const fs::path python = notebook_python();
  if (!arguments.out.empty()) return convert(place, python, arguments, arguments.out);
  const KernelOptions kernel{place.root, arguments.sanitize, arguments.reference};
  if (arguments.register_kernel) {
    const char* home = std::getenv("HOME");
    const fs::path folder = fs::path(home == nullptr ? "." : home) / ".local/share/jupyter";
    write_kernel(folder, python, kernel);
    fmt::print("{} has the kernel now: other programs find it as \"C++20 (TinyTorch)\"\n", (folder / "kernels/tinytorch").string());
    return;
  }
  const fs::path file = (place.workspace ? place.module->file.parent_path() : place.root / "build/notebooks" / place.module->folder()) /
                        (place.module->name + "_dev.ipynb");
  if (place.workspace && !fs::exists(place.root / "jupytext.toml")) write_atomically(place.root / "jupytext.toml", pairing);
  convert(place, python, arguments, file);
  const fs::path jupyter = place.root / "build/jupyter";
  write_kernel(jupyter, python, kernel);
  open_lab(place, python, jupyter, fs::absolute(file), arguments);
}

}  // namespace

void add_notebook_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("notebook", "Open a module as a notebook in JupyterLab");
  const auto arguments = std::make_shared<NotebookArguments>();
  command->add_option("module", arguments->module, "05 or autograd");
  command->add_flag("--no-open", arguments->no_open, "start the server and print its address, without a browser");
  command->add_option("--port", arguments->port, "of the server");
  command->add_option("--out", arguments->out, "only write the notebook, to this file");
  command->add_flag("--student", arguments->student, "in the course: the student's copy");
  command->add_flag("--reference", arguments->reference, "in a workspace: borrow the course's modules for those that are missing");
  command->add_flag("--register", arguments->register_kernel, "only make the kernel known to other programs of this user, such as VS Code");
  command->add_flag("--sanitize{memory}", arguments->sanitize, "compile cells with sanitizers")->check(CLI::IsMember({"memory", "thread"}));
  command->add_flag("--describe", arguments->describe, "")->group("");
  command->callback([arguments] { run_notebook(*arguments); });
}

}  // namespace tito
