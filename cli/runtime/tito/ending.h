// How a test program ends when a test does not: a crash, exit() in the middle, an endless loop that tito stops. The
// report then has a last line that says so, with the places in the code (addresses, which tito looks up).
#pragma once

#include <string>

namespace tito {

// Addresses in the program, as the report has them: "[4711,815]". `skip` leaves out the innermost frames.
std::string stack_addresses(int skip);

// Of the place that threw the exception thrown last in this thread; "[]" where that is not known.
std::string last_throw_addresses();

// From now on an unexpected end writes its line to the file descriptor `report`. `running_test` is a place that names the
// test that runs, as a JSON string; it may change.
void report_unexpected_end(int report, const char* running_test);

// The program is about to end as it should.
void expect_end();

}  // namespace tito
