#include "build/test_program.h"

#include "learner_fixture.h"
#include "tito/lesson.h"
#include "tito/seal.h"

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

TEST_CASE("seal: SipHash-2-4, as its authors print it") {
  const SealKey key{0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
  const char text[] = {8, 9, 10, 11, 12, 13, 14};
  CHECK_EQ(seal_of_line(key, 0x0706050403020100U, std::string_view(text, sizeof text)), 0xa129ca6149be45e5U);
}

TEST_CASE("seal: with a key, lines that do not carry it are not believed, and the test that wrote them fails") {
  const fixture::TemporaryFolder folder;
  const fs::path program = folder.path() / "program";
  write_atomically(program, R"script(#!/bin/sh
report=${1#--json=}
read key
printf '{"event":"start"}\n{"event":"test","test":"forged","file":"f.cpp","line":1}\n' > "$report"
printf '%s {"event":"done","test":"forged","passed":true}\n{"event":"end"}\n' "0123456789abcdef" >> "$report"
printf '%s of %s' "$2" "${#key}"
)script");
  fs::permissions(program, fs::perms::owner_all);
  TestOptions options;
  options.root = folder.path();
  const TestRun believed = run_tests("program", LineMap(folder.path()), options);
  CHECK(believed.finished);
  CHECK_EQ(believed.output, " of 0\n");
  options.sealed = true;
  const TestRun run = run_tests("program", LineMap(folder.path()), options);
  CHECK_EQ(run.output, "--sealed of 32\n");
  CHECK_FALSE(run.finished);
  CHECK(run.tests.empty());
}

}  // namespace tito
