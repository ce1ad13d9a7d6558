//! A table in Markdown: a line for each stage, a column for each program.

use std::fmt::{self, Display, Formatter};

use crate::peer::Peer;

/// A figure.
pub(crate) struct Cell {
    pub(crate) value: f64,
    /// How many rounds it comes from, where it comes from rounds; said where it is only one of several.
    pub(crate) rounds: Option<usize>,
}

/// Cells have a ratio to the first column's figure behind them: above 1, the first is faster or smaller.
pub(crate) struct Table {
    programs: Vec<String>,
    unit: &'static str,
    lines: Vec<(String, Vec<Option<Cell>>)>,
}

impl Table {
    pub(crate) fn new(peers: &[Peer], unit: &'static str) -> Self {
        Self { programs: peers.iter().map(|peer| peer.name.clone()).collect(), unit, lines: Vec::new() }
    }

    pub(crate) fn row(&mut self, stage: &str, cells: Vec<Option<Cell>>) {
        self.lines.push((stage.into(), cells));
    }

    fn cell(&self, column: usize, cells: &[Option<Cell>]) -> String {
        let Some(cell) = &cells[column] else { return "–".into() };
        let mut text = format!("{:.2} {}", cell.value, self.unit);
        if let Some(first) = cells[0].as_ref().filter(|_| column > 0) {
            text += &format!(" (**{:.2}**)", cell.value / first.value);
        }
        let most = cells.iter().flatten().filter_map(|cell| cell.rounds).max();
        if cell.rounds < most {
            text += ", once";
        }
        text
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "| stage | {} |", self.programs.join(" | "))?;
        writeln!(f, "|---{}|", "|---".repeat(self.programs.len()))?;
        for (stage, cells) in &self.lines {
            let cells: Vec<_> = (0..cells.len()).map(|column| self.cell(column, cells)).collect();
            writeln!(f, "| {stage} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}
