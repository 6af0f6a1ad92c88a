"""Samples for tools/check --self-test: for each check what it must refuse, and what it must not."""

AWAITS_H = """\
#define CFS_AWAITS
#define CFS_NO_AWAIT for (int i = 0; i < 1; i++)
typedef CFS_AWAITS int (*reader)(void *arg);
struct ops {
	CFS_AWAITS int (*pull)(void *arg);
	int (*look)(void *arg);
	reader handler;
};
struct timer;
CFS_AWAITS int sleepy(int ms, int (*fn)(void *arg));
CFS_AWAITS int declared(void);
void cfs_timer_arm(struct timer *t, int due, void (*fn)(void *arg), void *arg);
int group_start(void (*fn)(void *arg), void *arg);
#define NAP(ms) sleepy(ms, 0)
"""
MESON = """\
project('sample', 'c', default_options: ['c_std=gnu17', 'warning_level=2'])
static_library('cfs-net', 'net.c')
"""
IN_SRC = "project('sample', 'c')\nsubdir('src')\n"
NET = "static_library('cfs-net', 'net.c')\n"


def awaits(body):
    return {"src/base/a.h": AWAITS_H, "src/base/a.c": '#include "base/a.h"\n' + body}


def samples():
    """(part, what, {path: text}, is_good)"""
    c = "src/base/a.c"
    yield "format", "two spaces", {c: "int f(void)\n{\n  return 1;\n}\n"}, False
    yield "format", "tabs", {c: "int f(void)\n{\n\treturn 1;\n}\n"}, True

    yield "layers", "up", {c: '#include "net/net.h"\n'}, False
    yield "layers", "sideways", {"src/meta/a.c": '#  include "data/data.h"\n'}, False
    yield "layers", "client and tables", {"src/client/a.c": '#include "meta/meta.h"\n'}, False
    yield "layers", "internal", {"src/proto/a.c": '#include "base/x_internal.h"\n'}, False
    yield "layers", "no module", {c: '#include "list.h"\n'}, False
    yield "layers", "parent folder", {c: '#include "../net/net.h"\n'}, False
    yield "layers", "unknown module", {"src/extra/a.c": "\n"}, False
    yield "layers", "down", {"src/meta/a.c": '#include "repl/shard.h"\n#include "base/x.h"\n'}, True
    yield "layers", "own", {c: '#include "base/x_internal.h"\n#include <net/if.h>\n'}, True

    yield "headers", "a type without its header", {"src/base/a.h": "uint32_t f(void);\n"}, False
    yield "headers", "whole", {"src/base/a.h": "#include <stdint.h>\nuint32_t f(void);\n"}, True

    yield "awaits", "a plain caller", awaits("int f(void)\n{\n\treturn sleepy(1, 0);\n}\n"), False
    yield "awaits", "a macro", awaits("int f(void)\n{\n\treturn NAP(1);\n}\n"), False
    yield "awaits", "a member", awaits(
        "int f(struct ops *o)\n{\n\treturn o->pull(0);\n}\n"), False
    yield "awaits", "a member of a typedef", awaits(
        "int f(struct ops *o)\n{\n\treturn o->handler(0);\n}\n"), False
    yield "awaits", "a static callee", awaits(
        "static CFS_AWAITS int g(void)\n{\n\treturn sleepy(1, 0);\n}\n"
        "int f(void)\n{\n\treturn g();\n}\n"), False
    yield "awaits", "in a stretch", awaits(
        "CFS_AWAITS int f(void)\n{\n\tCFS_NO_AWAIT {\n\t\tNAP(1);\n\t}\n\treturn 0;\n}\n"), False
    yield "awaits", "a timer's callback", awaits(
        "static CFS_AWAITS void g(void *arg)\n{\n\tNAP(1);\n}\n"
        "void f(struct timer *t)\n{\n\tcfs_timer_arm(t, 1, g, 0);\n}\n"), False
    yield "awaits", "marked", awaits(
        "CFS_AWAITS int f(void)\n{\n\treturn sleepy(1, 0);\n}\n"), True
    yield "awaits", "marked in the header", awaits(
        "int declared(void)\n{\n\treturn sleepy(1, 0);\n}\n"), True
    yield "awaits", "marked in a declaration above", awaits(
        "static CFS_AWAITS int g(void);\nstatic int g(void)\n{\n\treturn NAP(1);\n}\n"), True
    yield "awaits", "a fiber's first function", awaits(
        "/* CFS_FIBER_ENTRY */\nstatic void g(void *arg)\n{\n\tNAP(1);\n}\n"
        "int f(void)\n{\n\treturn group_start(g, 0);\n}\n"), True
    yield "awaits", "in a comment and a string", awaits(
        'const char *f(void)\n{\n\t/* sleepy(1) */\n\treturn "sleepy(1)";\n}\n'), True
    yield "awaits", "another struct's member", awaits(
        "int f(struct ops *o)\n{\n\treturn o->look(0);\n}\n"), True

    unused = "int f(int a)\n{\n\tint b;\n\n\treturn a;\n}\n"
    for compiler in ("clang", "gcc"):
        yield compiler, "a warning", {"meson.build": MESON, "net.c": unused}, False
        yield compiler, "none", {"meson.build": MESON, "net.c": "int f(void);\n"}, True

    socket = "#include <sys/socket.h>\nint f(void);\nint f(void)\n{\n\treturn socket(1, 1, 0);\n}\n"
    yield "sockets", "a call", {"meson.build": IN_SRC, "src/meson.build": NET,
                                "src/net.c": socket}, False
    yield "sockets", "none", {"meson.build": IN_SRC, "src/meson.build": NET,
                              "src/net.c": "int f(void);\n"}, True

    null = "int f(int a);\nint f(int a)\n{\n\tint *p = a ? &a : 0;\n\n\treturn *p;\n}\n"
    yield "tidy", "a null dereference", {"meson.build": MESON, "net.c": null}, False
    yield "tidy", "nothing", {"meson.build": MESON, "net.c": "int f(void);\n"}, True

    yield "man", "no header", {"man/a.1.scd": "# NAME\n\ntext\n"}, False
    yield "man", "a page", {"man/a.1.scd": "a(1)\n\n# NAME\n\na - text\n\n@OPTIONS@\n"}, True

    yield "spell", "a slip", {"README.md": "It will rec" + "ieve them.\n"}, False
    yield "spell", "none", {"README.md": "It will receive them.\n"}, True

    yield "length", "too long", {c: "\n" * 901}, False
    yield "length", "long", {c: "\n" * 900}, True


