#!/usr/bin/env -S python3 -B
"""
tests/sys/posix/table.py [--check] - makes doc/posix-table.md, or says that it is stale.

From two files beside it: errnos (what the manual pages document: CALL ERRNO [REASON], the reason
why no case can see it), and covers (CALL ERRNO CASE, what the cases saw on ext4, written by them).
A cell that has neither case nor reason is an error; so is one that has both.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "../../../doc/posix-table.md")
CASES_MAX = 3

HEAD = """# Which documented errors the POSIX suite sees

Made by `tests/sys/posix/table.py` from `errnos` and `covers` beside it; not to be edited. A row is a
manual page of section 2 and an error that it documents; then the cases that saw the call fail with it
(at most three of them), or why none can. The suite itself checks on ext4 that the cases do see it.
What a call does when it succeeds is in the cases' own clauses (`posix DIR --list`).

"""


def read(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        return [line.rstrip("\n") for line in f if line.strip() and not line.startswith("#")]


def reasons_and_cells():
    reasons, cells = {}, []
    for line in read("errnos"):
        if line.startswith("@"):
            name, text = line.split(" ", 1)
            reasons[name] = text
            continue
        words = line.split(" ", 2)
        reason = words[2] if len(words) > 2 else ""
        for name in [w for w in reason.split(" ") if w.startswith("@")]:
            if name not in reasons:
                sys.exit(f"errnos: {line}: there is no reason {name}")
            reason = reason.replace(name, reasons[name])
        cells.append((words[0], words[1], reason))
    return cells


def main():
    seen, wrong, text, known = {}, [], HEAD, set()
    for line in read("covers"):
        call, code, case = line.split(" ")
        seen.setdefault((call, code), []).append(case)
    cells = reasons_and_cells()
    with_case = 0
    last = None
    for call, code, reason in cells:
        cases = seen.get((call, code), [])
        known.add((call, code))
        if not cases and not reason:
            wrong.append(f"{call} {code}: neither case nor reason")
        if cases and reason:
            wrong.append(f"{call} {code}: has a reason, but cases see it: {' '.join(cases)}")
        if call != last:
            text += f"\n## {call}(2)\n\n| error | cases, or why none |\n|---|---|\n"
            last = call
        with_case += bool(cases)
        more = f", and {len(cases) - CASES_MAX} more" if len(cases) > CASES_MAX else ""
        text += f"| {code} | {', '.join(f'`{c}`' for c in cases[:CASES_MAX]) + more if cases else reason} |\n"
    others = sorted(set(seen) - known)
    if others:
        text += "\n## Errors that cases see and the page does not name\n\n| call | error | cases |\n|---|---|---|\n"
        for call, code in others:
            text += f"| {call} | {code} | {', '.join(f'`{c}`' for c in seen[call, code][:CASES_MAX])} |\n"
    text = text.replace("\n\n\n", "\n\n")
    text += f"\n{len(cells)} documented errors, {with_case} seen by cases, {len(cells) - with_case} with a reason.\n"
    if wrong:
        sys.exit("\n".join(wrong))
    if sys.argv[1:] == ["--check"]:
        with open(OUT, encoding="utf-8") as f:
            if f.read() != text:
                sys.exit("doc/posix-table.md is stale: run tests/sys/posix/table.py")
        return
    with open(OUT, "w", encoding="utf-8") as f:
        f.write(text)


if __name__ == "__main__":
    main()
