//! Anything as one of the safetensors files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    hypersd_fuzz::weights(data);
});
