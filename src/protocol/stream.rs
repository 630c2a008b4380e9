//! The stream machine.
