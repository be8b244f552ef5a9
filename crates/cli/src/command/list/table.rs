//! Lines in columns, for people.

use std::fmt;

/// Rows of cells; the last column is as long as it likes.
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

/// Beyond this a long cell is on its own: it should not push all others to the right.
const WIDEST: usize = 72;

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// With a line of headings; it stands alone where there are no rows.
    pub fn new(headings: [&str; COLUMNS]) -> Table<COLUMNS> {
        Table { rows: vec![headings.map(str::to_owned)] }
    }

    /// Without headings.
    pub fn bare() -> Table<COLUMNS> {
        Table { rows: Vec::new() }
    }

    /// Adds a row. What comes from elsewhere has to be printable already.
    pub fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                let length = cell.chars().count();
                *width = if length <= WIDEST { length.max(*width) } else { *width };
            }
        }
        for row in &self.rows {
            let mut gap = 0;
            for (cell, width) in row.iter().zip(widths).filter(|(cell, width)| !cell.is_empty() || *width > 0) {
                // Space before a cell, not behind one: no line ends in it.
                if cell.is_empty() {
                    gap += width + 2;
                    continue;
                }
                write!(f, "{:gap$}{cell}", "")?;
                gap = 2 + width.saturating_sub(cell.chars().count());
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
