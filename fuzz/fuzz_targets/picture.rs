//! Anything as a picture.
#![no_main]

use hypersd_core::Image;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(image) = Image::from_bytes(data) {
        assert_eq!(image.rgb8().len(), 3 * image.width() * image.height());
    }
});
