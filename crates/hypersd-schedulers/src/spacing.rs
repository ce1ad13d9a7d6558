//! The three spacings of table 2 of arXiv:2305.08891 as numpy computes them.

use crate::Spacing;

/// ratio·(count−1) + offset, …, ratio + offset, offset.
pub(crate) fn leading(count: usize, ratio: usize, offset: usize) -> Vec<usize> {
    (0..count).rev().map(|i| i * ratio + offset).collect()
}

/// `round(arange(start, 0, −train_steps/count)) − 1`, of which the first `count`.
///
/// For 62 step counts below 1000 (61, 103, 121, …) the rounding of `arange` lets diffusers find one timestep more,
/// which is −1; that one is not copied. With `start` below `train_steps` there may be fewer than `count`.
pub(crate) fn trailing(start: usize, train_steps: usize, count: usize) -> Vec<usize> {
    let (start, step) = (start as f64, -(train_steps as f64) / count as f64);
    // numpy fills a range by its first difference, which has been rounded.
    let delta = (start + step) - start;
    (0..count)
        .map(|i| (start + i as f64 * delta).round_ties_even())
        .take_while(|&t| t >= 1.0)
        .map(|t| t as usize - 1)
        .collect()
}

/// last, …, 0 in `count` evenly spaced values; 0 alone for a count of 1.
pub(crate) fn linspace(last: usize, count: usize) -> Vec<f64> {
    if count == 1 {
        return vec![0.0];
    }
    let step = last as f64 / (count - 1) as f64;
    (0..count).rev().map(|i| if i == count - 1 { last as f64 } else { i as f64 * step }).collect()
}

/// To the nearest whole timestep, ties to the even one.
pub(crate) fn rounded(timesteps: &[f64]) -> Vec<usize> {
    timesteps.iter().map(|t| t.round_ties_even() as usize).collect()
}

/// The first `count` of `count + 1` timesteps below `end`, as multistep solvers count them: the last is where sigma is
/// 0. Trailing spacing has `count` to begin with.
pub(crate) fn without_the_last(
    spacing: Spacing,
    end: usize,
    train_steps: usize,
    offset: usize,
    count: usize,
) -> Vec<usize> {
    let mut timesteps = match spacing {
        Spacing::Leading => leading(count + 1, end / (count + 1), offset),
        Spacing::Linspace => rounded(&linspace(end.saturating_sub(1), count + 1)),
        Spacing::Trailing => return trailing(end, train_steps, count),
    };
    timesteps.pop();
    timesteps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_counts_up_from_the_offset() {
        assert_eq!(leading(1, 1000, 1), [1]);
        assert_eq!(leading(4, 250, 1), [751, 501, 251, 1]);
        assert_eq!(leading(6, 166, 1), [831, 665, 499, 333, 167, 1]);
    }

    #[test]
    fn trailing_counts_down_from_the_end() {
        assert_eq!(trailing(1000, 1000, 1), [999]);
        assert_eq!(trailing(1000, 1000, 3), [999, 666, 332]);
        assert_eq!(trailing(1000, 1000, 8), [999, 874, 749, 624, 499, 374, 249, 124]);
        assert_eq!(trailing(1000, 1000, 12), [999, 916, 832, 749, 666, 582, 499, 416, 332, 249, 166, 82]);
    }

    #[test]
    fn trailing_never_has_one_too_many() {
        for count in [61, 103, 121, 122, 201, 206, 217, 223] {
            let timesteps = trailing(1000, 1000, count);
            assert_eq!((timesteps.len(), timesteps[0]), (count, 999));
        }
    }

    #[test]
    fn linspace_has_both_ends() {
        assert_eq!(rounded(&linspace(999, 1)), [0]);
        assert_eq!(rounded(&linspace(999, 4)), [999, 666, 333, 0]);
        assert_eq!(rounded(&linspace(999, 8)), [999, 856, 714, 571, 428, 285, 143, 0]);
    }
}
