//! The only door to the terminal: what a stream is, colours, what is safe to show, tables, the progress bar, JSON lines.
//!
//! Replies go to standard output as exact bytes and never pass through here; everything that is *said* does. This room
//! reads no clock: whoever draws brings the time.

pub mod escape;
pub mod human;
pub mod json;
pub mod log;
mod meter;
pub mod progress;
pub mod style;
pub mod table;

pub use escape::{Escaper, one_line};
pub use progress::{Bar, Output};
pub use style::{Paint, Screen, error, note};
pub use table::{Cell, Column, Table};
