//! The progress bar of one transfer, on standard error. It shows itself only after a second, only where a person looks
//! (a terminal, in the foreground), at most ten times a second, and is gone when the transfer ends.
//!
//! Counting is two additions; drawing happens in [`Bar::tick`] alone, when it is due. No thread is started and no clock
//! is read. Whoever writes to the same terminal does so through [`Bar::with_hidden`].

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::one_line;
use super::meter::Meter;
use super::style::{Screen, columns, is_dumb};
use crate::options::Progress;
use crate::protocol::Moment;

/// Transfers that end sooner never show a bar.
const APPEARS_AFTER: Duration = Duration::from_secs(1);

/// Shortest time between two drawings.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// The same where each drawing is a line of its own.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Width that is assumed where nothing tells it.
const COLUMNS_UNKNOWN: usize = 80;

/// Above our own rate, so that indicatif's limiter never drops a drawing.
const INDICATIF_DRAWS_PER_SECOND: u8 = 100;

/// A stream that others write while a bar may stand on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Replies.
    Stdout,
    /// What handlers say, remarks.
    Stderr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Screen,
    Lines,
}

/// The bar. Dropping it clears it.
pub struct Bar {
    meter: Meter,
    place: Place,
    stdout_shares: bool,
    target: Box<dyn Fn() -> Option<ProgressDrawTarget> + Send>,
    /// Some while the bar stands on the screen.
    drawn: Option<ProgressBar>,
    next_draw_at: Moment,
    /// The last line that others wrote has no newline yet: drawing would overwrite it.
    mid_line: bool,
}

impl Bar {
    /// A bar for a transfer that starts now. `label` says what is transferred, in a word or two.
    pub fn new(progress: Progress, label: &str, now: Moment) -> Self {
        let screen = Screen::stderr().is_terminal() && !is_dumb(std::env::var("TERM").ok().as_deref());
        let place = match progress {
            Progress::Auto | Progress::Always if screen => Place::Screen,
            Progress::Always => Place::Lines,
            Progress::Auto | Progress::Never => Place::Nowhere,
        };
        Self::at(
            place,
            progress,
            label,
            now,
            Screen::stdout().is_terminal(),
            Box::new(stderr_target),
        )
    }

    fn at(
        place: Place,
        progress: Progress,
        label: &str,
        now: Moment,
        stdout_is_terminal: bool,
        target: Box<dyn Fn() -> Option<ProgressDrawTarget> + Send>,
    ) -> Self {
        let at_once = progress == Progress::Always && place == Place::Screen;
        Self {
            meter: Meter::new(&one_line(label), now),
            place,
            stdout_shares: stdout_is_terminal && place == Place::Screen,
            target,
            drawn: None,
            next_draw_at: if at_once { now } else { now + APPEARS_AFTER },
            mid_line: false,
        }
    }

    /// Counts bytes that went out.
    pub fn sent(&mut self, bytes: u64) {
        self.meter.sent(bytes);
    }

    /// Counts bytes that came in.
    pub fn received(&mut self, bytes: u64) {
        self.meter.received(bytes);
    }

    /// How many bytes will be sent in all, once that is known.
    pub fn set_total(&mut self, total: Option<u64>) {
        self.meter.set_total(total);
    }

    /// A remark behind the numbers, such as the handler's own progress. It may come from a peer.
    pub fn message(&mut self, text: &str) {
        if self.place != Place::Nowhere {
            self.meter.set_message(one_line(text).into_owned());
        }
    }

    /// What the handler says of the request that runs: its number, done, total (0: not known) and a note. It may come from
    /// a peer.
    pub fn work(&mut self, now: Moment, seq: u64, said: Option<(u64, u64, &str)>) {
        if self.place != Place::Nowhere {
            self.meter
                .set_work(now, seq, said.map(|(done, total, _)| (done, total)));
            self.message(said.map_or("", |(.., note)| note));
        }
    }

    /// When [`tick`](Self::tick) has something to do next; `None` for a bar that is never seen.
    pub fn next_deadline(&self) -> Option<Moment> {
        (self.place != Place::Nowhere).then_some(self.next_draw_at)
    }

    /// Draws if it is time to. May be called as often as one likes.
    pub fn tick(&mut self, now: Moment) {
        if self.place == Place::Nowhere || now < self.next_draw_at {
            return;
        }
        self.meter.sample(now);
        self.next_draw_at = now
            + if self.place == Place::Lines {
                LINE_EVERY
            } else {
                DRAW_EVERY
            };
        if self.mid_line {
            return;
        }
        if self.place == Place::Lines {
            let line = self.meter.line(now, COLUMNS_UNKNOWN) + "\n";
            // A bar that cannot be written is no reason to end a transfer.
            let _ = io::stderr().lock().write_all(line.as_bytes());
            return;
        }
        let Some(target) = (self.target)() else {
            self.drawn = None;
            return;
        };
        // One column is left free: many terminals wrap when the last one is written.
        let line = self
            .meter
            .line(now, columns(&io::stderr()).unwrap_or(COLUMNS_UNKNOWN) - 1);
        self.drawn.get_or_insert_with(|| one_message(target)).set_message(line);
    }

