#include "build/test_program.h"

#include "learner_fixture.h"
#include "tito/lesson.h"

namespace tito {

TEST_CASE("test program: a failed check is told whatever bytes its values have") {
  const fixture::TemporaryFolder folder;
  const fs::path program = folder.path() / "program";
  write_atomically(program, R"script(#!/bin/sh
report=${1#--json=}
printf '{"event":"start"}\n{"event":"test","test":"bytes","file":"f.cpp","line":1}\n' > "$report"
printf '{"event":"failure","test":"bytes","kind":"check","file":"f.cpp","line":2,"check":"CHECK_EQ( a, b )","values":"\377\303 and \303\244"}\n' >> "$report"
printf '{"event":"done","test":"bytes","passed":false}\n{"event":"end"}\n' >> "$report"
exit 1
)script");
  fs::permissions(program, fs::perms::owner_all);
  TestOptions options;
  options.root = folder.path();
  const TestRun run = run_tests("program", LineMap(folder.path()), options);
  CHECK(run.finished);
  REQUIRE_EQ(run.tests.size(), 1);
  REQUIRE_EQ(run.tests[0].failures.size(), 1);
  CHECK_EQ(run.tests[0].failures[0].check, "CHECK_EQ( a, b )");
  CHECK_EQ(run.tests[0].failures[0].values, "?? and \xC3\xA4");
}

}  // namespace tito
