//! What is known of images: kept, replaced, removed, and absent in an older file.

use super::*;
use crate::adapters::store::KeptListing;

#[tokio::test]
async fn reg_10_what_is_known_of_images_is_kept_over_an_opening_and_removed_when_it_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let rows = |from: u8, value: &[u8]| (from..from + 3).map(|n| ([n; 16], Some(value.to_vec()))).collect::<Vec<_>>();
    store.keep_metadata(rows(4, b"late"), at(9)).await.unwrap();
    store.keep_metadata(rows(0, b"one"), at(1)).await.unwrap();
    store.keep_metadata(vec![([1; 16], Some(b"two".to_vec())), ([2; 16], None)], at(2)).await.unwrap();
    drop(store);
    for store in [Store::open_read_only(folder.path()).unwrap(), Store::open(folder.path()).unwrap()] {
        let kept: Vec<(u8, Vec<u8>)> =
            store.metadata().await.unwrap().into_iter().map(|(key, value)| (key[0], value)).collect();
        let wanted: [(u8, &[u8]); 5] = [(0, b"one"), (1, b"two"), (4, b"late"), (5, b"late"), (6, b"late")];
        assert_eq!(kept, wanted.map(|(key, value)| (key, value.to_vec())));
    }
}

#[tokio::test]
async fn reg_12_of_listings_the_last_5_000_that_changed_are_kept() {
    let store = Store::memory().unwrap();
    let key = |n: i64| {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&n.to_be_bytes());
        key
    };
    let listing = |n: i64, tags: &str| KeptListing { key: key(n), at: n, tags: tags.to_owned() };
    store.keep_listings((0..5_000).map(|n| listing(n, "a")).collect()).await.unwrap();
    store.keep_listings(vec![listing(5_000, "a\nb")]).await.unwrap();
    assert_eq!(store.listing(key(0)).await.unwrap(), None);
    assert_eq!(store.listing(key(1)).await.unwrap(), Some(listing(1, "a")));
    assert_eq!(store.listing(key(5_000)).await.unwrap(), Some(listing(5_000, "a\nb")));
}

#[tokio::test]
async fn section_11_3_a_file_of_schema_1_is_brought_up_and_one_that_is_only_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.plan(plan(&["a"])).await.unwrap();
    drop(store);
    let file = Connection::open(folder.path().join("state.db")).unwrap();
    file.execute_batch("DROP TABLE metadata; DROP TABLE listing; PRAGMA user_version = 1;").unwrap();
    drop(file);
    let reader = Store::open_read_only(folder.path()).unwrap();
    assert!(reader.row("a").await.unwrap().is_some());
    assert_eq!(reader.metadata().await.unwrap(), []);
    assert_eq!(reader.listing([0; 16]).await.unwrap(), None);
    drop(reader);
    let store = Store::open(folder.path()).unwrap();
    assert!(!store.is_fresh() && store.row("a").await.unwrap().is_some());
    store.keep_metadata(vec![([7; 16], Some(b"x".to_vec()))], at(0)).await.unwrap();
    drop(store);
    let file = Connection::open(folder.path().join("state.db")).unwrap();
    let version: i64 = file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 2);
    assert_eq!(Store::open(folder.path()).unwrap().metadata().await.unwrap(), [([7; 16], b"x".to_vec())]);
}
