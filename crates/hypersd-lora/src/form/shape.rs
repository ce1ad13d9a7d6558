//! The shapes of weights and of what is added to them.

/// True where a product of one shape can be added to a weight of another. 1x1 kernels come and go (`proj_in` is a
/// convolution in SD1.5 and a linear in SDXL), others must agree unless the file flattened them.
pub(super) fn same_matrix(delta: &[usize], weight: &[usize]) -> bool {
    fn bare(tail: &[usize]) -> &[usize] {
        tail.strip_suffix(&[1, 1]).filter(|rest| rest.len() == 1).unwrap_or(tail)
    }
    let (Some((rows, of_delta)), Some((out, of_weight))) = (delta.split_first(), weight.split_first()) else {
        return false;
    };
    let flattened = || matches!(of_delta, [columns] if checked_product(of_weight) == Some(*columns));
    rows == out && (bare(of_delta) == bare(of_weight) || flattened())
}

/// The number of elements, unless it is beyond all memory.
pub(super) fn checked_product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent))
}
