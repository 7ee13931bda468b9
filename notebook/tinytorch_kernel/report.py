"""What a program's tests reported, in words."""

import signal
from dataclasses import dataclass, field

ENDINGS = ("crashed", "hung", "exited", "flooded")


@dataclass
class Outcome:
    name: str
    place: str
    passed: bool = False
    ended: bool = False
    checks: int = 0
    seconds: float = 0.0
    skipped: str = ""
    reached: float = 0.0  # of a test that measures: how many times as fast as its baseline,
    wanted: float = 0.0  # and how many its points ask for
    failures: list = field(default_factory=list)


def outcomes(events):
    """The tests that were started, in order, and whether the program came to its end."""
    tests, finished = [], False
    for event in events:
        kind = event.get("event")
        if kind == "test":
            tests.append(Outcome(event.get("test", ""), f"{event.get('file', '')}:{event.get('line', 0)}"))
        elif kind == "failure" and tests:
            tests[-1].failures.append(event)
        elif kind == "skipped" and tests:
            tests[-1].skipped = event.get("why", "")
        elif kind == "measured" and tests:
            tests[-1].reached = event.get("reached", 0.0)
            tests[-1].wanted = event.get("wanted", 0.0)
        elif kind == "done" and tests:
            tests[-1].ended = True
            tests[-1].passed = event.get("passed", False)
            tests[-1].checks = event.get("checks", 0)
            tests[-1].seconds = event.get("seconds", 0.0)
        elif kind == "end":
            finished = True
    return tests, finished


def how_it_ended(ended, seconds):
    if ended.flooded:
        return "it printed too much and was stopped; is there an endless loop?"
    if ended.timed_out:
        return f"it did not end within {seconds:g} s and was stopped; is there an endless loop? (%limit SECONDS in the cell gives it more)"
    if ended.status < 0:
        try:
            return f"it was killed by signal {-ended.status} ({signal.strsignal(-ended.status)})"
        except ValueError:
            return f"it was killed by signal {-ended.status}"
    return f"it ended with status {ended.status}"


def describe_failure(failure, test, places):
    """One failure as lines; `places` are the lines of cells that were being run, innermost first."""
    kind = failure.get("kind", "")
    at = f"{failure.get('file')}:{failure.get('line')}" if failure.get("file") else test.place
    headline = {"threw": "the test ended with an error", "crashed": "the program crashed in this test", "hung": "the test did not end",
                "exited": "the program ended in this test, as exit() does; a test ends by returning"}.get(kind, failure.get("check", ""))
    lines = [f"  {at}: {headline}"]
    if failure.get("subcase"):
        lines.append(f"    in {failure['subcase']}")
    if failure.get("values"):
        lines.append(f"    {failure['values']}")
    if failure.get("cause"):
        lines.append(f"    cause: {failure['cause']}")
    if places and kind not in ("check", "message"):
        lines.append("    at " + " <- ".join(places[:6]))
    if failure.get("difference"):
        lines.append(f"    {failure['difference']}")
    return lines + [f"    {line}" for line in failure.get("info", [])]


def recognize(known, tests):
    """The sentences for mistakes that fail as these tests do. As `tito test` has it (cli/src/build/known_mistakes.cpp), but with the
    tests of one cell: of a mistake's recorded checks, those in other tests are not asked."""
    failures = {(test.name, failure.get("check") or failure.get("kind", "")): values_of(failure) for test in tests for failure in test.failures}
    names = {test.name for test in tests}
    best, sentences = 0, []
    for mistake in known:
        fit, fits = 0, True
        for check in mistake.get("fails", []):
            if check["test"] not in names:
                continue
            values = failures.get((check["test"], check["check"]))
            fits = fits and values is not None
            fit += values == check["values"]
        if not fits or fit == 0:
            continue
        if fit > best:
            best, sentences = fit, []
        if fit == best and mistake["says"] not in sentences:
            sentences.append(mistake["says"])
    return sentences


def values_of(failure):
    text = failure.get("values", "") + (f"; {failure['difference']}" if failure.get("difference") else "")
    return text.encode()[:200].decode(errors="replace")


def describe_tests(events, ended, seconds, places, known=(), grades=False):
    """(all passed, a sentence, lines about what failed). `places` looks addresses up, `known` are the lesson's known mistakes. A ratio that was not reached
    fails no test, but where a cell's outcome is its grade (`grades`) it gives no points."""
    tests, finished = outcomes(events)
    normal = finished and not ended.timed_out and not ended.flooded and ended.status in (0, 1)
    failed = [test for test in tests if not test.passed]
    lines = []
    for test in failed:
        lines.append(f"FAILED  {test.name}")
        for failure in test.failures:
            lines += describe_failure(failure, test, places(failure.get("trace") or []))
        told = any(failure.get("kind") in ENDINGS for failure in test.failures)
        if not test.ended and (ended.timed_out or ended.flooded or not told):
            lines.append(f"  {test.place}: the program did not come to the end of this test: {how_it_ended(ended, seconds)}")
        lines.append("")
    if not normal and not failed:
        lines.append(f"The program did not come to its end: {how_it_ended(ended, seconds)}.")
    helpful = recognize(known, failed)
    if helpful:
        lines += ["This looks like a mistake that others have made: " + " Or: ".join(helpful), ""]
    skipped = [test for test in tests if test.passed and test.skipped]
    lines += [f"skipped {test.name}: {test.skipped}" for test in skipped]
    lines += [f"measured {test.name}: {test.reached:.3g} times as fast as the baseline; the points ask for {test.wanted:.3g}" for test in tests if test.wanted]
    passed = len(tests) - len(failed) - len(skipped)
    checks = sum(test.checks for test in tests)
    if failed or not normal:
        sentence = f"{len(failed)} of {len(tests)} tests failed" if failed else "the tests did not come to their end"
        return False, sentence, lines
    if grades and any(test.reached < test.wanted for test in tests):
        return False, "the ratio that the points ask for was not reached", lines
    sentence = f"{passed} test{'s' * (passed != 1)} passed ({checks} check{'s' * (checks != 1)})"
    return True, sentence, lines
