//! The operations that a step needs of a tensor.

/// A tensor that a [`Step`](crate::Step) can advance: three operations and cheap copies, no indexing, so
/// that it may live anywhere. It is copied for multistep algorithms alone, which remember it.
///
/// Implemented for `Vec<f32>`, and for `ndarray::Array<f32, D>` with the feature `ndarray`.
pub trait Sample: Clone {
    /// The extents, outermost first.
    fn shape(&self) -> Vec<usize>;

    /// `Σ factor · tensor`, element by element, added from the left. There is at least one term, and all tensors
    /// have one shape.
    fn linear_combination(terms: &[(f32, &Self)]) -> Self;

    /// Every element limited to `[-limit, limit]`.
    fn clamp(self, limit: f32) -> Self;
}

impl Sample for Vec<f32> {
    fn shape(&self) -> Vec<usize> {
        vec![self.len()]
    }

    fn linear_combination(terms: &[(f32, &Self)]) -> Self {
        let (factor, first) = terms[0];
        let mut sum: Self = first.iter().map(|x| factor * x).collect();
        for (factor, term) in &terms[1..] {
            for (sum, x) in sum.iter_mut().zip(*term) {
                *sum += factor * x;
            }
        }
        sum
    }

    fn clamp(mut self, limit: f32) -> Self {
        for x in &mut self {
            *x = x.clamp(-limit, limit);
        }
        self
    }
}

#[cfg(feature = "ndarray")]
impl<D: ndarray::Dimension> Sample for ndarray::Array<f32, D> {
    fn shape(&self) -> Vec<usize> {
        ndarray::ArrayBase::shape(self).to_vec()
    }

    fn linear_combination(terms: &[(f32, &Self)]) -> Self {
        let (factor, first) = terms[0];
        let mut sum = first.mapv(|x| factor * x);
        for (factor, term) in &terms[1..] {
            sum.scaled_add(*factor, term);
        }
        sum
    }

    fn clamp(self, limit: f32) -> Self {
        self.mapv_into(|x| x.clamp(-limit, limit))
    }
}
