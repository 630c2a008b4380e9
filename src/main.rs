//! Parses the command line, hands the role to a thread, keeps the signals, exits.

fn main() {}
