//! The environment in which Python runs: made once, kept between runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::cluster::skipped;

/// What is installed into it.
const PYZMQ: &str = "27.3.0";

/// The interpreter; `None`, and a line that no test harness swallows, where there cannot be one.
pub(crate) fn interpreter() -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(make) {
        Ok(path) => Some(path),
        Err(why) => {
            skipped(why);
            None
        }
    }
}

/// A directory of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn make() -> Result<PathBuf, String> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("python-pyzmq-{PYZMQ}"));
    let python = dir.join("bin/python");
    if has_pyzmq(&python) {
        return Ok(python);
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&dir);
    run(&mut venv).map_err(|why| format!("no python3 with its module venv: {why}"))?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip.args(["--retries", "1", "--timeout", "20", &format!("pyzmq=={PYZMQ}")]);
    run(&mut pip).map_err(|why| format!("pyzmq {PYZMQ} cannot be installed (no network?): {why}"))?;
    if has_pyzmq(&python) {
        Ok(python)
    } else {
        Err(format!("pyzmq {PYZMQ} is installed and cannot be used"))
    }
}

fn has_pyzmq(python: &Path) -> bool {
    let check = format!("import zmq; assert zmq.__version__ == '{PYZMQ}'");
    run(Command::new(python).args(["-c", &check])).is_ok()
}

/// Runs a command; what it said last if it failed.
fn run(command: &mut Command) -> Result<(), String> {
    let Output { status, stderr, .. } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(said.trim_end().lines().last().unwrap_or("it failed").to_owned())
}
