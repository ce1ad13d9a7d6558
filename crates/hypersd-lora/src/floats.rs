//! Long slices in single precision: got, copied and searched by all cores.

use std::borrow::Cow;

use half::slice::HalfFloatSliceExt;
use hypersd_core::{HostData, HostTensor};
use rayon::prelude::*;

/// 256 KiB of f32: many pages, and small beside a core's cache.
const CHUNK: usize = 1 << 16;

/// The elements in single precision; free for a tensor that is stored so.
pub(crate) fn into_f32(tensor: HostTensor<'_>) -> Cow<'_, [f32]> {
    match tensor.data {
        HostData::F32(x) => x,
        HostData::F16(x) => Cow::Owned(convert(&x, |x, w| x.convert_to_f32_slice(w))),
        HostData::BF16(x) => Cow::Owned(convert(&x, |x, w| x.convert_to_f32_slice(w))),
        _ => Cow::Owned(tensor.to_f32().into_owned()),
    }
}

/// The elements to change in place. The first touch of a mapped file is most of the work of a copy.
pub(crate) fn into_owned(x: Cow<'_, [f32]>) -> Vec<f32> {
    match x {
        Cow::Owned(x) => x,
        Cow::Borrowed(x) => convert(x, |x, w| w.copy_from_slice(x)),
    }
}

fn convert<T: Sync>(x: &[T], chunk: impl Fn(&[T], &mut [f32]) + Sync) -> Vec<f32> {
    let mut w = vec![0.0; x.len()];
    w.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(w, x)| chunk(x, w));
    w
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
