//! Every kernel against a plain f64 computation, over random and awkward shapes, with the best instruction set of this
//! machine.

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

/// The kernels choose.
fn choose_instruction_set() {}
