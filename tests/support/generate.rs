//! The texts that come from the table of flags: completions/ and man/. Shared by the example that writes them and the
//! test that tells when they are stale.

use std::io;

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, line_break, roman};
use zhit::cli;
use zhit::exit::Exit;

/// One generated file: its path below the repository's root, and what belongs in it.
pub(crate) type Generated = (String, Vec<u8>);

/// What the title line of every page names as its manual.
const MANUAL: &str = "zhit manual";

/// Every generated file.
pub(crate) fn files() -> io::Result<Vec<Generated>> {
    let mut files = completions();
    // No page is written for `zhit help`, so none may be referred to; a page shows what short help leaves out.
    let mut whole = cli::command().disable_help_subcommand(true);
    // A command's flags are only there once it is built.
    whole.build();
    whole = whole.mut_subcommands(|part| part.mut_args(|flag| flag.hide_short_help(false)));
    let names: Vec<String> = whole.get_subcommands().map(|part| part.get_name().to_owned()).collect();
    files.push(("man/zhit.1".into(), page(&whole, "zhit", &names)?));
    for part in whole.get_subcommands() {
        files.push((
            format!("man/zhit-{}.1", part.get_name()),
            page(part, part.get_name(), &names)?,
        ));
    }
    Ok(files)
}

fn completions() -> Vec<Generated> {
    let shells = [
        (Shell::Bash, "zhit.bash"),
        (Shell::Zsh, "_zhit"),
        (Shell::Fish, "zhit.fish"),
    ];
    let written = shells.into_iter().map(|(shell, file)| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut cli::command(), "zhit", &mut text);
        (format!("completions/{file}"), text)
    });
    written.collect()
}

/// The page of one command: clap's part, then ours.
fn page(command: &clap::Command, name: &str, all: &[String]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .source(format!("zhit {}", env!("CARGO_PKG_VERSION")))
        .manual(MANUAL);
    let mut clap_part = Vec::new();
    man.render_title(&mut clap_part)?;
    man.render_name_section(&mut clap_part)?;
    let mut synopsis = Roff::new();
    let usage = command.clone().render_usage().to_string();
    synopsis
        .control("SH", ["SYNOPSIS"])
        .text([bold(usage.trim_start_matches("Usage: "))]);
    synopsis.to_writer(&mut clap_part)?;
    man.render_description_section(&mut clap_part)?;
    man.render_options_section(&mut clap_part)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut clap_part)?;
    }
    let mut ours = Roff::new();
    examples(&mut ours, name);
    captures(&mut ours, name);
    table(&mut ours, "ENVIRONMENT", cli::ENVIRONMENT);
    if name == "worker" {
        ours.control("PP", [])
            .text([roman("The program that a worker runs for a request finds:")]);
        rows(&mut ours, cli::HANDLER_ENVIRONMENT);
        let beside = "It may say, a line each, on file descriptor 3:";
        ours.control("PP", []).text([roman(beside)]);
        rows(&mut ours, cli::HANDLER_CONTROL);
    }
    table(&mut ours, "FILES", cli::FILES);
    table(&mut ours, "EXIT STATUS", &Exit::TABLE);
    see_also(&mut ours, name, all);
    ours.to_writer(&mut clap_part)?;
    Ok(once_only_preamble(&clap_part))
}

fn examples(page: &mut Roff, name: &str) {
    page.control("SH", ["EXAMPLES"]);
    for (what, line) in cli::examples(name) {
        page.control("PP", []).text([roman(*what)]);
        page.control("RS", ["4"])
            .control("nf", [])
            .text([bold(*line)])
            .control("fi", [])
            .control("RE", []);
    }
}

fn captures(page: &mut Roff, name: &str) {
    for (what, seen) in cli::captures(name) {
        page.control("PP", []).text([roman(*what)]);
        page.control("RS", ["4"]).control("nf", []);
        for line in seen.lines() {
            page.text([roman(line)]);
        }
        page.control("fi", []).control("RE", []);
    }
}

fn table(page: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    page.control("SH", [title]);
    rows(page, entries);
}

fn rows(page: &mut Roff, entries: &[(&str, &str)]) {
    for (term, meaning) in entries {
        page.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
}

fn see_also(page: &mut Roff, name: &str, all: &[String]) {
    let pages = std::iter::once("zhit".to_owned()).chain(all.iter().map(|other| format!("zhit-{other}")));
    let others: Vec<String> = pages
        .filter(|other| other != name && *other != format!("zhit-{name}"))
        .collect();
    let mut line: Vec<Inline> = Vec::new();
    for (number, other) in others.iter().enumerate() {
        line.push(bold(other));
        line.push(roman(if number + 1 < others.len() { "(1), " } else { "(1)" }));
    }
    line.extend([
        line_break(),
        roman("The protocol: "),
        italic("docs/protocol.md"),
        roman(" in the sources"),
    ]);
    page.control("SH", ["SEE ALSO"]).text(line);
}

/// Each part brings roff's two preamble lines along; once at the top is enough.
fn once_only_preamble(text: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(text);
    let is_preamble = |line: &str| line.starts_with(".ie \\n(.g .ds Aq") || line.starts_with(".el .ds Aq");
    let lines = text
        .lines()
        .enumerate()
        .filter(|(number, line)| *number < 2 || !is_preamble(line));
    lines.fold(Vec::new(), |mut page, (_, line)| {
        page.extend_from_slice(line.as_bytes());
        page.push(b'\n');
        page
    })
}
