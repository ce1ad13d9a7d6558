//! The quantiles of the beta distribution that "beta" sigmas are spaced by, both of whose parameters are 0.6.

/// Both parameters.
const A: f64 = 0.6;
/// B(0.6, 0.6) = Γ(0.6)²/Γ(1.2).
const COMPLETE: f64 = 2.4153442080024723;

/// The x in `[0, 1]` below which a share `p` of the distribution lies.
pub(crate) fn quantile(p: f64) -> f64 {
    // The density is symmetric about ½, and the continued fraction of the share is for the lower half.
    if p > 0.5 {
        return 1.0 - quantile(1.0 - p);
    }
    // Bisection in y = x^A, in which the share is nearly a straight line and small x keep their digits.
    let (mut low, mut high) = (0.0, 0.5_f64.powf(A));
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if share_below(middle.powf(1.0 / A)) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
    (0.5 * (low + high)).powf(1.0 / A)
}

/// The regularised incomplete beta function I_x(A, A) for x up to ½, by its continued fraction (26.5.8 of Abramowitz
/// and Stegun) from the inside out.
fn share_below(x: f64) -> f64 {
    // The fraction halves its error in every second term or faster for x up to ½.
    const TERMS: usize = 60;
    let coefficient = |k: usize| {
        let m = (k / 2) as f64;
        if k.is_multiple_of(2) {
            m * (A - m) * x / ((A + 2.0 * m - 1.0) * (A + 2.0 * m))
        } else {
            -(A + m) * (A + A + m) * x / ((A + 2.0 * m) * (A + 2.0 * m + 1.0))
        }
    };
    let fraction = (1..=TERMS).rev().fold(1.0, |inner, k| 1.0 + coefficient(k) / inner);
    (x * (1.0 - x)).powf(A) / (A * COMPLETE * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.beta.ppf(p, 0.6, 0.6)` of scipy 1.17.1.
    #[test]
    fn quantiles_are_those_of_scipy() {
        for (p, want) in [
            (0.0, 0.0),
            (0.001, 1.855873851745199e-05),
            (0.05, 0.012554456873611399),
            (0.3333333333333333, 0.2754132907776234),
            (0.5, 0.5000000000000001),
            (0.7, 0.7659829961247643),
            (0.95, 0.9874455431263885),
            (0.999, 0.9999814412614826),
            (1.0, 1.0),
        ] {
            let got = quantile(p);
            assert!((got - want).abs() <= 1e-13 * want.max(1e-3), "{got} for {want} at {p}");
        }
    }
}
