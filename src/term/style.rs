//! What a stream leads to (a terminal? how wide? coloured?), and the one way in which zhit says something to a person.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

use rustix::termios::tcgetwinsize;

use super::escape::Escaper;

/// What is known of an output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Screen {
    terminal: bool,
    colour: bool,
    columns: Option<usize>,
}

impl Screen {
    /// A file or a pipe: no colour, nothing cut or escaped.
    pub const PLAIN: Self = Self {
        terminal: false,
        colour: false,
        columns: None,
    };

    /// A terminal with this many columns.
    pub const fn terminal(columns: usize, colour: bool) -> Self {
        Self {
            terminal: true,
            colour,
            columns: Some(columns),
        }
    }

    /// Standard output, as it is now.
    pub fn stdout() -> Self {
        Self::of(&io::stdout())
    }

    /// Standard error, as it is now.
    pub fn stderr() -> Self {
        Self::of(&io::stderr())
    }

    fn of(stream: &(impl AsFd + IsTerminal)) -> Self {
        let terminal = stream.is_terminal();
        let colour = wants_colour(terminal, |name| {
            std::env::var_os(name).map(|v| v.to_string_lossy().into_owned())
        });
        Self {
            terminal,
            colour,
            columns: terminal.then(|| columns(stream)).flatten(),
        }
    }

    /// Whether it is a terminal.
    pub const fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Whether colours are wanted.
    pub const fn has_colour(self) -> bool {
        self.colour
    }

    /// Width in columns; `None` where nothing is to be cut.
    pub const fn columns(self) -> Option<usize> {
        self.columns
    }

    /// `text` in that colour, if this screen has any.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        match paint.code() {
            Some(code) if self.colour => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// How a piece of text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Paint {
    /// It doesn't.
    #[default]
    Plain,
    /// Names and numbers that one looks for first.
    Strong,
    /// Headings, units.
    Faint,
    /// All well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

impl Paint {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Warn => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// `NO_COLOR` (no-color.org) wins, then `CLICOLOR_FORCE`, `CLICOLOR` (bixense.com/clicolors), a dumb terminal.
fn wants_colour(terminal: bool, env: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return false;
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return true;
    }
    let refused = set("CLICOLOR").is_some_and(|value| value == "0") || is_dumb(env("TERM").as_deref());
    terminal && !refused
}

/// Whether `$TERM` names a terminal that can neither colour nor move its cursor.
pub(super) fn is_dumb(term: Option<&str>) -> bool {
    matches!(term, None | Some("" | "dumb"))
}

/// Width of the terminal behind `stream`; `None` if it doesn't tell.
pub(super) fn columns(stream: &impl AsFd) -> Option<usize> {
    tcgetwinsize(stream)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|columns| *columns > 0)
}

/// Prints a final error on standard error: `zhit: what: where; try ...`.
pub fn error(what: &dyn Display) {
    say(Paint::Bad, what);
}

/// Prints a remark on standard error, as `zhit: ...`.
pub fn note(what: &dyn Display) {
    say(Paint::Strong, what);
}

fn say(paint: Paint, what: &dyn Display) {
    let line = said(Screen::stderr(), paint, &what.to_string());
    // One write, so that lines of several processes don't mix; when nobody can read it, there is nobody to tell.
    let _ = io::stderr().lock().write_all(&line);
}

fn said(screen: Screen, paint: Paint, what: &str) -> Vec<u8> {
    let mut line = screen.paint(paint, "zhit:").into_bytes();
    line.push(b' ');
    let mut escaper = Escaper::new(screen.is_terminal());
    line.extend_from_slice(&escaper.feed(what.trim_end().as_bytes()));
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(terminal: bool, vars: &[(&str, &str)]) -> bool {
        wants_colour(terminal, |name| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        })
    }

    #[test]
    fn colour_is_for_terminals_unless_told_otherwise() {
        let xterm = ("TERM", "xterm");
        assert!(colour(true, &[xterm]));
        assert!(!colour(false, &[xterm]));
        assert!(!colour(true, &[xterm, ("NO_COLOR", "1")]));
        assert!(colour(true, &[xterm, ("NO_COLOR", "")]));
        assert!(!colour(true, &[xterm, ("CLICOLOR", "0")]));
        assert!(!colour(true, &[("TERM", "dumb")]));
        assert!(!colour(true, &[]));
        assert!(colour(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!colour(false, &[("CLICOLOR_FORCE", "0")]));
        assert!(!colour(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn error_is_one_line_that_names_the_program() {
        let text = "no broker reached: /tmp/zhit-0; try `zhit worker &`\n";
        let line = said(Screen::PLAIN, Paint::Bad, text);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "zhit: no broker reached: /tmp/zhit-0; try `zhit worker &`\n"
        );
        let line = said(Screen::terminal(80, true), Paint::Bad, "a\x1b[2Jb");
        assert_eq!(String::from_utf8_lossy(&line), "\x1b[1;31mzhit:\x1b[0m a\\x1b[2Jb\n");
    }

    #[test]
    fn plain_screens_have_no_colour() {
        assert_eq!(Screen::PLAIN.paint(Paint::Bad, "x"), "x");
        assert_eq!(Screen::terminal(80, true).paint(Paint::Plain, "x"), "x");
    }
}
