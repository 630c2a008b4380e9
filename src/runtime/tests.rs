//! Directories, locks and members, in a directory of the test's own. A lock belongs to the open file and not to the
//! process, so two of them in one process stand for two processes.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::protocol::{SlotId, Term, WorkerId};

fn place(base: &Path) -> Place {
    Place::new(Some(base), "c", "h").unwrap()
}

fn opened() -> (TempDir, RuntimeDir) {
    let base = TempDir::new().unwrap();
    let dir = RuntimeDir::open(&place(base.path())).unwrap();
    (base, dir)
}

#[test]
fn directory_is_made_for_its_owner_only() {
    let base = TempDir::new().unwrap();
    let place = place(&base.path().join("x/y/"));
    assert!(RuntimeDir::open_existing(&place).unwrap().is_none());
    assert!(!base.path().join("x").exists(), "open_existing makes nothing");
    let dir = RuntimeDir::open(&place).unwrap();
    assert_eq!(dir.path(), base.path().join("x/y/c/h"));
    for level in ["x", "x/y", "x/y/c", "x/y/c/h", "x/y/c/h/members", "x/y/c/h/scratch"] {
        assert_eq!(
            fs::metadata(base.path().join(level)).unwrap().permissions().mode() & 0o777,
            0o700,
            "{level}"
        );
    }
    assert!(RuntimeDir::open_existing(&place).unwrap().is_some());
    assert!(dir.is_still_there());
    fs::remove_dir_all(base.path().join("x")).unwrap();
    assert!(!dir.is_still_there());
}

#[test]
fn without_a_base_it_is_below_tmp() {
    let uid = rustix::process::geteuid().as_raw();
    assert_eq!(
        Place::new(None, "c", "h").unwrap().path(),
        Path::new(&format!("/tmp/zhit-{uid}/c/h"))
    );
}

#[test]
fn names_that_leave_the_directory_are_refused() {
    for bad in ["", "..", "a/b"] {
        assert!(
            matches!(
                Place::new(None, bad, "h"),
                Err(RuntimeError::Name { what: "cluster", .. })
            ),
            "{bad}"
        );
        assert!(
            matches!(Place::new(None, "c", bad), Err(RuntimeError::Name { what: "host", .. })),
            "{bad}"
        );
    }
}

#[test]
fn links_are_refused_at_every_level() {
    let base = TempDir::new().unwrap();
    let link = base.path().join("link");
    fs::create_dir(base.path().join("real")).unwrap();
    symlink("real", &link).unwrap();
    let slash = base.path().join("link/");
    for spelling in [&link, &slash] {
        assert!(matches!(RuntimeDir::open(&place(spelling)), Err(RuntimeError::Link { path }) if path == link));
    }
    symlink("real", base.path().join("c")).unwrap();
    assert!(matches!(
        RuntimeDir::open(&place(base.path())),
        Err(RuntimeError::Link { .. })
    ));
    fs::remove_file(base.path().join("c")).unwrap();
    symlink("nowhere", base.path().join("c")).unwrap();
    assert!(matches!(
        RuntimeDir::open(&place(base.path())),
        Err(RuntimeError::Link { .. })
    ));
}

#[test]
fn files_and_directories_open_to_others_are_refused() {
    let base = TempDir::new().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(
        RuntimeDir::open(&place(&file)),
        Err(RuntimeError::NotADirectory { .. })
    ));

    RuntimeDir::open(&place(base.path())).unwrap();
    let leaf = base.path().join("c/h");
    for mode in [0o770, 0o702] {
        fs::set_permissions(&leaf, fs::Permissions::from_mode(mode)).unwrap();
        let error = RuntimeDir::open(&place(base.path())).unwrap_err();
        assert!(matches!(error, RuntimeError::OthersMayWrite { mode: found, .. } if found == mode));
    }
}

#[test]
fn directory_of_somebody_else_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let base = TempDir::new().unwrap();
    RuntimeDir::open(&place(base.path())).unwrap();
    chown(base.path().join("c"), Some(1), None).unwrap();
    let error = RuntimeDir::open(&place(base.path())).unwrap_err();
    assert!(
        matches!(error, RuntimeError::NotOurs { owner: 1, us: 0, .. }),
        "{error}"
    );
}

