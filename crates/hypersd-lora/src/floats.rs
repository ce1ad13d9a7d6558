//! Long slices in single precision: got and searched by all cores.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use hypersd_core::{HostData, HostTensor};
use rayon::prelude::*;

/// 256 KiB of f32: many pages, and small beside a core's cache.
const CHUNK: usize = 1 << 16;

/// The elements in single precision; free for those that are stored so.
pub(crate) fn into_f32(data: HostData<'_>) -> Cow<'_, [f32]> {
    match data {
        HostData::F32(x) => x,
        other => {
            let mut wide = Vec::new();
            widen(&other, &mut wide);
            Cow::Owned(wide)
        }
    }
}

/// The elements in single precision, in `wide` instead of what was there.
pub(crate) fn widen(data: &HostData<'_>, wide: &mut Vec<f32>) {
    match data {
        HostData::F32(x) => convert(x, wide, |x, w| w.copy_from_slice(x)),
        HostData::F16(x) => convert(x, wide, |x, w| x.convert_to_f32_slice(w)),
        HostData::BF16(x) => convert(x, wide, |x, w| x.convert_to_f32_slice(w)),
        _ => *wide = HostTensor { shape: vec![data.len()], data: data.clone() }.to_f32().into_owned(),
    }
}

fn convert<T: Sync>(x: &[T], wide: &mut Vec<f32>, chunk: impl Fn(&[T], &mut [f32]) + Sync) {
    if wide.capacity() < x.len() {
        *wide = vec![0.0; x.len()]; // zero pages, which the threads below touch first
    }
    wide.resize(x.len(), 0.0);
    wide.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(w, x)| chunk(x, w));
}

/// Where the first infinity or NaN is.
pub(crate) fn first_not_finite(x: &[f32]) -> Option<usize> {
    // Without an early exit inside a chunk the compiler compares many at once, and nearly every chunk is clean.
    let clean = |chunk: &[f32]| chunk.iter().fold(true, |clean, x| clean & x.is_finite());
    let chunk = x.par_chunks(CHUNK).position_first(|chunk| !clean(chunk))?;
    x[chunk * CHUNK..].iter().position(|x| !x.is_finite()).map(|at| chunk * CHUNK + at)
}

#[cfg(test)]
mod tests {
    use super::first_not_finite;

    #[test]
    fn the_first_is_found_in_any_chunk() {
        let mut x = vec![f32::MAX; 200_000];
        assert_eq!(first_not_finite(&x), None);
        for (at, value) in
            [(199_999, f32::NAN), (65_536, f32::INFINITY), (65_535, f32::NEG_INFINITY), (0, f32::NAN)]
        {
            x[at] = value;
            assert_eq!(first_not_finite(&x), Some(at));
        }
        assert_eq!(first_not_finite(&[]), None);
    }
}
