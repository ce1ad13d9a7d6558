//! The number that a form multiplies its factors' product by.

/// A rank, an alpha, and how they make a factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    /// The divisor of alpha; `None` where the form has no rank, and its factor is 1.
    pub(crate) rank: Option<usize>,
    /// The file's; where it gives none, alpha is the rank.
    pub(crate) alpha: Option<f32>,
    /// Divides by the root of the rank instead (rsLoRA, arXiv:2312.03732).
    pub(crate) rank_stabilized: bool,
}

impl Scale {
    pub(crate) const ONE: Self = Self { rank: None, alpha: None, rank_stabilized: false };

    pub(crate) fn factor(&self) -> f64 {
        let Some(rank) = self.rank.map(|rank| rank as f64) else { return 1.0 };
        let alpha = self.alpha.map_or(rank, f64::from);
        if self.rank_stabilized { alpha / rank.sqrt() } else { alpha / rank }
    }
}
