//! The scripts of docs/cookbook.md do what it says.

#[path = "support/cluster.rs"]
mod cluster;

use std::path::Path;

use cluster::Host;

/// A fenced block: what stands behind its fence, and its text.
fn blocks(text: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((kind, body.join("\n") + "\n"));
        }
    }
    blocks
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

#[test]
fn every_script_prints_what_the_cookbook_says() {
    let text = include_str!("../docs/cookbook.md");
    let blocks = blocks(text);
    let (_, preamble) = blocks
        .iter()
        .find(|(kind, _)| *kind == "sh preamble")
        .expect("a preamble");
    let scripts = blocks.windows(2).filter(|pair| pair[1].0 == "text");
    let program = Path::new(env!("CARGO_BIN_EXE_zhit")).parent().expect("a directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program.to_owned()].into_iter().chain(std::env::split_paths(&path)));
    let path = path.expect("no colon in it");
    let mut count = 0;
    for pair in scripts {
        let [(kind, script), (_, wanted)] = pair else {
            unreachable!("windows of two")
        };
        let needs = kind.strip_prefix("sh").expect("a script before what it prints").trim();
        if !needs.is_empty() && !is_there(needs) {
            println!("skipped: no {needs} on PATH, which this script needs:\n{script}");
            continue;
        }
        let host = Host::new();
        let script = format!("cd \"$ROOM\"\n{preamble}{script}");
        let ended = host
            .run_program("bash", &["-c", &script])
            .env("PATH", &path)
            .run()
            .code(0);
        assert_eq!(
            ended.text(),
            *wanted,
            "of the script:\n{script}\nit said:\n{}",
            ended.stderr
        );
        host.stop();
        count += 1;
    }
    assert!(count >= 9, "{count} scripts");
}
