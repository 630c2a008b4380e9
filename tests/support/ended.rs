//! A process that has ended, and what a test expects of that.

use std::time::Duration;

use super::process::SLACK;

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(super) what: String,
    /// Its exit code; 128 + n if signal n killed it.
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// From its start, or from the signal that was to end it.
    pub(crate) took: Duration,
}

impl Ended {
    /// Its output as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {}; it said:\n{}", self.what, self.stderr);
        self
    }

    /// Fails unless stderr holds this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "{} did not say {text:?}:\n{}",
            self.what,
            self.stderr
        );
        self
    }

    /// Fails if anything was said on stderr.
    #[track_caller]
    pub(crate) fn quiet(self) -> Self {
        assert_eq!(self.stderr, "", "{} was to say nothing", self.what);
        self
    }

    /// Fails unless this is what it wrote.
    #[track_caller]
    pub(crate) fn wrote(self, text: &str) -> Self {
        assert_eq!(self.text(), text, "what {} wrote; it said:\n{}", self.what, self.stderr);
        self
    }

    /// Fails unless it ended within this time, and [`SLACK`].
    #[track_caller]
    pub(crate) fn within(self, span: Duration) -> Self {
        let (what, took) = (&self.what, self.took);
        assert!(
            took < span + SLACK,
            "{what} took {took:?}, not {span:?}; it said:\n{}",
            self.stderr
        );
        self
    }
}