    /// Runs `write`, which writes `bytes` to that stream, with no bar in the way. The bar comes back at a later tick,
    /// once what was written ended in a newline.
    pub fn with_hidden<T>(&mut self, output: Output, bytes: &[u8], write: impl FnOnce() -> T) -> T {
        let shares = self.place != Place::Nowhere && (output == Output::Stderr || self.stdout_shares);
        if let (true, Some(last)) = (shares, bytes.last()) {
            self.clear();
            self.mid_line = *last != b'\n';
        }
        write()
    }

    /// Takes the bar away for good.
    pub fn finish(&mut self) {
        self.clear();
        self.place = Place::Nowhere;
    }

    fn clear(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.finish();
    }
}

fn one_message(target: ProgressDrawTarget) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, target);
    // The line is made here, whole; indicatif draws and clears it. The template is a constant that a test parses.
    bar.with_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// `None` while this process is in the background: the screen is another's then.
fn stderr_target() -> Option<ProgressDrawTarget> {
    let foreground = rustix::termios::tcgetpgrp(io::stderr()).is_ok_and(|group| group == rustix::process::getpgrp());
    foreground.then(|| ProgressDrawTarget::stderr_with_hz(INDICATIF_DRAWS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use indicatif::TermLike;

    use super::*;

    /// Remembers what was drawn, and where text of others went.
    #[derive(Clone, Debug, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Recorder {
        fn push(&self, what: impl Into<String>) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// Whether a line was drawn since the last call.
        fn drew(&self) -> bool {
            self.take().iter().any(|said| said.contains("sent"))
        }
    }

    impl TermLike for Recorder {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, line: &str) -> io::Result<()> {
            self.push(line);
            Ok(())
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.push(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.push("CLEAR");
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn millis(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    fn bar(place: Place, progress: Progress) -> (Bar, Recorder) {
        let recorder = Recorder::default();
        let target = {
            let recorder = recorder.clone();
            move || Some(ProgressDrawTarget::term_like(Box::new(recorder.clone())))
        };
        (
            Bar::at(place, progress, "default", millis(0), true, Box::new(target)),
            recorder,
        )
    }

    #[test]
    fn template_is_valid() {
        assert!(ProgressStyle::with_template("{msg}").is_ok());
    }

    #[test]
    fn bar_appears_after_a_second_and_is_drawn_ten_times_a_second() {
        let (mut bar, recorder) = bar(Place::Screen, Progress::Auto);
        let draws = |bar: &mut Bar, from: u64, to: u64| {
            (from..to)
                .filter(|at| {
                    bar.sent(1);
                    bar.tick(millis(*at));
                    recorder.drew()
                })
                .count()
        };
        assert_eq!(draws(&mut bar, 0, 1000), 0);
        assert_eq!(draws(&mut bar, 1000, 2000), 10);
        assert_eq!(bar.next_deadline(), Some(millis(2000)));
    }

    #[test]
    fn always_is_at_once() {
        let (mut bar, recorder) = bar(Place::Screen, Progress::Always);
        bar.tick(millis(0));
        assert!(recorder.drew());
    }

    #[test]
    fn hidden_bar_never_draws_and_wants_no_time() {
        let (mut bar, recorder) = bar(Place::Nowhere, Progress::Never);
        bar.tick(millis(5000));
        assert_eq!(bar.with_hidden(Output::Stderr, b"x", || 7), 7);
        assert_eq!(bar.next_deadline(), None);
        assert_eq!(recorder.take(), Vec::<String>::new());
    }

    #[test]
    fn bar_is_cleared_before_others_write_and_waits_for_their_newline() {
        let (mut bar, recorder) = bar(Place::Screen, Progress::Auto);
        bar.tick(millis(1000));
        assert!(recorder.drew());
        bar.with_hidden(Output::Stdout, b"Wor", || recorder.push("REPLY"));
        let said = recorder.take();
        assert_eq!(said.last().map(String::as_str), Some("REPLY"));
        assert!(said.iter().any(|s| s == "CLEAR"), "{said:?}");
        bar.tick(millis(1500));
        assert!(!recorder.drew(), "drawn over an unfinished line");
        bar.with_hidden(Output::Stdout, b"ld\n", || ());
        bar.tick(millis(2000));
        assert!(recorder.drew());
    }

    #[test]
    fn bar_stays_while_replies_go_to_a_file() {
        let (mut bar, recorder) = bar(Place::Screen, Progress::Auto);
        bar.stdout_shares = false;
        bar.tick(millis(1000));
        recorder.take();
        bar.with_hidden(Output::Stdout, b"Wor", || ());
        assert_eq!(recorder.take(), Vec::<String>::new());
        bar.with_hidden(Output::Stderr, b"note\n", || ());
        assert!(recorder.take().iter().any(|s| s == "CLEAR"));
    }

    #[test]
    fn finished_bar_is_gone() {
        let (mut bar, recorder) = bar(Place::Screen, Progress::Auto);
        bar.tick(millis(1000));
        recorder.take();
        bar.finish();
        assert!(recorder.take().iter().any(|s| s == "CLEAR"));
        bar.tick(millis(9000));
        assert!(!recorder.drew());
    }
}