RUNNER_MESON = """\
project('sample', 'c')
test('unit', executable('unit', 'unit.c'))
"""
UNIT_C = "int main(void)\n{\n\treturn 0;\n}\n"
SH = "#!/bin/sh\n"
OPTIONS = "option('tests', type: 'feature')\n"
SKIPS = "# none\ntest_skip\twe know\ntest_lines/second\twe know\n"


def runner_samples():
    """(what, {name in tests/sys: script}, is_good, a line that the run must print)"""
    yield "all well", {"test_a.sh": SH + "true\n"}, True, "5 passed, 0 failed, 0 skipped"
    yield "a skip that is listed", {"test_skip.sh": SH + "echo why; exit 77\n"}, True, \
        "4 passed, 0 failed, 1 skipped"
    yield "lines", {"test_lines.sh": SH + "echo ok first 1.0; echo skip second why\n"}, True, \
        "5 passed, 0 failed, 1 skipped"
    yield "a skip that is not listed", {"test_b.sh": SH + "exit 77\n"}, False, \
        "4 passed, 1 failed, 0 skipped"
    yield "a failure", {"test_a.sh": SH + "exit 1\n", "test_b.sh": SH}, False, \
        "5 passed, 1 failed, 0 skipped"
    yield "a failed line in a program that exits with 0", {
        "test_a.sh": SH + "echo not ok first why\n"}, False, "not ok test_a/first why"
    yield "a program that dies", {"test_a.sh": SH + "kill -SEGV $$\n"}, False, \
        "not ok test_a died of SIGSEGV"
    yield "a process left behind", {"test_a.sh": SH + "setsid sleep 300 &\n"}, False, \
        "not ok test_a left behind: the process "
