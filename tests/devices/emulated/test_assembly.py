from __future__ import annotations

from harness.devices.emulated.assembly import Loop, functions, loops, reached

PRINTED = """\
	.text
	.type	first,@function
first:
.Lfunc_begin0:
	.cfi_startproc
	sub	sp, sp, #32                     // spills
	bl	second
	adrp	x0, .L__lambda
	add	x0, x0, :lo12:.L__lambda
	ret
.Lfunc_end0:
	.size	first, .Lfunc_end0-first
	.type	.L__lambda,@function
.L__lambda:
.LBB1_1:
.Ltmp3:
	subs	x1, x1, #1
	b.ne	.LBB1_1
	ret
	.type	second,@function
second:
	b	first
	.type	alone,@function
alone:
	ret
	.type	__TVMBackendFreeWorkspace,@object
__TVMBackendFreeWorkspace:
	.xword	0
"""
NESTED = """\
mov x0, xzr
b .LBB0_3
.LBB0_1:
fadd v0.4s, v0.4s, v1.4s
add x0, x0, #1
cmp x0, #9
b.eq .LBB0_6
.LBB0_3:
cbz x3, .LBB0_8
.LBB0_4:
ldr q1, [x2]
tbz w1, #0, .LBB0_7
.LBB0_5:
fmla v0.4s, v1.4s, v2.4s
subs x1, x1, #1
b.ne .LBB0_4
blr x8
b .LBB0_1
.LBB0_6:
ret
.LBB0_7:
fneg v1.4s, v1.4s
b .LBB0_5
.LBB0_8:
mov w0, #-1
b .LBB0_6
"""


def test_functions_are_their_labels_and_instructions() -> None:
    code = functions(PRINTED)
    assert list(code) == ["first", ".L__lambda", "second", "alone"]
    assert [line for line in code["first"] if not line.endswith(":")] == [
        "sub sp, sp, #32",
        "bl second",
        "adrp x0, .L__lambda",
        "add x0, x0, :lo12:.L__lambda",
        "ret",
    ]


def test_functions_that_are_named_are_reached_once() -> None:
    assert reached(functions(PRINTED), "first") == ["first", "second", ".L__lambda"]
    assert reached(functions(PRINTED), "missing") == []


def test_label_that_the_debugger_needs_does_not_hide_a_loop() -> None:
    (loop,) = loops(functions(PRINTED)[".L__lambda"])
    assert loop.instructions == ("subs x1, x1, #1", "b.ne .LBB1_1")


def test_loop_is_what_comes_back_to_its_beginning_wherever_it_is_written() -> None:
    outer = (
        "fadd v0.4s, v0.4s, v1.4s",
        "add x0, x0, #1",
        "cmp x0, #9",
        "b.eq .LBB0_6",
        "cbz x3, .LBB0_8",
        "b .LBB0_1",
    )
    inner = (
        "ldr q1, [x2]",
        "tbz w1, #0, .LBB0_7",
        "fmla v0.4s, v1.4s, v2.4s",
        "subs x1, x1, #1",
        "b.ne .LBB0_4",
        "fneg v1.4s, v1.4s",
        "b .LBB0_5",
    )
    assert loops(NESTED.splitlines()) == [
        Loop(".LBB0_3", outer, innermost=False, calls=1),
        Loop(".LBB0_4", inner, innermost=True, calls=0),
    ]


def test_branch_back_into_what_can_be_entered_elsewhere_is_no_loop() -> None:
    lines = ["cbz x0, .L2", ".L1:", "nop", ".L2:", "nop", "b.ne .L1", "ret"]
    assert loops(lines) == []
