//! The tests of `kernels.rs` with AVX2, where it is not the best; elsewhere as there, with a notice where it is missing.

use std::io::{self, Write};

use hypersd_kernels::{InstructionSet, instruction_set, use_instruction_set};

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
    use_instruction_set(InstructionSet::Avx2);
}

/// Where there is no AVX2, a notice goes straight to the standard error, since the harness keeps what passing tests print.
#[test]
fn avx2_is_tested_or_its_absence_is_said_on_stderr() {
    #[cfg(target_arch = "x86_64")]
    let there = !cfg!(miri)
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c");
    #[cfg(not(target_arch = "x86_64"))]
    let there = false;

    assert_eq!(use_instruction_set(InstructionSet::Avx2), there);
    if there {
        assert_eq!(instruction_set(), InstructionSet::Avx2);
    } else {
        let notice =
            format!("NOT TESTED: AVX2, which is not here; tests/avx2.rs ran {:?}\n", instruction_set());
        io::stderr().write_all(notice.as_bytes()).expect("the standard error can be written");
    }
}
