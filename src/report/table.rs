//! Tables without lines: columns as wide as their widest cell, the last one wrapped to what is left. Cells may be
//! coloured, which the table crates measure only together with a whole terminal library.

use super::text::{pad, width, wrap};

/// Between two columns.
const GAP: usize = 2;
/// The last column gets at least so many columns of the page, however narrow it is.
const LAST: usize = 20;

/// Rows under a header.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a header, which may have empty cells.
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned).to_vec()] }
    }

    /// One row more.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// The table set in by two columns, on a page of so many; each line ends with a line break and without spaces.
    /// Columns that are empty in every row are left out.
    pub fn render(&self, page: usize) -> String {
        let number = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let widest = |column: usize, rows: &[Vec<String>]| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default()
        };
        let body = self.rows.get(1..).unwrap_or_default();
        let kept: Vec<usize> = (0..number).filter(|column| body.is_empty() || widest(*column, body) > 0).collect();
        let Some((last, firsts)) = kept.split_last() else { return String::new() };
        let left = 2 + firsts.iter().map(|column| widest(*column, &self.rows) + GAP).sum::<usize>();
        let mut text = String::new();
        for row in &self.rows {
            let cell = |column: usize| row.get(column).map(String::as_str).unwrap_or_default();
            let mut line = "  ".to_owned();
            for column in firsts {
                line.push_str(&pad(cell(*column), widest(*column, &self.rows) + GAP));
            }
            let mut pieces = wrap(cell(*last), page.saturating_sub(left).max(LAST)).into_iter();
            line.push_str(&pieces.next().unwrap_or_default());
            text.push_str(line.trim_end());
            text.push('\n');
            for piece in pieces {
                text.push_str(&format!("{}{piece}\n", " ".repeat(left)));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_the_last_wraps_and_empty_ones_go() {
        let mut table = Table::new(["NAME", "TRY", "WHY"]);
        table.row(["\x1b[32mcp1\x1b[0m".into(), String::new(), "one two three four five six".into()]);
        table.row(["control-plane".into(), String::new(), String::new()]);
        assert_eq!(
            console::strip_ansi_codes(&table.render(20)),
            "  NAME           WHY\n  cp1            one two three four\n                 five six\n  control-plane\n"
        );
    }
}
