//! The search for values that would spread.

use rayon::prelude::*;

/// Where the first infinity or NaN is.
pub(crate) fn first_not_finite(x: &[f32]) -> Option<usize> {
    const CHUNK: usize = 1 << 16;
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
