//! What the follower publishes and keeps, and what files give.

use super::*;

fn documents(config: &[(&str, &str)], secret: &[(&str, &str)]) -> Documents {
    Documents {
        config: Some(config.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()),
        secret: Some(secret.iter().map(|(k, v)| (k.to_string(), Secret::new(v.to_string()))).collect()),
        problems: Vec::new(),
    }
}

fn follower(store: &Store) -> (Follower, watch::Receiver<Arc<Compiled>>, Board) {
    let (rules, receiver) = watch::channel(Arc::new(Compiled::default()));
    let board = Board::default();
    let follower = Follower {
        rules: Arc::new(rules),
        store: store.clone(),
        board: board.clone(),
        catalog: CatalogMode::Auto,
        object: "ConfigMap argocd/argocd-notifications-cm".into(),
        clock: Clock::start(jiff::Timestamp::UNIX_EPOCH),
    };
    (follower, receiver, board)
}

/// Follows these documents to their end; what was published, in order.
async fn published(store: &Store, all: Vec<Documents>) -> (Vec<Arc<Compiled>>, Board) {
    let (follower, mut receiver, board) = follower(store);
    let (sender, stream) = tokio::sync::mpsc::unbounded_channel::<Documents>();
    let stream = futures::stream::unfold(stream, |mut s| async move { s.recv().await.map(|d| (d, s)) });
    let task = tokio::spawn(follower.run(stream.boxed(), CancellationToken::new()));
    let mut found = Vec::new();
    for documents in all {
        sender.send(documents).unwrap();
        if tokio::time::timeout(Duration::from_secs(2), receiver.changed()).await.is_ok_and(|changed| changed.is_ok()) {
            found.push(receiver.borrow_and_update().clone());
        }
    }
    drop(sender);
    task.await.unwrap();
    (found, board)
}

#[tokio::test]
async fn cfg_02_missing_documents_are_empty_no_error_and_said() {
    let store = Store::memory().unwrap();
    let (found, board) = published(&store, vec![Documents::default()]).await;
    assert_eq!(found[0].notifications.rules.triggers.len(), 13, "the built-in ones: eight, and five for images");
    assert_eq!(board.status().problem_count(), 0);
    let said: Vec<String> = board.status().problems["notifications documents"].iter().map(|p| p.text.clone()).collect();
    assert!(said[0].starts_with("there is no ConfigMap") && said[1].starts_with("there is no Secret"), "{said:?}");
    assert!(board.status().ready.contains("configuration"));
}

#[tokio::test]
async fn cfg_04_each_change_is_compiled_once_and_nothing_else_is() {
    let store = Store::memory().unwrap();
    let one = documents(&[("trigger.t", "- when: 'true'")], &[]);
    let two = documents(&[("trigger.t", "- when: 'false'")], &[]);
    let rotated = documents(&[("trigger.t", "- when: 'false'")], &[("token", "x")]);
    let (found, _) = published(&store, vec![one.clone(), one.clone(), two, rotated]).await;
    let sources: Vec<&str> = found
        .iter()
        .map(|c| c.notifications.rules.triggers["t"].conditions[0].when.as_ref().unwrap().source())
        .collect();
    // The same documents again publish nothing; evaluations share what was published (`Arc`) and compile nothing.
    assert_eq!(sources, ["true", "false", "false"]);
}

#[tokio::test]
async fn cfg_01_st_13_last_good_texts_and_known_triggers_survive_a_restart() {
    let store = Store::memory().unwrap();
    let good = documents(&[("trigger.t", "- when: 'true'\n  oncePer: app.a"), ("template.m", "message: one")], &[]);
    published(&store, vec![good]).await;
    // Another process meets broken texts first, then an edit.
    let broken = documents(&[("trigger.t", "- when: '('"), ("template.m", "message: '{{.x'")], &[]);
    let (found, _) = published(&store, vec![broken]).await;
    let rules = &found[0].notifications.rules;
    assert_eq!(rules.triggers["t"].conditions[0].when.as_ref().unwrap().source(), "true");
    assert_eq!(rules.known.renamed().count(), 0, "a broken text is no edit");
    let edited = documents(&[("trigger.t", "- when: 1 == 1\n  oncePer: app.b"), ("template.m", "message: two")], &[]);
    let (found, _) = published(&store, vec![edited]).await;
    let rules = &found[0].notifications.rules;
    assert_eq!(rules.known.renamed().count(), 1);
    assert_eq!(rules.triggers["t"].conditions[0].former_once_per.len(), 1);
    // Gone is gone.
    published(&store, vec![documents(&[], &[])]).await;
    assert_eq!(store.texts(GOOD).await.unwrap(), BTreeMap::new());
    assert!(store.texts(KNOWN).await.unwrap()[&format!("{KNOWN}t")].contains("removed"));
}

#[tokio::test(start_paused = true)]
async fn prb_04_files_are_read_again_and_a_broken_one_costs_nothing_that_was_good() {
    let folder = tempfile::tempdir().unwrap();
    let (config, secret) = (folder.path().join("cm.yaml"), folder.path().join("secret.yaml"));
    let names = ("cm".to_owned(), "secret".to_owned());
    let mut stream = from_files(Some(config.clone()), Some(secret.clone()), names).boxed();
    let first = stream.next().await.unwrap();
    assert_eq!(first, Documents::default(), "nothing is there yet");
    let map = |value: &str| format!("kind: ConfigMap\nmetadata: {{name: cm}}\ndata: {{k: {value}}}\n");
    let keys = "kind: Secret\nmetadata: {name: secret}\nstringData: {token: x}\n";
    // (ConfigMap file, what is in force, what is said)
    for (text, in_force, said) in [
        (map("one"), "one", 0),
        (format!("{}---\nkind: [\n", map("two")), "two", 1),
        ("kind: [\n".to_owned(), "two", 1),
        ("kind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\nmetadata: {name: b}\n".to_owned(), "two", 1),
        (map("three"), "three", 0),
    ] {
        std::fs::write(&config, &text).unwrap();
        std::fs::write(&secret, keys).unwrap();
        let found = stream.next().await.unwrap();
        assert_eq!(found.config.unwrap()["k"], in_force, "{text}");
        assert_eq!(found.secret.unwrap()["token"], Secret::new("x".to_owned()));
        assert_eq!(found.problems.len(), said, "{text}: {:?}", found.problems);
        assert!(found.problems.iter().all(|p| p.object == config.display().to_string()));
    }
    std::fs::remove_file(&config).unwrap();
    assert_eq!(stream.next().await.unwrap().config, None);
}
