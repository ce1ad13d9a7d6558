//! The size of a gradient, in one of two measures.
//!
//! Comparisons give masks, 0 or -1, of the width of a derivative, and selections take them: compilers find vectors in
//! that, where they would see branches in `if`.

/// A measure of gradients.
pub(super) trait Magnitude: Copy + Ord + Default {
    /// Of the derivatives, each -1020 to 1020.
    fn of(dx: i16, dy: i16) -> Self;

    /// -1 if `self > other`, else 0.
    fn above(self, other: Self) -> i16;

    /// `a` where the mask is -1, `b` where it is 0.
    fn select(mask: i16, a: Self, b: Self) -> Self;

    /// The next larger one.
    fn next(self) -> Self;
}

/// |dx| + |dy|, at most 2040.
impl Magnitude for i16 {
    #[inline(always)]
    fn of(dx: i16, dy: i16) -> Self {
        dx.abs() + dy.abs()
    }

    #[inline(always)]
    fn above(self, other: Self) -> i16 {
        -i16::from(self > other)
    }

    #[inline(always)]
    fn select(mask: i16, a: Self, b: Self) -> Self {
        b ^ ((a ^ b) & mask)
    }

    #[inline(always)]
    fn next(self) -> Self {
        self + 1
    }
}

/// dx² + dy², at most 2,080,800.
impl Magnitude for i32 {
    #[inline(always)]
    fn of(dx: i16, dy: i16) -> Self {
        let (dx, dy) = (Self::from(dx), Self::from(dy));
        dx * dx + dy * dy
    }

    #[inline(always)]
    fn above(self, other: Self) -> i16 {
        -i16::from(self > other)
    }

    #[inline(always)]
    fn select(mask: i16, a: Self, b: Self) -> Self {
        b ^ ((a ^ b) & Self::from(mask))
    }

    #[inline(always)]
    fn next(self) -> Self {
        self + 1
    }
}