#[test]
fn too_long_a_directory_says_what_to_do() {
    let base = format!("/tmp/{}", "x".repeat(100));
    let error = Place::new(Some(Path::new(&base)), "c", "h").unwrap_err().to_string();
    for part in [&base, "109", "set ZHIT_RUNTIME_DIR"] {
        assert!(error.contains(part), "{error}");
    }
    // One that is just short enough has room for the longest of its sockets.
    let base = format!("/tmp/{}", "x".repeat(86 - 5 - 4));
    let place = Place::new(Some(Path::new(&base)), "c", "h").unwrap();
    let longest = place.path().join("members/w65535.65535");
    assert!(crate::net::endpoint(&longest).is_ok());
    assert!(Place::new(Some(Path::new(&format!("{base}x"))), "c", "h").is_err());
}

#[test]
fn socket_paths_lie_in_the_directory() {
    let (base, dir) = opened();
    let slot = SlotId {
        worker: WorkerId(3),
        number: 2,
    };
    assert_eq!(dir.broker_socket(), base.path().join("c/h/broker.sock"));
    assert_eq!(dir.slot_socket(slot), base.path().join("c/h/members/w3.2"));
    assert_eq!(dir.member_beat(WorkerId(3)), "members/w3.beat");
}

#[test]
fn directory_id_changes_when_the_directory_does() {
    let (base, dir) = opened();
    let id = dir.id().unwrap();
    assert_eq!(dir.id().unwrap(), id);
    assert_eq!(RuntimeDir::open(&place(base.path())).unwrap().id().unwrap(), id);

    fs::write(dir.path().join("dir.id"), "short").unwrap();
    assert!(matches!(dir.id(), Err(RuntimeError::Damaged { .. })));

    fs::remove_dir_all(base.path().join("c")).unwrap();
    let dir = RuntimeDir::open(&place(base.path())).unwrap();
    assert_ne!(dir.id().unwrap(), id);
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !names.iter().any(|name| name.to_string_lossy().starts_with('.')),
        "left over: {names:?}"
    );
}

#[test]
fn directory_id_made_by_many_at_once_is_one() {
    let (_base, dir) = opened();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| dir.id().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
}

#[test]
fn lock_has_one_holder() {
    let (_base, dir) = opened();
    assert!(!BrokerLock::is_held(&dir).unwrap());
    let lock = BrokerLock::try_take(&dir).unwrap().unwrap();
    assert!(lock.is_still_ours());
    assert!(BrokerLock::is_held(&dir).unwrap());
    assert!(BrokerLock::try_take(&dir).unwrap().is_none());
    assert!(
        BrokerLock::take_within(&dir, Duration::from_millis(20))
            .unwrap()
            .is_none()
    );
    drop(lock);
    assert!(!BrokerLock::is_held(&dir).unwrap());
    assert!(BrokerLock::take_within(&dir, Duration::ZERO).unwrap().is_some());
}

#[test]
fn holder_notices_that_its_path_leads_elsewhere() {
    let (base, dir) = opened();
    let lock = BrokerLock::try_take(&dir).unwrap().unwrap();
    fs::remove_dir_all(base.path().join("c")).unwrap();
    assert!(!lock.is_still_ours());
    assert!(
        BrokerLock::try_take(&dir).is_err(),
        "a lock in a directory that is gone is none"
    );
    let anew = RuntimeDir::open(&place(base.path())).unwrap();
    let second = BrokerLock::try_take(&anew).unwrap().unwrap();
    assert!(second.is_still_ours() && !lock.is_still_ours());
}

#[test]
fn terms_only_grow() {
    let cases = [
        ((0, 0, 50), 50),
        ((50, 0, 50), 51),
        ((7, 90, 50), 91),
        ((u64::MAX, 0, 50), u64::MAX),
    ];
    for ((stored, heard, unix), next) in cases {
        assert_eq!(next_term(Term(stored), Term(heard), unix), Term(next));
    }
    let (_base, dir) = opened();
    let lock = BrokerLock::try_take(&dir).unwrap().unwrap();
    let first = lock.begin_term(&dir, Term(0)).unwrap();
    let second = lock.begin_term(&dir, Term(0)).unwrap();
    assert!(second > first);
    let third = lock.begin_term(&dir, Term(second.0 + 1_000_000)).unwrap();
    assert_eq!(third, Term(second.0 + 1_000_001));
    fs::write(dir.path().join("broker.term"), "torn").unwrap();
    assert!(lock.begin_term(&dir, third).unwrap() > third);
}

