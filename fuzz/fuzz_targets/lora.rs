//! Anything as a LoRA file: its modules are put together, and none is merged.
#![no_main]

use std::sync::Arc;

use hypersd_core::{Location, WeightFile};
use hypersd_lora::LoraFile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(file) = WeightFile::open(Location::of_bytes("x", data.to_vec())) else { return };
    let metadata = file.metadata().clone();
    if let Ok(lora) = LoraFile::with_metadata(Arc::new(file), &metadata) {
        for module in lora.modules() {
            let form = module.weight.as_ref().or(module.bias.as_ref());
            let _ = form.map(|form| (form.rank(), form.scale(), form.name()));
        }
        for word in lora.words() {
            let _ = lora.word(word);
        }
    }
});
