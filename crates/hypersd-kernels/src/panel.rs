//! Panels, the order in which products read their second operand.

/// Columns of a panel: a row of one, 16 values of f32, is one cache line.
pub const PANEL: usize = 16;
