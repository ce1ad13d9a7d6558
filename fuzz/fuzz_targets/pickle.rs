//! Anything as one of PyTorch's checkpoints.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"PK\x03\x04") || data.starts_with(b"\x80") {
        hypersd_fuzz::weights(data);
    }
});
