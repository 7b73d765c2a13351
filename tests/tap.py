# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP as our test programs speak it (cmocka, bats, tests/docker/run, tests/regress/run): counting, and what failed: what
was expected, what was seen, and where the logs are.
"""
import re

TEST = re.compile(r"(not )?ok\b *(\d+)? *-? *(.*?)(?: (?:# )?in (\d+) ?ms)?$")
PLAN = re.compile(r"1\.\.(\d+)")
SKIP = re.compile(r"# skip", re.IGNORECASE)
# bats tells where a test failed before what the test said.
BATS_PLACE = re.compile(r"# +(?:\(?(?:from|in) |`(.*)' failed(?: with status (\d+))?)")
CMOCKA_PLACE = re.compile(r"# *(\S+\.[ch]:\d+): error: ")


class Test:
    def __init__(self, line, ok, name, milliseconds):
        self.line, self.ok, self.name = line, ok, name
        self.skipped = bool(SKIP.search(name))
        self.seconds = int(milliseconds or 0) / 1000
        self.details = []  # the lines that follow it

    def failed(self):
        return not self.ok and not self.skipped

    def said(self, word):
        """What a line "# word: ..." of the test says, or None."""
        for line in self.details:
            if match := re.match(rf"# *{word}: *(.*)", line):
                return match.group(1)
        return None

    def first_lines(self, logs):
        """Expected, seen, logs: of a test that failed."""
        expected, seen = self.said("expected"), self.said("seen")
        for at, line in enumerate(self.details):
            if (place := BATS_PLACE.match(line)) and place.group(1):
                expected = expected or f"`{place.group(1)}' succeeds"
                seen = seen or (f"status {place.group(2)}" if place.group(2) else self.output(at + 1))
            elif place := CMOCKA_PLACE.match(line):
                expected = expected or f"the assertion at {place.group(1)} holds"
                seen = seen or (self.details[at - 1].lstrip("# ") if at else line.lstrip("# "))
        return [f"#   expected: {expected or 'success'}", f"#   seen: {seen or self.output(0)}", f"#   logs: {logs}"]

    def output(self, start):
        """The first line that the test itself said, from that line on."""
        for line in self.details[start:]:
            text = line.lstrip("# ").strip()
            if text and not BATS_PLACE.match(line):
                return text
        return "nothing was printed"


class Report:
    """The tests of one program's TAP. <status> is its exit status."""

    def __init__(self, lines, status=0):
        self.tests, self.planned, self.status = [], None, status
        for line in lines:
            if match := PLAN.match(line):
                self.planned = (self.planned or 0) + int(match.group(1))
            elif match := TEST.match(line):
                self.tests.append(Test(line, not match.group(1), match.group(3), match.group(4)))
            elif self.tests:
                self.tests[-1].details.append(line)

    def passed(self):
        return sum(test.ok and not test.skipped for test in self.tests)

    def skipped(self):
        return sum(test.skipped for test in self.tests)

    def failures(self):
        """Tests that failed, tests that the plan promised and a crash swallowed, a bad end without either."""
        failed = sum(test.failed() for test in self.tests)
        failed += max(0, (self.planned or 0) - len(self.tests))
        return failed or int(self.status != 0 or self.planned is None)

