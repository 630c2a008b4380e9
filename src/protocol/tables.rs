//! The state tables of docs/tables.md. A test makes each table from what its machine does in each state on each event,
//! and compares: a table that is not true fails, and so does a cell that is not there.

use std::fmt::Write;

const TEXT: &str = include_str!("../../docs/tables.md");

/// A table: a name, the states, and a row of cells for each event.
pub(crate) struct Table {
    name: &'static str,
    text: String,
    columns: usize,
}

impl Table {
    /// A table with these states.
    pub(crate) fn new(name: &'static str, states: &[&str]) -> Self {
        let rule = "---|".repeat(states.len() + 1);
        let text = format!("| | {} |\n|{rule}\n", states.join(" | "));
        Self {
            name,
            text,
            columns: states.len(),
        }
    }

    /// What happens on `event`, in each state.
    pub(crate) fn row(&mut self, event: &str, cells: &[String]) {
        assert_eq!(cells.len(), self.columns, "{event}: a cell for each state");
        let _ = writeln!(self.text, "| {event} | {} |", cells.join(" | "));
    }

    /// Compares with the document.
    pub(crate) fn check(&self) {
        let marker = format!("<!-- table: {} -->\n", self.name);
        let told = TEXT.split_once(&marker).map_or("", |(_, rest)| rest);
        let told = told.split_once("\n\n").map_or(told, |(table, _)| table);
        let (name, text) = (self.name, &self.text);
        assert!(
            told.trim() == text.trim(),
            "docs/tables.md, table {name}, is not what the machine does:\n{text}\n"
        );
    }
}

/// A cell: what changed, then what was sent or done, each once and in order.
pub(crate) fn cell(change: Option<String>, done: Vec<String>, is_same: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in done {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    match (change, parts.is_empty()) {
        (Some(change), true) => change,
        (Some(change), false) => format!("{change}; {}", parts.join(", ")),
        (None, false) => parts.join(", "),
        (None, true) if is_same => "ignored".to_owned(),
        (None, true) => "noted".to_owned(),
    }
}
