//! Plain tables: aligned columns two spaces apart, a heading, no frames, nothing at a line's end. Lines are cut to the
//! terminal's width, and only there, so that what goes to a file or a pipe is whole.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::escape::one_line;
use super::style::{Paint, Screen};

const GAP: &str = "  ";
const CUT_MARK: &str = "…";

/// One column: its heading, and the side to which its cells keep.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    right: bool,
}

impl Column {
    /// Words keep to the left.
    pub const fn left(heading: &'static str) -> Self {
        Self { heading, right: false }
    }

    /// Numbers keep to the right.
    pub const fn right(heading: &'static str) -> Self {
        Self { heading, right: true }
    }
}

/// One cell. Its text may come from anywhere; it is made safe and kept to one line.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    paint: Paint,
}

impl Cell {
    /// A cell that stands out.
    pub fn painted(text: impl Into<String>, paint: Paint) -> Self {
        Self {
            text: text.into(),
            paint,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            paint: Paint::Plain,
        }
    }
}

/// Rows below a heading.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[Column]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row. Missing cells are empty.
    ///
    /// # Panics
    /// When there are more cells than columns.
    pub fn row(&mut self, cells: Vec<Cell>) {
        assert!(
            cells.len() <= self.columns.len(),
            "a table's row has no more cells than the table has columns"
        );
        self.rows.push(cells);
    }

    /// The table as text for that screen, each line with its newline.
    pub fn render(&self, screen: Screen) -> String {
        let heading = self
            .columns
            .iter()
            .map(|c| Cell::painted(c.heading, Paint::Faint))
            .collect();
        let safe = |row: &Vec<Cell>| row.iter().map(|c| Cell::painted(one_line(&c.text), c.paint)).collect();
        let lines: Vec<Vec<Cell>> = std::iter::once(heading).chain(self.rows.iter().map(safe)).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                lines
                    .iter()
                    .filter_map(|l| l.get(at))
                    .map(|c| c.text.width())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        lines
            .iter()
            .map(|line| self.render_line(line, &widths, screen))
            .collect()
    }

    fn render_line(&self, cells: &[Cell], widths: &[usize], screen: Screen) -> String {
        let mut out = String::new();
        let mut left = screen.columns().unwrap_or(usize::MAX);
        // Padding is held back until something follows it, so that no line ends in spaces.
        let mut owed = 0;
        let empty = Cell::default();
        for (at, (column, width)) in self.columns.iter().zip(widths).enumerate() {
            let cell = cells.get(at).unwrap_or(&empty);
            let pad = width.saturating_sub(cell.text.width());
            owed += if at == 0 { 0 } else { GAP.len() };
            if column.right {
                owed += pad;
            }
            if !cell.text.is_empty() {
                if owed >= left {
                    break;
                }
                out.extend(std::iter::repeat_n(' ', owed));
                left -= owed;
                owed = 0;
                let text = cut(&cell.text, left);
                out.push_str(&screen.paint(cell.paint, &text));
                left -= text.width();
            }
            if !column.right {
                owed += pad;
            }
        }
        out.push('\n');
        out
    }
}

/// `text`, cut to `columns` columns; a cut is marked.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(CUT_MARK.width());
    let mut out: String = text
        .chars()
        .take_while(|c| {
            let fits = c.width().unwrap_or(0) <= room;
            room = room.saturating_sub(c.width().unwrap_or(0));
            fits
        })
        .collect();
    if columns > 0 {
        out.push_str(CUT_MARK);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::new(&[
            Column::left("WORKER"),
            Column::left("POOL"),
            Column::right("PID"),
            Column::left("STATE"),
        ]);
        table.row(vec!["w1".into(), "default".into(), "815".into()]);
        table.row(vec![
            "w12".into(),
            "世界".into(),
            "12345".into(),
            Cell::painted("draining", Paint::Warn),
        ]);
        table
    }

    #[test]
    fn columns_line_up_and_lines_end_in_no_space() {
        let wanted = "\
WORKER  POOL       PID  STATE
w1      default    815
w12     世界     12345  draining
";
        assert_eq!(sample().render(Screen::PLAIN), wanted);
    }

    #[test]
    fn lines_are_cut_on_a_terminal_only() {
        let wanted = "WORKER  POOL       P…\nw1      default    8…\nw12     世界     123…\n";
        assert_eq!(sample().render(Screen::terminal(21, false)), wanted);
        for columns in 0..40 {
            let text = sample().render(Screen::terminal(columns, false));
            assert!(text.lines().all(|line| line.width() <= columns), "{columns}: {text}");
        }
    }

    #[test]
    fn colour_does_not_move_columns() {
        let text = sample().render(Screen::terminal(80, true));
        assert!(text.contains("12345  \x1b[33mdraining\x1b[0m\n"), "{text}");
    }

    #[test]
    fn cells_stay_in_their_line() {
        let mut table = Table::new(&[Column::left("A")]);
        table.row(vec!["x\ny\x1b[2J".into()]);
        assert_eq!(table.render(Screen::PLAIN), "A\nx\\ny\\x1b[2J\n");
    }

    #[test]
    fn cut_text_is_marked() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("世界世界", 6), "世界…");
        assert_eq!(cut("abc", 0), "");
    }
}
