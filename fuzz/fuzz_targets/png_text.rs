//! Anything as a PNG file with text in it.
#![no_main]

use hypersd_core::{Location, TextChunk};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = TextChunk::read(Location::of_bytes("x", data.to_vec()));
});
