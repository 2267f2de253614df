//! Columns on a terminal, wrapped to its width; not wrapped in a pipe or a file.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};

/// Width of the terminal in columns; `None` for a pipe or a file, where nothing is wrapped.
pub type Width = Option<u16>;

/// Minimum width of a readable text. If less is left of a line, the terminal wraps the text by itself.
const TEXT_COLUMNS_MIN: usize = 24;
/// Spaces between two columns.
const GAP: u16 = 2;

/// The width of standard output, if that is a terminal.
pub fn terminal_width() -> Width {
    comfy_table::Table::new().width().filter(|width| *width > 0)
}

/// Rows as columns, the last of which wraps.
pub fn list<const N: usize>(rows: impl IntoIterator<Item = [String; N]>, width: Width) -> String {
    let mut table = Table::indented(0);
    rows.into_iter().for_each(|row| table.row(row));
    table.text(width)
}

/// Rows of cells, which may contain color codes. The last column gets the remaining width, and wraps.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
    indent: usize,
    right: Option<usize>,
}

impl Table {
    /// A table indented by this many spaces.
    pub(crate) fn indented(indent: usize) -> Self {
        Self { rows: Vec::new(), indent, right: None }
    }

    /// Aligns a column to the right, for numbers.
    pub(crate) fn right(self, column: usize) -> Self {
        Self { right: Some(column), ..self }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// The table as text, with a line feed after each line.
    pub(crate) fn text(&self, width: Width) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).force_no_tty();
        table.add_rows(self.rows.iter().cloned());
        let columns = table.column_max_content_widths();
        let last = columns.len().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index < last { GAP } else { 0 }));
            if index < last {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            if self.right == Some(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let fixed: usize = columns.iter().take(last).map(|width| usize::from(width + GAP)).sum();
        let room = width.map(|width| usize::from(width).saturating_sub(self.indent));
        if let Some(room) = room.filter(|room| *room >= fixed + TEXT_COLUMNS_MIN) {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(room as u16);
        }
        let indent = " ".repeat(self.indent);
        table.lines().map(|line| format!("{indent}{}\n", line.trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RED: anstyle::Style = anstyle::AnsiColor::Red.on_default();

    fn table() -> Table {
        let mut table = Table::indented(2).right(0);
        table.row([
            "1.5 s".to_owned(),
            "ana → ben".to_owned(),
            format!("{RED}a sentence that is long, and goes on{RED:#}"),
        ]);
        table.row(["10.25 s".to_owned(), "cam".to_owned(), "short".to_owned()]);
        table
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_last_column_wraps_below_itself() {
        let text = table().text(Some(47));
        let lines = "    1.5 s  ana → ben  a sentence that is long,\n                      and goes on\n  10.25 s  cam        short\n";
        assert_eq!(plain(&text), lines);
        let wrapped = text.lines().take(2).filter(|line| line.contains("\u{1b}[31m") && line.ends_with("\u{1b}[0m"));
        assert_eq!(wrapped.count(), 2, "each line has its color: {text:?}");
    }

    #[test]
    fn nothing_is_wrapped_in_a_pipe_or_on_a_narrow_terminal() {
        let whole = "    1.5 s  ana → ben  a sentence that is long, and goes on\n  10.25 s  cam        short\n";
        assert_eq!(plain(&table().text(None)), whole);
        assert_eq!(plain(&table().text(Some(30))), whole);
        assert_eq!(Table::indented(0).text(Some(80)), "");
    }
}
