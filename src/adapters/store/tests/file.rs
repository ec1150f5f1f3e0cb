//! What only a file can show: locks, modes, damage, sudden ends.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn sec_10_files_are_private_and_one_process_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("state");
    let store = Store::open(&inner).unwrap();
    assert!(store.is_fresh());
    store.plan(plan(&["a"])).await.unwrap();
    for entry in fs::read_dir(&inner).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
    assert!(matches!(Store::open(&inner), Err(Error::InUse(_))), "two_processes_one_file_refused");
    let beside = Store::open_read_only(&inner).unwrap();
    assert!(beside.row("a").await.unwrap().is_some());
    assert!(matches!(beside.plan(plan(&["b"])).await, Err(Error::ReadOnly)));
    store.plan(plan(&["b"])).await.unwrap();
    assert!(beside.row("b").await.unwrap().is_some(), "sees what is written meanwhile");
    drop(store);
    let again = Store::open(&inner).unwrap();
    assert!(!again.is_fresh());
    assert_eq!(again.rows(Filter::default(), 9).await.unwrap().len(), 2);
    drop(again);
    assert!(Store::open_read_only(&inner).unwrap().row("a").await.unwrap().is_some(), "with nobody writing");
}

/// The files as they are while the process lives are what a kill leaves behind.
#[tokio::test]
async fn p_3_after_a_sudden_end_between_any_two_steps_everything_answered_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let epoch = store.claim().await.unwrap();
    let state = |folder: tempfile::TempDir| async move {
        let store = Store::open(folder.path()).unwrap();
        let epoch = store.claim().await.unwrap();
        store.recover(epoch, at(50), vec![]).await.unwrap();
        let row = store.row("a").await.unwrap();
        row.map(|row| (row.state.word(), row.possible_repeat, store.clone()))
    };
    assert!(state(copy_folder(folder.path())).await.is_none());
    store.plan(plan(&["a"])).await.unwrap();
    let (word, repeat, _) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("planned", false), "DLV-12");
    store.start("a", epoch, at(0), None).await.unwrap();
    let (word, repeat, after) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("retry_at", true), "DLV-11");
    assert!(!after.ledger("u1").await.unwrap().marks["key-a"].told);
    store.finish("a", epoch, at(1), None).await.unwrap();
    let (word, repeat, after) = state(copy_folder(folder.path())).await.unwrap();
    assert_eq!((word, repeat), ("done", false), "DLV-13");
    assert!(after.ledger("u1").await.unwrap().marks["key-a"].told);
}

/// A backlog of 100,000 events after a long outage: opened, recovered and searched without delay.
#[tokio::test]
async fn section_24_a_backlog_of_100_000_rows_is_opened_fast() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for start in (0..100_000).step_by(5_000) {
        let rows = (start..start + 5_000).map(|n| Row {
            app_uid: format!("u{}", n % 2_000),
            ..row(&format!("evt_{n:032x}"), "hook", &(n % 50).to_string())
        });
        store.plan(Plan { rows: rows.collect(), ..Plan::default() }).await.unwrap();
    }
    drop(store);
    let begun = Instant::now();
    let store = Store::open(folder.path()).unwrap();
    let opened = begun.elapsed();
    let epoch = store.claim().await.unwrap();
    store.recover(epoch, at(0), vec![]).await.unwrap();
    let found = store.due(at(0), 64, Skip::default()).await.unwrap();
    assert_eq!(found.len(), 64);
    let counts = store.counts().await.unwrap();
    assert_eq!(counts.states[0].rows, 100_000);
    let all = begun.elapsed();
    eprintln!("100,000 rows: opened in {opened:?}, at work in {all:?}");
    assert!(all < std::time::Duration::from_secs(10), "opened in {opened:?}, at work in {all:?}");
}