#[test]
fn record_reads_back_and_tells_the_living_from_the_dead() {
    let (_base, dir) = opened();
    assert_eq!(Record::read(&dir).unwrap(), None);
    let record = Record {
        layout_digest: [0xab; 16],
        ..Record::of_this_process(Term(7), true)
    };
    record.write(&dir).unwrap();
    assert_eq!(Record::read(&dir).unwrap(), Some(record));
    assert!(record.is_alive());
    assert!(
        !Record {
            start_ticks: record.start_ticks + 1,
            ..record
        }
        .is_alive()
    );
    Record {
        term: Term(8),
        ..record
    }
    .write(&dir)
    .unwrap();
    assert_eq!(Record::read(&dir).unwrap().unwrap().term, Term(8));

    for bad in [
        "",
        "pid 1\n",
        "pid x\nstart 1\nterm 1\nstarted 1\nlayout 00\n",
        "\u{0}\u{0}",
    ] {
        fs::write(dir.path().join("broker.record"), bad).unwrap();
        assert!(
            matches!(Record::read(&dir), Err(RuntimeError::Damaged { .. })),
            "{bad:?}"
        );
    }
    Record::remove(&dir).unwrap();
    Record::remove(&dir).unwrap();
    assert_eq!(Record::read(&dir).unwrap(), None);
}

#[test]
fn members_take_the_lowest_free_number() {
    let (_base, dir) = opened();
    let [one, two, three] = [1, 2, 3].map(|_| Member::enter(&dir, true).unwrap());
    assert_eq!([one.id(), two.id(), three.id()], [1, 2, 3].map(WorkerId));
    assert_ne!(one.incarnation(), two.incarnation());
    let seen = list(&dir).unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!((seen[1].id, seen[1].incarnation), (two.id(), two.incarnation()));
    assert!(seen.iter().all(|member| member.present && member.pid == process::id()));
    assert_eq!(Some(seen[0].start_ticks), start_ticks(process::id()));

    two.leave();
    assert!(!dir.path().join("members/w2").exists());
    assert_eq!(Member::enter(&dir, true).unwrap().id(), WorkerId(2));
}

#[test]
fn successor_of_a_dead_member_clears_up_after_it() {
    let (_base, dir) = opened();
    let path = |name: &str| dir.path().join(name);
    // A file that nobody holds the lock of: its worker ended without leaving.
    fs::write(path("members/w1"), "pid 1\nincarnation 00000000000000ff\nstart 1\n").unwrap();
    let seen = list(&dir).unwrap();
    assert!(seen.len() == 1 && !seen[0].present && seen[0].incarnation.0 == 255);

    for file in [
        "members/w1.2",
        "members/w1.beat",
        "members/w1.journal",
        "members/w10.2",
        "scratch/w12.x",
    ] {
        fs::write(path(file), "").unwrap();
    }
    fs::create_dir_all(path("scratch/w1.2.hit/below")).unwrap();
    fs::create_dir(path("outside")).unwrap();
    symlink(path("outside"), path("scratch/w1-link")).unwrap();
    let member = Member::enter(&dir, true).unwrap();
    assert_eq!(member.id(), WorkerId(1));
    for gone in ["members/w1.2", "members/w1.beat", "scratch/w1.2.hit"] {
        assert!(!path(gone).exists(), "{gone}");
    }
    assert!(fs::symlink_metadata(path("scratch/w1-link")).is_err());
    for kept in ["members/w1.journal", "members/w10.2", "scratch/w12.x", "outside"] {
        assert!(path(kept).exists(), "{kept}");
    }
    assert_eq!(list(&dir).unwrap()[0].incarnation, member.incarnation());
}

#[test]
fn member_whose_file_was_wiped_is_not_present() {
    let (_base, dir) = opened();
    let first = Member::enter(&dir, true).unwrap();
    assert!(first.is_still_present());
    fs::remove_file(dir.path().join("members/w1")).unwrap();
    assert!(!first.is_still_present());
    let second = Member::enter(&dir, true).unwrap();
    assert_eq!(second.id(), WorkerId(1));
    first.leave();
    assert!(second.is_still_present(), "leaving takes away nobody else's file");
}

#[test]
fn members_that_come_and_go_at_once_never_share_a_number() {
    let (_base, dir) = opened();
    let held = std::sync::Mutex::new(std::collections::HashSet::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let member = Member::enter(&dir, true).unwrap();
                    assert!(held.lock().unwrap().insert(member.id()), "{} twice", member.id());
                    assert!(member.is_still_present());
                    held.lock().unwrap().remove(&member.id());
                    member.leave();
                }
            });
        }
    });
    assert!(list(&dir).unwrap().is_empty());
}

#[test]
fn process_that_is_not_there_has_no_start() {
    assert!(start_ticks(process::id()).is_some());
    assert_eq!(start_ticks(u32::MAX), None);
}
