//! The tests of `kernels.rs` in plain Rust.

#[path = "kernels/attention.rs"]
mod attention;
#[path = "kernels/conv.rs"]
mod conv;
#[path = "kernels/elementwise.rs"]
mod elementwise;
#[path = "kernels/linear.rs"]
mod linear;
#[path = "kernels/narrow.rs"]
mod narrow;
#[path = "kernels/norm.rs"]
mod norm;
#[path = "kernels/reference.rs"]
mod reference;
#[path = "kernels/resample.rs"]
mod resample;
#[path = "kernels/update.rs"]
mod update;

fn choose_instruction_set() {
    assert!(hypersd_kernels::use_instruction_set(hypersd_kernels::InstructionSet::Portable));
}
