//! Anything as one of the GGUF files.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if data.starts_with(b"GGUF") {
        hypersd_fuzz::weights(data);
    }
});
