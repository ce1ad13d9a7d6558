//! Random data and the measures of error.

/// Values like activations: roughly normal, deterministic by seed. Every test starts here, so this is also where the
/// instruction set of the test program is chosen.
pub(crate) fn random(len: usize, seed: u64) -> Vec<f32> {
    crate::choose_instruction_set();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x1234_5678_9abc_def1);
    let mut uniform = || {
        // xorshift64*, Vigna 2016
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40) as f64 / (1u64 << 24) as f64
    };
    // The sum of four uniforms has variance 1/3.
    (0..len).map(|_| ((0..4).map(|_| uniform()).sum::<f64>() - 2.0) as f32 * 1.732_050_8).collect()
}

/// |got - expected| / |expected| in the Euclidean norm.
pub(crate) fn relative_l2(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let difference: f64 = got.iter().zip(expected).map(|(&g, e)| (f64::from(g) - e).powi(2)).sum();
    let size: f64 = expected.iter().map(|e| e * e).sum();
    if difference == 0.0 { 0.0 } else { (difference / size).sqrt() }
}

/// The largest |got - expected|; a NaN anywhere is an infinite error.
pub(crate) fn largest_error(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let error = |(&g, e): (&f32, &f64)| {
        let difference = (f64::from(g) - e).abs();
        if difference.is_nan() { f64::INFINITY } else { difference }
    };
    got.iter().zip(expected).map(error).fold(0.0, f64::max)
}

/// Whether NaN and the infinities are at the same places.
pub(crate) fn same_class(got: &[f32], expected: &[f64]) -> bool {
    got.iter().zip(expected).all(|(&g, &e)| {
        let e = e as f32;
        (g.is_nan() && e.is_nan()) || (g.is_infinite() && g == e) || (g.is_finite() && e.is_finite())
    })
}

/// Runs `compute` in rayon pools of one and of five threads and expects the same bits; without threads, of WebAssembly, twice.
pub(crate) fn same_for_any_number_of_threads(compute: impl Fn() -> Vec<f32> + Sync) {
    let run = |threads| {
        if cfg!(target_family = "wasm") {
            return compute().into_iter().map(f32::to_bits).collect();
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        pool.install(&compute).into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    assert!(run(1) == run(5));
}

/// The error function in f64, by its Taylor series or, where that would cancel, its continued fraction.
pub(crate) fn erf(x: f64) -> f64 {
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    } else {
        let fraction = (1..=60).rev().fold(0.0, |f, n| f64::from(n) / 2.0 / (x.abs() + f));
        x.signum() * (1.0 - (-x * x).exp() / std::f64::consts::PI.sqrt() / (x.abs() + fraction))
    }
}

/// The weights of `outputs` times `depth`, of which `at` gives the place in `weights`, in panels of 16 outputs.
pub(crate) fn in_panels<T: Copy>(
    weights: &[T],
    [outputs, depth]: [usize; 2],
    at: impl Fn(usize, usize) -> usize + Copy,
) -> Vec<T> {
    let row = |first, p| (first..first + 16).map(move |output| weights[at(output, p)]);
    (0..outputs).step_by(16).flat_map(|first| (0..depth).flat_map(move |p| row(first, p))).collect()
}
