//! Tables on a terminal: columns as wide as their widest cell, two blanks between them.

/// A table for people. Nothing in it is cut.
#[derive(Debug, Clone, Default)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    #[must_use]
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. An empty cell is shown as `–`.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |cell: String| if cell.is_empty() { "–".to_owned() } else { printable(&cell) };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// The lines of the table, each with its end.
    #[must_use]
    pub fn render(&self, with_header: bool) -> String {
        let header: Vec<String> = self.header.iter().map(|cell| (*cell).to_owned()).collect();
        let header = with_header.then_some(&header);
        let mut widths = vec![0; self.header.len()];
        for row in header.into_iter().chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in header.into_iter().chain(&self.rows) {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                let padding = width.saturating_sub(cell.chars().count()).saturating_add(2);
                line.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// The text without what would move a terminal's cursor: names come from other machines.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NODE", "STATE"]);
        table.row(["brave-otter".to_owned(), "● ready".to_owned()]);
        table.row(["x".to_owned(), String::new()]);
        assert_eq!(
            table.render(true),
            "NODE         STATE\nbrave-otter  ● ready\nx            –\n"
        );
        assert_eq!(table.render(false), "brave-otter  ● ready\nx            –\n");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
