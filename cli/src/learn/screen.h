// A full screen on the terminal, which is given back as it was, however the program that drew on it ends.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace tito {

// Runs `body` in a child process with keys unbuffered and the second screen on; restores the terminal when the child has
// ended, by a crash or a kill too. Returns what `body` returns. Throws std::runtime_error when there is no terminal, or
// when the child did not end by itself.
int with_screen(const std::function<int()>& body);

struct ScreenSize {
  std::size_t rows = 24, columns = 80;
};
ScreenSize screen_size();

// Waits for a key, at most `milliseconds`. Returns 0 when there was none (or the window changed its size), -1 when the
// terminal is gone.
int read_key(int milliseconds);

// Draws the lines from the top; what does not fit is cut off. Lines may have colours.
void draw(const std::vector<std::string>& lines, const ScreenSize& size);

// The line without what does not fit in `columns` characters; escape sequences take no room.
std::string cut_to_width(const std::string& line, std::size_t columns);

}  // namespace tito
