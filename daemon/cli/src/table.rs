//! Aligned columns for terminals.

use std::fmt;

/// How a column's cells stand: names to the left, figures to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    /// The least width of each column; none for those beyond its end.
    widths: &'static [usize],
}

// === impl Table ===

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), widths: &[] }
    }

    /// Gives columns a least width: rows that are printed one by one then stand beneath each other.
    pub(crate) fn widened(mut self, widths: &'static [usize]) -> Self {
        self.widths = widths;
        self
    }

    /// The rows without the titles.
    pub(crate) fn rows(&self) -> String {
        let text = self.to_string();
        text.split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_owned())
    }

    /// Adds a row; cells beyond the last column are dropped, missing ones are empty.
    pub(crate) fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> =
            cells.into_iter().take(self.columns.len()).map(|cell| printable(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().map(|row| row[column].chars().count());
        let least = self.widths.get(column).copied().unwrap_or_default();
        cells.chain([self.columns[column].0.chars().count(), least]).max().unwrap_or(0)
    }
}

/// Text from a server must not steer the terminal nor break the rows.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

// === impl Display for Table ===

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.columns.len()).map(|column| self.width(column)).collect();
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, &width), &(_, align)) in row.iter().zip(&widths).zip(&self.columns) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                line.push_str(&match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_clean() {
        let mut table =
            Table::new(&[("MODEL", Align::Left), ("RATE/s", Align::Right), ("REASON", Align::Left)]);
        table.push(["a".into(), "5.0".into(), String::new()]);
        table.push(["mobilenet".into(), "1000.0".into(), "none".into()]);
        assert_eq!(
            table.to_string(),
            "MODEL      RATE/s  REASON\na             5.0\nmobilenet  1000.0  none\n"
        );
    }

    #[test]
    fn rows_that_come_one_by_one_stand_beneath_each_other() {
        let table = |cell: &str| {
            let mut table = Table::new(&[("A", Align::Left), ("B", Align::Right)]).widened(&[4]);
            table.push([cell.into(), "1".into()]);
            table
        };
        assert_eq!(table("x").to_string() + &table("wide").rows(), "A     B\nx     1\nwide  1\n");
    }

    #[test]
    fn a_cell_cannot_break_its_row() {
        let mut table = Table::new(&[("A", Align::Left)]);
        table.push(["two\nlines\u{1b}[31m".into(), "beyond".into()]);
        assert_eq!(table.to_string(), "A\ntwo lines [31m\n");
    }
}
