//! The completions and man pages in the repository are those that the table of flags gives.

#[path = "support/generate.rs"]
mod generate;

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn completions_and_man_pages_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stale: Vec<String> = generate::files()
        .expect("the texts are made in memory")
        .into_iter()
        .filter(|(path, text)| std::fs::read(root.join(path)).ok().as_ref() != Some(text))
        .map(|(path, _)| path)
        .collect();
    assert!(
        stale.is_empty(),
        "stale: {stale:?}; write them anew: cargo run --example generate"
    );
}

#[test]
fn no_generated_file_is_left_over() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made: BTreeSet<String> = generate::files()
        .expect("the texts are made in memory")
        .into_iter()
        .map(|(path, _)| path)
        .collect();
    for room in ["completions", "man"] {
        for entry in std::fs::read_dir(root.join(room)).expect(room) {
            let path = format!("{room}/{}", entry.expect(room).file_name().to_string_lossy());
            // Section 5 (file formats) is written by hand.
            assert!(
                path.ends_with(".5") || made.contains(&path),
                "{path} comes from no command: remove it"
            );
        }
    }
}

#[test]
fn readme_tells_the_exit_codes_that_there_are() {
    let readme = include_str!("../README.md").replace('`', "");
    for (code, meaning) in zhit::exit::Exit::TABLE {
        let row = format!("| {code} | {meaning} |");
        assert!(readme.contains(&row), "README.md lacks the row {row}");
    }
}
