from __future__ import annotations

from harness.devices.graphics.instruction_mix import instruction_mixes
from harness.records.compiled_code import InstructionMix

PTX = """\
.version 8.0
.visible .entry first(
	.param .u64 first_param_0
)
.maxntid 64, 1, 1
{
	.reg .pred 	%p<2>;
	.shared .align 4 .b8 memory[256];

	ld.param.u64 	%rd1, [first_param_0];
	cvta.to.global.u64 	%rd2, %rd1;
	mov.u32 	%r1, %tid.x;
	mul.wide.s32 	%rd3, %r1, 4;
	setp.gt.s32 	%p1, %r1, 31;
	not.pred 	%p1, %p1;
	@%p1 bra 	$L__BB0_2;
	bra.uni 	$L__BB0_1;

$L__BB0_1:
	ld.global.nc.v4.f32 	{%f1, %f2, %f3, %f4}, [%rd3];
	st.shared.v2.f32 	[%r1], {%f1, %f2};
	@!%p1 st.volatile.shared.f32 	[%r1], %f3;
	bar.sync 	0;
	ld.volatile.shared.f32 	%f5, [%r1];
	fma.rn.f32 	%f6, %f5, %f1, %f2;
	setp.lt.f32 	%p1, %f6, %f1;
	@%p1 add.ftz.f32 	%f6, %f6, %f6;
	st.global.f32 	[%rd3], %f6;

$L__BB0_2:
	ret;
}
.func  (.param .b32 result) helper(
	.param .b32 value
)
{
	mul.f32 	%f1, %f1, %f1;
	ret;
}
.visible .entry second()
{
	ret;
}
"""


def test_instructions_are_counted_by_what_they_do() -> None:
    assert instruction_mixes(PTX) == {
        "first": InstructionMix(
            form="ptx",
            floating_point=3,
            integer=3,
            global_loads=1,
            global_stores=1,
            shared_loads=1,
            shared_stores=2,
            barriers=1,
            branches=3,
            other=3,
        ),
        "second": InstructionMix(form="ptx", branches=1),
    }
