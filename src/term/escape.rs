//! What peers and handlers say, made safe to show: on a terminal, control characters become visible escapes, so that no
//! message can move the cursor, change the title or paste into a shell. Files and pipes get the exact bytes.
//!
//! Kept as they are: newline, tab, and every other printable UTF-8 character. Escaped: C0 and C1 controls and DEL
//! (`\x1b`, `\r`), characters that reorder text (`\u{202e}`), and bytes that are not UTF-8 (`\xff`).

use std::borrow::Cow;
use std::fmt::Write;

/// Longest start of a character that can be left over between two feeds.
const REST_BYTES_MAX: usize = 3;

/// Escapes a stream of bytes that arrives in pieces; a character cut in two by a piece's end is put together again.
#[derive(Clone, Debug, Default)]
pub struct Escaper {
    on: bool,
    rest: Vec<u8>,
}

impl Escaper {
    /// One for a stream that is a terminal (`on`), or that takes exact bytes.
    pub const fn new(on: bool) -> Self {
        Self { on, rest: Vec::new() }
    }

    /// What to write for the next `bytes`. Borrowed where nothing has to change.
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.on {
            return Cow::Borrowed(bytes);
        }
        if self.rest.is_empty() && bytes.iter().all(|b| matches!(b, b'\n' | b'\t' | b' '..=b'~')) {
            return Cow::Borrowed(bytes);
        }
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let whole = all.len() - unfinished(&all);
        let (now, later) = all.split_at(whole);
        self.rest = later.to_vec();
        Cow::Owned(escape(now, keeps_lines).into_bytes())
    }

    /// What to write for a character that the stream's end left unfinished.
    pub fn finish(&mut self) -> Vec<u8> {
        escape(&std::mem::take(&mut self.rest), keeps_lines).into_bytes()
    }
}

/// `text` on one line: as above, but newline and tab are escaped too. For cells of tables and parts of messages.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.chars().any(is_unsafe) {
        Cow::Owned(escape(text.as_bytes(), |_| false))
    } else {
        Cow::Borrowed(text)
    }
}

fn keeps_lines(c: char) -> bool {
    matches!(c, '\n' | '\t')
}

fn is_unsafe(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders || matches!(c, '\u{2028}' | '\u{2029}')
}

fn escape(bytes: &[u8], keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if keep(c) || !is_unsafe(c) => out.push(c),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if u32::from(c) < 0x80 => push_hex(&mut out, u32::from(c) as u8),
                c => out.extend(c.escape_unicode()),
            }
        }
        chunk.invalid().iter().for_each(|byte| push_hex(&mut out, *byte));
    }
    out
}

fn push_hex(out: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\x{byte:02x}");
}

/// How many bytes at the end of `bytes` begin a UTF-8 character that is not complete yet.
fn unfinished(bytes: &[u8]) -> usize {
    let last_start = bytes
        .iter()
        .rev()
        .take(REST_BYTES_MAX)
        .position(|b| !matches!(b, 0x80..=0xbf));
    let Some(back) = last_start else { return 0 };
    let tail = bytes.get(bytes.len() - back - 1..).unwrap_or_default();
    match std::str::from_utf8(tail) {
        Err(bad) if bad.valid_up_to() == 0 && bad.error_len().is_none() => tail.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_terminal(pieces: &[&[u8]]) -> String {
        let mut escaper = Escaper::new(true);
        let mut out: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| escaper.feed(piece).into_owned())
            .collect();
        out.extend(escaper.finish());
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn exact_bytes_stay_exact_when_not_a_terminal() {
        let mut escaper = Escaper::new(false);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(escaper.feed(&all).as_ref(), &all[..]);
        assert!(escaper.finish().is_empty());
    }

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(
            on_terminal(&[b"\x1b]0;title\x07 a\tb\nc\r\x7f"]),
            "\\x1b]0;title\\x07 a\tb\nc\\r\\x7f"
        );
        assert_eq!(
            on_terminal(&["\u{9b}31m \u{202e}abc".as_bytes()]),
            "\\u{9b}31m \\u{202e}abc"
        );
        assert_eq!(on_terminal(&[b"\x9b31m\xff"]), "\\x9b31m\\xff");
    }

    #[test]
    fn printable_text_passes_untouched() {
        let text = "Grüße, 世界 🙂\n";
        assert_eq!(on_terminal(&[text.as_bytes()]), text);
        assert!(matches!(Escaper::new(true).feed(b"plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn characters_cut_anywhere_are_put_together() {
        let text = "ä世🙂\u{9b}z".as_bytes();
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(on_terminal(&[a, b]), "ä世🙂\\u{9b}z", "cut at {cut}");
        }
        let single: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(on_terminal(&single), "ä世🙂\\u{9b}z");
    }

    #[test]
    fn unfinished_character_is_shown_at_the_end() {
        assert_eq!(on_terminal(&[b"a\xf0\x9f", b"\x99"]), "a\\xf0\\x9f\\x99");
        assert_eq!(on_terminal(&[b"a\xf0\x9f", b"x"]), "a\\xf0\\x9fx");
    }

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(one_line("a\nb\tc\x1b"), "a\\nb\\tc\\x1b");
        assert!(matches!(one_line("w1"), Cow::Borrowed("w1")));
    }
}
