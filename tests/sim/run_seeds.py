#!/usr/bin/env -S python3 -B
"""
run_seeds.py CFS_SIM CFS_SIM_BREAKS - runs the simulator over seeds, and prints a line a case.

Cases: kill, power, mixed (seeds of each), locks (kill and mixed with locks), leases (four
clients that keep and share), crashall (crashes at device writes), again (the same seed
gives the same trace), known (tests/sim/seeds.txt: what once found a bug), breaks (each guard in
tests/sim/breaks.txt is missed when it is taken out).

Environment: CFS_COUNTS small or full, CFS_SEED the first seed's base, CFS_CASE one case only;
SIM_SEEDS, SIM_POINTS, SIM_BREAK_SEEDS: counts in place of those of CFS_COUNTS.
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
COUNTS = {
    "small": {"seeds": 16, "points": 150, "breaks": 60, "again": 3},
    "full": {"seeds": 2000, "points": 3000, "breaks": 400, "again": 20},
}
LIMIT_SECONDS = 300  # of one run; a guard's absence shows as a run that does not end, too
LIMIT_BREAK_SECONDS = 30
BREAKS_SMALL = 2  # that many guards of the list in a small run
JOBS = 2


def simulate(program, args, limit):
    """(exit status, what it printed); 124 when it ran too long."""
    try:
        done = subprocess.run([program] + args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=limit, check=False)
        return done.returncode, done.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired as e:
        text = (e.stdout or b"").decode(errors="replace")
        return 124, text + f"took longer than {limit} s: {program} {' '.join(args)}\n"


def entries(name):
    """Lines of a list in this folder, without comments."""
    with open(os.path.join(HERE, name), encoding="utf-8") as f:
        for line in f:
            line = line.partition("#")[0].strip()
            if line:
                yield line


class Cases:
    def __init__(self, program, program_breaks):
        self.program = program
        self.program_breaks = program_breaks
        self.is_full = os.environ.get("CFS_COUNTS") == "full"
        self.counts = dict(COUNTS["full" if self.is_full else "small"])
        for key, name in (("seeds", "SIM_SEEDS"), ("points", "SIM_POINTS"),
                          ("breaks", "SIM_BREAK_SEEDS")):
            self.counts[key] = int(os.environ.get(name, self.counts[key]))
        # A build with sanitizers is several times slower, and has the same seeds before it.
        self.is_slow = os.path.basename(os.environ.get("CFS_BUILD", "release")) != "release"
        if self.is_slow:
            for key in ("seeds", "points"):
                self.counts[key] //= 10 if self.is_full else 4
        self.seed = int(os.environ.get("CFS_SEED", "1"))
        self.failed = False

    def report(self, name, start, problems, text):
        if problems:
            self.failed = True
            for line in problems[:20]:
                print("    " + line.replace("\n", "\n    "))
            print(f"not ok {name} {len(problems)} of {text}", flush=True)
        else:
            print(f"ok {name} {time.monotonic() - start:.1f} {text}", flush=True)

    def many(self, runs):
        """Runs (program, args) side by side; yields (args, status, output) in order."""
        with ThreadPoolExecutor(JOBS) as pool:
            jobs = [(args, pool.submit(simulate, program, args, LIMIT_SECONDS))
                    for program, args in runs]
            for args, job in jobs:
                status, output = job.result()
                yield args, status, output

    def mode(self, *modes, name=None, args=()):
        """Seeds of these modes, by turns."""
        start = time.monotonic()
        count = self.counts["seeds"]
        runs = [(self.program, ["--seed", str(self.seed * 100000 + i),
                                "--mode", modes[i % len(modes)], *args]) for i in range(count)]
        problems = [output.strip() for _, status, output in self.many(runs) if status != 0]
        self.report(name or modes[0], start, problems, f"{count} seeds from {self.seed * 100000}")

    def locks(self):
        self.mode("kill", "mixed", name="locks", args=["--locks"])

    def leases(self):
        self.mode("mixed", name="leases", args=["--leases"])

    def crashall(self):
        """Several workloads, until there were points enough."""
        start = time.monotonic()
        points = 0
        problems = []
        seed = self.seed * 100000
        while points < self.counts["points"] and len(problems) < 5:
            args = ["--seed", str(seed), "--mode", "crashall", "--steps", "250", "--jobs",
                    str(JOBS), "--points-max", str(max(50, self.counts["points"] // 30))]
            status, output = simulate(self.program, args, LIMIT_SECONDS)
            if status != 0:
                problems.append(output.strip())
            words = output.split()
            if "crash" in words:
                points += int(words[words.index("crash") - 1])
            seed += 1
        self.report("crashall", start, problems,
                    f"{points} crash points, seeds {self.seed * 100000} to {seed - 1}")

    def again(self):
        start = time.monotonic()
        problems = []
        count = self.counts["again"]
        for i in range(count):
            args = ["--seed", str(self.seed * 100000 + 50000 + i), "--mode", "mixed"]
            first = simulate(self.program, args, LIMIT_SECONDS)[1].strip().split("\n")[-1]
            second = simulate(self.program, args, LIMIT_SECONDS)[1].strip().split("\n")[-1]
            if first != second or not first.startswith("trace "):
                problems.append(f"{' '.join(args)}: {first}, then {second}")
        self.report("again", start, problems, f"{count} seeds, twice each")

    def known(self):
        start = time.monotonic()
        lines = list(entries("seeds.txt"))
        runs = [(self.program, line.split()) for line in lines]
        problems = [output.strip() for _, status, output in self.many(runs) if status != 0]
        self.report("known", start, problems, f"{len(lines)} seeds that found something once")

    def break_found(self, name, mode, args):
        """The seed that finds the guard missing; None: no one does."""
        for i in range(self.counts["breaks"]):
            seed = self.seed * 100000 + 70000 + i
            status, _ = simulate(self.program_breaks,
                                 ["--seed", str(seed), "--mode", mode, "--break", name] + args,
                                 LIMIT_BREAK_SECONDS)
            if status != 0:
                return i + 1
        return None

    def breaks(self):
        lines = list(entries("breaks.txt"))
        if not self.is_full:
            lines = lines[:BREAKS_SMALL]
        for line in lines:
            name, mode, *args = line.split()
            start = time.monotonic()
            found = self.break_found(name, mode, args)
            self.report(f"break-{name}", start,
                        [] if found else [f"{name} is not missed by --mode {mode}"],
                        f"seeds until it was missed: {found or self.counts['breaks']}")

    def run(self):
        wanted = os.environ.get("CFS_CASE", "")
        cases = {"known": self.known, "kill": lambda: self.mode("kill"),
                 "power": lambda: self.mode("power"), "mixed": lambda: self.mode("mixed"),
                 "locks": self.locks, "leases": self.leases,
                 "crashall": self.crashall, "again": self.again, "breaks": self.breaks}
        if wanted and wanted not in cases:
            sys.exit(f"run_seeds.py: there is no case {wanted}")
        for name, case in cases.items():
            if self.is_slow and name == "breaks" and not wanted:
                continue
            if wanted in ("", name):
                case()
        return 1 if self.failed else 0


if __name__ == "__main__":
    sys.exit(Cases(sys.argv[1], sys.argv[2]).run())