#[tokio::test]
async fn section_11_3_damage_is_refused_loudly_and_nothing_is_touched() {
    let sound = tempfile::tempdir().unwrap();
    let store = Store::open(sound.path()).unwrap();
    for n in 0..200 {
        store.plan(plan(&[&format!("e{n}")])).await.unwrap();
    }
    drop(store);
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 6] = [
        ("empty", |file| fs::write(file, b"").unwrap()),
        ("not a database", |file| fs::write(file, vec![b'x'; 8192]).unwrap()),
        ("another database", |file| {
            fs::remove_file(file).unwrap();
            Connection::open(file).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        }),
        ("bad pages", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[4096..].chunks_mut(4096).step_by(2).for_each(|page| page.fill(0xa5));
            fs::write(file, bytes).unwrap();
        }),
        ("cut short", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("newer", |file| Connection::open(file).unwrap().pragma_update(None, "user_version", 99).unwrap()),
    ];
    for (name, harm) in harms {
        let folder = copy_folder(sound.path());
        let file = folder.path().join("state.db");
        harm(&file);
        let before = fs::read(&file).unwrap();
        for result in [Store::open(folder.path()), Store::open_read_only(folder.path())] {
            match result.err() {
                Some(Error::Newer { found: 99, .. }) => assert_eq!(name, "newer"),
                Some(Error::Damaged { .. }) => assert_ne!(name, "newer"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(fs::read(&file).unwrap() == before, "{name}: changed");
    }
    let folder = copy_folder(sound.path());
    fs::remove_file(folder.path().join("state.db")).unwrap();
    fs::write(folder.path().join("state.db-wal"), b"log").unwrap();
    assert!(matches!(Store::open(folder.path()), Err(Error::Damaged { .. })), "log without file");
    assert!(matches!(Store::open_read_only(&folder.path().join("nowhere")), Err(Error::Io { .. })));
}

#[tokio::test]
async fn section_11_3_a_torn_tail_of_the_log_loses_only_what_was_not_answered() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.plan(plan(&["a"])).await.unwrap();
    let copy = copy_folder(folder.path());
    let log = copy.path().join("state.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(&[0x5a; 3000]);
    fs::write(&log, bytes).unwrap();
    let after = Store::open(copy.path()).unwrap();
    assert!(after.row("a").await.unwrap().is_some());
}

#[test]
fn out_15_a_place_that_vanishes_with_its_container_is_recognised() {
    let mounts = "22 1 0:21 / / rw,relatime - overlay overlay rw,lowerdir=/x\n\
                  23 22 8:1 / /data rw - ext4 /dev/sda1 rw\n\
                  24 22 0:5 / /run\\040here rw - tmpfs tmpfs rw\n\
                  25 22 0:9 / /state rw - nfs4 server:/x rw";
    for (folder, kind) in [
        ("/", Some("overlay")),
        ("/home/nonroot/state", Some("overlay")),
        ("/data", None),
        ("/data/lynceus", None),
        ("/database", Some("overlay")),
        ("/run here/x", Some("tmpfs")),
        ("/state", None),
    ] {
        assert_eq!(super::super::file::passing_mount(mounts, folder).as_deref(), kind, "{folder}");
    }
    assert_eq!(super::super::file::passing_mount("", "/x"), None);
}

/// Names the folder for the part of `out_11_disk_full_and_eio` that runs where files may not grow.
const SMALL: &str = "LYNCEUS_TEST_SMALL_FOLDER";

/// Files may not grow in the process this starts itself in again: a write fails there as on a broken disk, with an error
/// that SQLite calls I/O and not "full".
#[test]
fn out_11_disk_full_and_eio() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Ok(folder) = std::env::var(SMALL) {
        return runtime.block_on(write_where_files_may_not_grow(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "adapters::store::tests::file::out_11_disk_full_and_eio"])
        .env(SMALL, folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}\n{}", String::from_utf8_lossy(&child.stderr));
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(runtime.block_on(due(&store, 0)), ["small"], "nothing else came through");
}

async fn write_where_files_may_not_grow(folder: &Path) {
    let store = Store::open(folder).unwrap();
    let big = Plan { object: Some((0..4_000_000u32).flat_map(|n| n.to_le_bytes()).collect()), ..plan(&["a"]) };
    let error = store.plan(big.clone()).await.unwrap_err();
    assert_eq!(error.retry(), crate::core::retry::Retry::Backoff, "{error}");
    let (since, text) = store.trouble().expect("trouble");
    assert!(text.contains("I/O"), "{text}");
    assert!(store.row("a").await.unwrap().is_none() && !store.ledger("u1").await.unwrap().known, "all or nothing");
    store.plan(big).await.unwrap_err();
    assert_eq!(store.trouble().unwrap().0, since);
    store.plan(plan(&["small"])).await.unwrap();
    assert_eq!(store.trouble(), None, "what fits is stored");
    assert_eq!(due(&store, 0).await, ["small"]);
}
