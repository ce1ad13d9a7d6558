//! Other shapes of a stored tensor.

use std::{borrow::Cow, ops::Range};

use crate::host::{HostData, HostTensor};

/// How a tensor lies in one that is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum View {
    /// It is the stored one.
    #[default]
    Whole,
    /// It is block `part` of `of` equal blocks of rows: so lie q, k and v in a fused projection.
    Rows {
        /// Which block, from 0.
        part: usize,
        /// The number of blocks.
        of: usize,
    },
    /// It is the stored matrix with rows and columns exchanged.
    Transposed,
    /// It is a matrix `[out, in]`, stored as the 1x1 convolution `[out, in, 1, 1]`; other shapes stay as they are.
    Matrix,
}

impl View {
    /// The shape seen of a stored one, or `None` where the stored shape cannot be seen like this.
    #[must_use]
    pub fn shape(self, stored: &[usize]) -> Option<Vec<usize>> {
        match (self, stored) {
            (Self::Whole, _) => Some(stored.to_vec()),
            (Self::Rows { part, of }, &[rows, ref rest @ ..]) => {
                let whole = part < of && rows.is_multiple_of(of);
                whole.then(|| [&[rows / of], rest].concat())
            }
            (Self::Transposed, &[rows, columns]) => Some(vec![columns, rows]),
            (Self::Rows { .. } | Self::Transposed, _) => None,
            (Self::Matrix, &[out, input, 1, 1]) => Some(vec![out, input]),
            (Self::Matrix, _) => Some(stored.to_vec()),
        }
    }

    /// The tensor seen of a stored one, still borrowed where its elements lie together.
    pub(crate) fn of(self, stored: HostTensor<'_>) -> Option<HostTensor<'_>> {
        let shape = self.shape(&stored.shape)?;
        let data = match self {
            Self::Whole | Self::Matrix => stored.data,
            Self::Rows { part, of } => {
                let block = stored.data.len() / of;
                rows(stored.data, part * block..(part + 1) * block)
            }
            Self::Transposed => {
                let columns = shape[0]; // of the stored matrix
                (stored.data.len() == columns * shape[1]).then(|| transposed(&stored.data, columns))?
            }
        };
        Some(HostTensor { shape, data })
    }
}

fn rows(data: HostData<'_>, range: Range<usize>) -> HostData<'_> {
    fn cut<T: Clone>(data: Cow<'_, [T]>, range: Range<usize>) -> Cow<'_, [T]> {
        match data {
            Cow::Borrowed(data) => Cow::Borrowed(&data[range]),
            Cow::Owned(data) => Cow::Owned(data[range].to_vec()),
        }
    }
    match data {
        HostData::F32(data) => HostData::F32(cut(data, range)),
        HostData::F16(data) => HostData::F16(cut(data, range)),
        HostData::BF16(data) => HostData::BF16(cut(data, range)),
    }
}

fn transposed(data: &HostData<'_>, columns: usize) -> HostData<'static> {
    fn turn<'a, T: Copy>(data: &[T], columns: usize) -> Cow<'a, [T]> {
        let column = |c: usize| data.iter().skip(c).step_by(columns).copied();
        Cow::Owned((0..columns).flat_map(column).collect())
    }
    match data {
        HostData::F32(data) => HostData::F32(turn(data, columns)),
        HostData::F16(data) => HostData::F16(turn(data, columns)),
        HostData::BF16(data) => HostData::BF16(turn(data, columns)),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use half::{bf16, f16};

    use super::View;
    use crate::host::{HostData, HostTensor};

    fn counting(shape: &[usize]) -> HostTensor<'static> {
        let data = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        HostTensor::from_f32(shape, data)
    }

    #[test]
    fn a_block_of_rows() {
        let fused = counting(&[6, 2]);
        for part in 0..3 {
            let seen = View::Rows { part, of: 3 }.of(fused.view()).unwrap();
            assert_eq!(seen.shape, [2, 2]);
            let first = 4.0 * part as f32;
            assert_eq!(*seen.to_f32(), [first, first + 1.0, first + 2.0, first + 3.0]);
            assert!(matches!(seen.data, HostData::F32(Cow::Borrowed(_))), "rows need no copy");
        }
        let owned = View::Rows { part: 1, of: 3 }.of(counting(&[3])).unwrap();
        assert_eq!(*owned.to_f32(), [1.0], "a bias as well, and one that is owned");
    }

    #[test]
    fn a_matrix_with_its_axes_exchanged_in_every_type() {
        let turned = View::Transposed.of(counting(&[2, 3])).unwrap();
        assert_eq!(turned.shape, [3, 2]);
        assert_eq!(*turned.to_f32(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let f16s: Vec<f16> = [1.0, 2.0].map(f16::from_f32).to_vec();
        let bf16s: Vec<bf16> = [1.0, 2.0].map(bf16::from_f32).to_vec();
        for data in [HostData::F16(Cow::Owned(f16s)), HostData::BF16(Cow::Owned(bf16s))] {
            let stored = HostTensor { shape: vec![1, 2], data };
            let (dtype, turned) = (stored.dtype(), View::Transposed.of(stored).unwrap());
            assert_eq!((turned.dtype(), &turned.shape[..]), (dtype, &[2, 1][..]));
            assert_eq!(*turned.to_f32(), [1.0, 2.0]);
        }
    }

    #[test]
    fn a_convolution_of_one_pixel_is_a_matrix() {
        assert_eq!(View::Matrix.of(counting(&[3, 2, 1, 1])).unwrap().shape, [3, 2]);
        assert_eq!(View::Matrix.of(counting(&[3, 2])).unwrap().shape, [3, 2]);
        assert_eq!(View::Matrix.of(counting(&[3, 2, 3, 3])).unwrap().shape, [3, 2, 3, 3]);
    }

    #[test]
    fn shapes_that_cannot_be_seen_so() {
        assert_eq!(View::Rows { part: 0, of: 3 }.shape(&[7, 2]), None);
        assert_eq!(View::Rows { part: 3, of: 3 }.shape(&[6]), None);
        assert_eq!(View::Rows { part: 0, of: 0 }.shape(&[6]), None);
        assert_eq!(View::Rows { part: 0, of: 3 }.shape(&[]), None);
        assert_eq!(View::Transposed.shape(&[2, 3, 4]), None);
        // A source whose data is not what its shape says.
        let lying = HostTensor { shape: vec![2, 2], data: HostData::F32(Cow::Owned(vec![1.0])) };
        assert!(View::Transposed.of(lying).is_none());
        // Nothing at all.
        assert_eq!(View::Transposed.of(counting(&[0, 3])).unwrap().shape, [3, 0]);
        assert_eq!(View::Transposed.of(counting(&[3, 0])).unwrap().shape, [0, 3]);
    }
}
