//! Tests with real processes, each ended by its test.

use std::process::{Child, Command};

use rustix::process::pidfd_send_signal as signal_pidfd;

use super::*;

/// How long a process may take to be stopped or to end.
const SOON: Duration = Duration::from_secs(10);

/// A process that sleeps until its test ends it.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn start_ticks(&self) -> u64 {
        start_ticks(self.pid()).unwrap()
    }

    fn watch(&self) -> Watch {
        Watch::open(self.pid(), self.start_ticks()).unwrap()
    }

    fn claim(&self) -> Claim {
        Claim {
            pid: self.pid(),
            start_ticks: self.start_ticks(),
            executable: Some(FileId::of_executable(self.pid()).unwrap()),
        }
    }

    /// Stops it, and waits until it is.
    fn stop(&self) {
        signal_pidfd(self.watch(), Signal::STOP).unwrap();
        let until = clock::now() + SOON;
        while self.watch().autopsy().unwrap().state != 'T' {
            assert!(clock::now() < until, "it does not stop");
            std::thread::yield_now();
        }
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_stopped_process_is_looked_at_and_killed() {
    let mut sleeper = Sleeper::start();
    let watch = sleeper.watch();
    let claim = sleeper.claim();
    sleeper.stop();
    let found = watch.autopsy().unwrap();
    assert!(found.to_string().starts_with("state T"), "{found}");
    assert_eq!(found.threads, 1);
    let killed = watch.kill(&Evidence::Record(claim), || true).unwrap();
    assert!(!killed.already);
    assert!(killed.within < KILL_WAIT);
    assert!(watch.has_ended());
    assert!(sleeper.0.wait().unwrap().code().is_none(), "by a signal");
    assert!(watch.kill(&Evidence::Record(claim), || true).unwrap().already);
    assert_eq!(watch.autopsy(), None);
}

#[test]
fn a_number_used_again_is_not_held() {
    let sleeper = Sleeper::start();
    assert!(Watch::open(sleeper.pid(), sleeper.start_ticks() + 1).is_none());
    for none in [0, u32::MAX, i32::MAX as u32] {
        assert!(Watch::open(none, 1).is_none());
    }
}

#[test]
fn nobody_is_killed_but_whom_the_record_names() {
    let mut sleeper = Sleeper::start();
    let watch = sleeper.watch();
    let claim = sleeper.claim();
    let refused = |claim| watch.kill(&Evidence::Record(claim), || true).unwrap_err().to_string();
    let later = Claim {
        start_ticks: claim.start_ticks + 1,
        ..claim
    };
    assert!(refused(later).contains("the record now names"));
    assert!(refused(Claim { pid: 1, ..claim }).contains("the record now names pid 1,"));
    let program = Some(FileId { device: 1, inode: 1 });
    let other = Claim {
        executable: program,
        ..claim
    };
    assert!(refused(other).contains("does not run the program"));
    let unknown = Claim {
        executable: None,
        ..claim
    };
    assert!(refused(unknown).contains("does not say what program"));
    assert!(sleeper.is_alive());
}

#[test]
fn who_lives_after_all_is_not_killed() {
    let mut sleeper = Sleeper::start();
    let evidence = Evidence::Record(sleeper.claim());
    let error = sleeper.watch().kill(&evidence, || false).unwrap_err();
    assert!(error.to_string().contains("a sign of life"), "{error}");
    assert!(sleeper.is_alive());
}

#[test]
fn who_holds_no_lock_is_not_killed_by_it() {
    let mut sleeper = Sleeper::start();
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let evidence = Evidence::Lock(FileId::of(&path).unwrap());
    let error = sleeper.watch().kill(&evidence, || true).unwrap_err();
    assert!(error.to_string().contains("no longer holds"), "{error}");
    assert!(sleeper.is_alive());
}

#[test]
fn a_holder_without_a_record_is_found_by_its_lock_and_killed() {
    let dir = tempfile::TempDir::new().unwrap();
    let path = dir.path().join("lock");
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let file = FileId::of(&path).unwrap();
    let suspect = suspect_by_lock(file).unwrap().unwrap();
    assert_eq!((suspect.pid, suspect.term.0), (std::process::id(), 0));
    let watch = Watch::open(suspect.pid, suspect.start_ticks).unwrap();
    // It is this process, so the signal is not sent.
    let sent = watch.kill_by(&Evidence::Lock(file), || true, |_| Err(Errno::SRCH));
    assert!(sent.unwrap().already);
}

#[test]
fn what_the_system_forbids_is_told_with_its_remedy() {
    let mut sleeper = Sleeper::start();
    let (pid, uid) = (sleeper.pid(), rustix::process::getuid().as_raw());
    let evidence = Evidence::Record(sleeper.claim());
    let error = sleeper
        .watch()
        .kill_by(&evidence, || true, |_| Err(Errno::PERM))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot kill pid {pid}: held by uid {uid} (Operation not permitted); end it as that user: kill -9 {pid}"
        )
    );
    let watch = sleeper.watch();
    let error = watch.unreadable(Errno::ACCESS.into());
    assert!(error.to_string().contains("Permission denied"), "{error}");
    assert!(sleeper.is_alive());
}

#[test]
fn who_does_not_end_is_told_of() {
    let mut sleeper = Sleeper::start();
    let evidence = Evidence::Record(sleeper.claim());
    let error = sleeper.watch().kill_by(&evidence, || true, |_| Ok(())).unwrap_err();
    assert!(matches!(error, VerdictError::StillThere { .. }), "{error}");
    assert!(sleeper.is_alive());
}

#[cfg(debug_assertions)]
#[test]
fn without_the_rule_whoever_has_the_number_would_be_hit() {
    use crate::protocol::mutation::break_rule;
    let claim = Claim {
        pid: 9,
        start_ticks: 2,
        executable: None,
    };
    break_rule(Some(Rule::V3));
    let hit = target(8, 1, &claim);
    break_rule(None);
    assert_eq!(hit.unwrap(), Target::Number(9));
    assert!(matches!(
        target(8, 1, &claim),
        Err(VerdictError::Another { pid: 8, named: 9 })
    ));
}
