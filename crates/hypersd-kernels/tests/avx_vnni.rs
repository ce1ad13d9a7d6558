//! The tests of `kernels.rs` that AVX-VNNI has kernels of its own for, with it; elsewhere with what is there.

use hypersd_kernels::{InstructionSet, use_instruction_set};

#[path = "kernels/narrow.rs"]
mod narrow;
#[expect(dead_code, reason = "measures of other tests")]
#[path = "kernels/reference.rs"]
mod reference;

fn choose_instruction_set() {
    use_instruction_set(InstructionSet::AvxVnni);
}
