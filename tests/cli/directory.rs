//! A runtime directory that cannot be used: each role says why, and what to do.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::Duration;

use crate::cluster::Host;

/// Each role must refuse this directory with 2, at once, and say these things.
#[track_caller]
fn refused(host: &Host, directory: &Path, said: &[&str]) {
    for arguments in [&["broker"][..], &["worker"], &["client", "x"]] {
        let refused = host.zhit(arguments).env("ZHIT_RUNTIME_DIR", directory).run();
        let refused = refused.code(2).wrote("");
        let refused = said.iter().fold(refused, |refused, text| refused.says(text));
        refused.within(Duration::ZERO);
    }
}

#[test]
fn too_long() {
    let host = Host::new();
    let long = host.room().join("x".repeat(100));
    refused(
        &host,
        &long,
        &["bytes, at most", "set ZHIT_RUNTIME_DIR to something shorter"],
    );
    assert!(!long.exists());
}

#[test]
fn a_link() {
    let host = Host::new();
    let (target, link) = (host.room().join("target"), host.room().join("link"));
    fs::create_dir(&target).expect("a directory");
    symlink(&target, &link).expect("a link");
    refused(&host, &link, &["is a link", "set ZHIT_RUNTIME_DIR"]);
    assert_eq!(fs::read_dir(target).expect("the target").count(), 0);
}

#[test]
fn a_file() {
    let host = Host::new();
    let file = host.room().join("file");
    fs::write(&file, "precious").expect("a file");
    refused(&host, &file, &["is no directory", "move it away"]);
    assert_eq!(fs::read(file).expect("the file"), b"precious");
}

#[test]
fn open_to_others() {
    let host = Host::new();
    let open = host.room().join("open");
    fs::create_dir(&open).expect("a directory");
    for mode in [0o777, 0o770] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).expect("a mode");
        refused(&host, &open, &["others may write", "chmod go-w"]);
    }
}

#[test]
fn somebody_elses() {
    let host = Host::new();
    let theirs = host.room().join("theirs");
    fs::create_dir(&theirs).expect("a directory");
    if chown(&theirs, Some(65_534), None).is_err() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    refused(&host, &theirs, &["belongs to uid 65534", "set ZHIT_RUNTIME_DIR"]);
}
