#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// Wrong layouts, each with what is said of it beside it.
fn wrong() -> Vec<PathBuf> {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layouts");
    let files = fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path());
    let mut yaml: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|kind| kind == "yaml"))
        .collect();
    yaml.sort();
    yaml
}

/// `ZHIT_LAYOUTS_WRITE=1 cargo test --lib wrong_layouts` writes what is said now.
#[test]
fn wrong_layouts_are_refused_with_what_to_do() {
    let mut count = 0;
    for path in wrong() {
        let text = fs::read_to_string(&path).unwrap();
        let said = match parse("layout.yaml", &text, None) {
            Ok(layout) => panic!("{}: {layout:?}", path.display()),
            Err(error) => format!("{error}\n"),
        };
        let expected = path.with_extension("txt");
        if std::env::var_os("ZHIT_LAYOUTS_WRITE").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(said, expected, "{}", path.display());
        count += 1;
    }
    assert!(count >= 30, "{count}");
}

/// The examples at the top of the repository: each is read, and says what it is to say.
#[test]
fn the_examples_are_read() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples.yaml")).unwrap();
    let read = |cluster| parse("examples.yaml", &text, Some(cluster)).unwrap();
    let desk = read("desk");
    assert!(desk.hosts.is_empty(), "one host, whatever its name");
    let render = &desk.pools["render"];
    assert_eq!((render.slots, render.grace), (Some(4), Some(Duration::from_secs(30))));
    assert!(matches!(
        &desk.pools["sessions"].handler,
        Handler::Coprocess { warm: 1, .. }
    ));
    let farm = read("farm");
    assert_eq!(farm.hosts.len(), 3);
    assert_eq!(farm.hosts["alpha"].direct_ports, Some(7430..=7499));
    assert!(farm.insecure && farm.timing.interval == Some(Duration::from_millis(500)));
    let error = parse("examples.yaml", &text, None).unwrap_err().to_string();
    assert!(error.contains("several clusters") && error.contains("desk"), "{error}");
    let error = parse("examples.yaml", &text, Some("none")).unwrap_err().to_string();
    assert!(error.contains("has no cluster none"), "{error}");
}

#[test]
fn files_that_are_no_layouts_are_refused() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("layout.yaml");
    let error = read_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("cannot read the layout") && error.contains("--layout"),
        "{error}"
    );
    fs::write(&path, b"cluster: \xff").unwrap();
    assert!(
        read_file(&path)
            .unwrap_err()
            .to_string()
            .contains("UTF-8 text from byte 9")
    );
    fs::write(&path, vec![b'#'; LAYOUT_BYTES_MAX as usize + 1]).unwrap();
    assert!(
        read_file(&path)
            .unwrap_err()
            .to_string()
            .contains("longer than 1048576 bytes")
    );
    fs::write(&path, vec![b'#'; LAYOUT_BYTES_MAX as usize]).unwrap();
    assert!(read_file(&path).is_ok());
}

#[test]
fn the_host_whose_address_is_here_is_found() {
    let text = "cluster: c\nhosts:\n  there: 192.0.2.1:7420\n  here: 127.0.0.1:7420\ninsecure: true\n";
    assert_eq!(parse("l", text, None).unwrap().host_here(), Some("here"));
}
