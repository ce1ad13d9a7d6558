//! A source with the differences of another added to it.

use std::borrow::Cow;

use rayon::prelude::*;

use crate::{
    Dtype, Error, HostData, HostTensor, Mismatch, SharedSource, TensorInfo, TensorSource, names::nearest,
};

/// Weights that are stored as what they differ by from those of a base, with the base: `W + weight · ΔW`, tensor by tensor.
///
/// Sums are computed in f32 and handed out as [`Dtype::F32`], whatever the two sources store.
#[derive(Debug)]
pub struct WithDifference {
    base: SharedSource,
    difference: SharedSource,
    weight: f32,
}

impl WithDifference {
    /// The sum of both sources, which have the same names and shapes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with all names and shapes in which the difference is not one of the base.
    pub fn new(base: SharedSource, difference: SharedSource, weight: f32) -> Result<Self, Error> {
        let mut mismatch = Mismatch { origin: difference.origin(), ..Mismatch::default() };
        let names = difference.names();
        for name in base.names() {
            let Some(own) = base.info(&name) else { continue };
            match difference.info(&name) {
                Some(info) if info.shape == own.shape => {}
                Some(info) => mismatch.wrong_shape.push((name, own.shape, info.shape)),
                None => {
                    let near = nearest(&name, names.iter().map(String::as_str));
                    mismatch.missing.push((name, near));
                }
            }
        }
        mismatch.unused = names.into_iter().filter(|name| base.info(name).is_none()).collect();
        if mismatch.is_empty() {
            Ok(Self { base, difference, weight })
        } else {
            Err(Box::new(mismatch).into())
        }
    }

    fn sum(&self, name: &str, sum: &mut Vec<f32>) -> Result<Vec<usize>, Error> {
        let base = self.base.tensor(name)?;
        let difference = self.difference.tensor(name)?;
        sum.clear();
        sum.extend_from_slice(&base.to_f32());
        let difference = difference.to_f32();
        if sum.len() != difference.len() {
            let expected = format!("{} elements, as {} has", sum.len(), self.base.origin());
            return Err(self.wrong(name, expected, difference.len().to_string()));
        }
        let weight = self.weight;
        sum.par_iter_mut().zip(&*difference).for_each(|(w, d)| *w += weight * d);
        match sum.par_iter().position_any(|w| !w.is_finite()) {
            Some(at) => {
                Err(self.wrong(name, "finite numbers".into(), format!("{} at element {at}", sum[at])))
            }
            None => Ok(base.shape),
        }
    }

    fn wrong(&self, name: &str, expected: String, found: String) -> Error {
        Error::Format { origin: format!("{}, tensor {name:?}", self.difference.origin()), expected, found }
    }
}

impl TensorSource for WithDifference {
    fn origin(&self) -> String {
        format!("{} with {}", self.base.origin(), self.difference.origin())
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(TensorInfo { dtype: Dtype::F32, ..self.base.info(name)? })
    }

    fn tensor(&self, name: &str) -> Result<HostTensor<'_>, Error> {
        let mut sum = Vec::new();
        let shape = self.sum(name, &mut sum)?;
        Ok(HostTensor::from_f32(shape, sum))
    }

    fn tensor_in<'a>(&'a self, name: &str, scratch: &'a mut Vec<f32>) -> Result<HostTensor<'a>, Error> {
        let shape = self.sum(name, scratch)?;
        Ok(HostTensor { shape, data: HostData::F32(Cow::Borrowed(scratch)) })
    }

    fn release(&self, name: &str) {
        self.base.release(name);
        self.difference.release(name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemorySource;

    fn source(tensors: &[(&str, &[f32])]) -> SharedSource {
        let tensors = tensors
            .iter()
            .map(|(name, data)| (name.to_string(), HostTensor::from_f32([data.len()], data.to_vec())));
        Arc::new(tensors.collect::<MemorySource>())
    }

    #[test]
    fn the_difference_is_added_with_its_weight() {
        let base = source(&[("a", &[1.0, 2.0]), ("b", &[-1.0])]);
        let difference = source(&[("a", &[0.5, -0.25]), ("b", &[4.0])]);
        for (weight, a, b) in [(1.0, [1.5, 1.75], 3.0), (0.5, [1.25, 1.875], 1.0), (0.0, [1.0, 2.0], -1.0)] {
            let sum =
                WithDifference::new(base.clone(), difference.clone(), weight).expect("one of the other");
            assert_eq!(*sum.tensor("a").expect("a").to_f32(), a);
            let mut scratch = vec![9.0; 7];
            assert_eq!(*sum.tensor_in("b", &mut scratch).expect("b").to_f32(), [b]);
        }
    }

    #[test]
    fn what_is_no_difference_of_the_base_is_refused() {
        let base = source(&[("a", &[1.0, 2.0]), ("b", &[-1.0])]);
        let error = WithDifference::new(base.clone(), source(&[("a", &[1.0]), ("c", &[1.0])]), 1.0);
        let Err(Error::Mismatch(mismatch)) = error else { panic!("{error:?}") };
        assert_eq!(mismatch.wrong_shape, [("a".to_string(), vec![2], vec![1])]);
        assert_eq!((mismatch.missing[0].0.as_str(), &mismatch.unused[..]), ("b", &["c".to_string()][..]));
        let large = source(&[("a", &[f32::MAX, 0.0]), ("b", &[0.0])]);
        let sum = WithDifference::new(large.clone(), large, 1.0).expect("of one shape");
        assert!(sum.tensor("a").expect_err("infinite").to_string().contains("finite numbers"));
    }
}
