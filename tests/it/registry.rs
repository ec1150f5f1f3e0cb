//! The registry adapter: one suite, against the stand-in and against Debian's `docker-registry`, so that a stand-in
//! that lies is found out.

use lynceus::adapters::http::{Gate, Http};
use lynceus::adapters::registry::{Access, Credential, Endpoint, Options, Question, Registries};
use lynceus::config::registries;
use lynceus::config::secret::Secret;
use lynceus::core::image::{Detail, ImageRef, Platform};
use lynceus::demo::registry as stage;

use crate::support::real;

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-02-02T03:04:05.678Z";
const AMD: &str = "linux/amd64";
const ARM: &str = "linux/arm64/v8";

/// A registry, whoever plays it.
enum Peer {
    Stage(stage::Registry),
    Real(Box<real::Registry>),
}

impl Peer {
    async fn stage(account: Option<(&str, &str)>, token: bool) -> Peer {
        let registry = stage::Registry::start().await.expect("a port");
        let account = account.map(|(user, password)| (user.to_owned(), password.to_owned()));
        registry.behave(|habits| {
            habits.auth = match account {
                None => stage::Auth::Open,
                Some((user, password)) if !token => stage::Auth::Basic(user, password),
                some => stage::Auth::Token(some),
            };
        });
        Peer::Stage(registry)
    }

    async fn real(account: Option<(&str, &str)>, token: bool) -> Peer {
        let access = match account {
            None => real::Access::Open,
            Some((user, password)) if token => real::Access::Token(user.into(), password.into()),
            Some((user, password)) => real::Access::Basic(user.into(), password.into()),
        };
        Peer::Real(Box::new(real::Registry::start(access).await))
    }

    fn host(&self) -> String {
        match self {
            Peer::Stage(registry) => registry.host(),
            Peer::Real(registry) => registry.host(),
        }
    }

    async fn push(&self, tag: &str, created: &str, platforms: &[&str]) -> String {
        let image = |platform: &&str| real::Image::new(tag, created).platform(platform);
        match (self, platforms) {
            (Peer::Stage(registry), _) => registry.push("team/app", tag, created, platforms),
            (Peer::Real(registry), [one]) => registry.push("team/app", tag, &image(one)).await.digest,
            (Peer::Real(registry), many) => {
                let images: Vec<real::Image> = many.iter().map(image).collect();
                registry.push_index("team/app", tag, &images).await.digest
            }
        }
    }

    /// More tags of an image that is there.
    async fn tag(&self, from: &str, created: &str, tags: Vec<String>) {
        match self {
            Peer::Stage(registry) => registry.push_tags("team/app", created, tags.iter().map(String::as_str)),
            Peer::Real(registry) => registry.tag("team/app", from, tags).await,
        }
    }

    fn registries(&self) -> Registries {
        let host = self.host();
        let text = format!("registries:\n- name: peer\n  prefix: {host}\n  api_url: http://{host}\n  limit: -1\n");
        let conf = registries::Registries::parse(&text).expect("an entry");
        Registries::new(Http::new(Gate::Central), conf, Options::default())
    }

    fn image(&self) -> ImageRef {
        ImageRef::parse_reference(&format!("{}/team/app", self.host())).expect("a reference")
    }
}

/// What every registry must give, whatever its access: listing, paging, dates, platforms, digests, refusals.
async fn suite(label: &str, peer: Peer, account: Option<(&str, &str)>) {
    let one = peer.push("1.0", OLD, &[AMD]).await;
    let many = peer.push("1.1", NEW, &[AMD, ARM]).await;
    let more: Vec<String> = (0..250).map(|n| format!("build-{n:04}")).collect();
    peer.tag("1.0", OLD, more.clone()).await;

    let registries = peer.registries();
    let endpoint = registries.endpoint_of(&peer.image());
    let credential =
        account.map(|(user, password)| Credential { user: user.to_owned(), password: Secret::new(password) });
    let access = Access::from(credential.as_ref());

    registries.ping(&endpoint, access).await.unwrap_or_else(|e| panic!("{label}: {e}"));
    let mut tags = registries.tags(&endpoint, "team/app", access).await.unwrap_or_else(|e| panic!("{label}: {e}")).tags;
    tags.sort();
    let mut wanted = vec!["1.0".to_owned(), "1.1".to_owned()];
    wanted.extend(more);
    assert_eq!(tags, wanted, "{label}");

    let found = describe(&registries, &endpoint, &["1.0", "1.1", "gone"], Detail::Created, access).await;
    let view = |platform: &str| {
        let platforms = [Platform::parse(platform).expect("a platform")];
        found.iter().map(|d| d.candidate(&platforms)).collect::<Vec<_>>()
    };
    let (amd, arm) = (view(AMD), view("linux/arm64"));
    assert_eq!([amd[0].digest.as_ref(), amd[1].digest.as_ref()], [Some(&one), Some(&many)], "{label}");
    assert_eq!(amd[0].created, Some(OLD.parse().expect("a date")), "{label}");
    assert_eq!(amd[1].created, Some(NEW.parse().expect("a date")), "{label}");
    assert_eq!([arm[0].platform_ok, arm[1].platform_ok], [Some(false), Some(true)], "{label}");
    assert!(amd[2].note.as_deref().is_some_and(|note| note.contains("not found")), "{label}: {:?}", amd[2]);

    // A second look costs HEADs only; a tag pushed anew is noticed.
    let before = endpoint.requests();
    describe(&registries, &endpoint, &["1.0", "1.1"], Detail::Created, access).await;
    let after = endpoint.requests();
    assert_eq!(
        (after.heads - before.heads, after.manifests, after.blobs),
        (2, before.manifests, before.blobs),
        "{label}"
    );
    let again = peer.push("1.0", NEW, &[AMD, ARM]).await;
    assert_eq!(registries.digest(&endpoint, "team/app", "1.0", access).await, Ok(again), "{label}");

    let missing = registries.tags(&endpoint, "team/none", access).await.expect_err("no such repository");
    assert!(matches!(missing.kind(), "reference-invalid" | "registry-auth"), "{label}: {missing}");
    if account.is_some() {
        for wrong in [None, Some(Credential { user: "bot".into(), password: Secret::new("wrong-password") })] {
            let refused = registries.tags(&endpoint, "team/app", Access::from(wrong.as_ref())).await;
            let refused = refused.expect_err("refused");
            assert_eq!(refused.kind(), "registry-auth", "{label}: {refused}");
            assert!(!refused.to_string().contains("wrong-password"), "{label}: {refused}");
        }
    }
}

async fn describe(
    registries: &Registries,
    endpoint: &Endpoint,
    tags: &[&str],
    detail: Detail,
    access: Access<'_>,
) -> Vec<lynceus::adapters::registry::Described> {
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    let platforms = [Platform::parse(AMD).expect("a platform"), Platform::parse(ARM).expect("a platform")];
    let question = Question { tags: &tags, detail, platforms: &platforms, ..Question::default() };
    registries.describe(endpoint, "team/app", question, access).await.expect("an answer")
}

const ACCOUNT: Option<(&str, &str)> = Some(("bot", "hunter22"));

#[tokio::test(flavor = "multi_thread")]
async fn reg_6_to_10_open_registries() {
    suite("stage", Peer::stage(None, false).await, None).await;
    suite("real", Peer::real(None, false).await, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_5_registries_that_want_a_password() {
    suite("stage", Peer::stage(ACCOUNT, false).await, ACCOUNT).await;
    suite("real", Peer::real(ACCOUNT, false).await, ACCOUNT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_5_registries_that_want_a_token() {
    suite("stage", Peer::stage(ACCOUNT, true).await, ACCOUNT).await;
    suite("real", Peer::real(ACCOUNT, true).await, ACCOUNT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reg_16_a_real_registry_over_tls_is_trusted_by_its_authority_only() {
    let registry = real::Registry::start_tls(real::Access::Open).await;
    registry.push("team/app", "1.0", &real::Image::new("one", OLD)).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, registry.ca()).expect("a file");
    let data: String = registry.ca().lines().map(|line| format!("    {line}\n")).collect();
    let image = ImageRef::parse_reference(&format!("{}/team/app", registry.host())).expect("a reference");
    for (label, lines, good) in [
        ("nothing", String::new(), false),
        ("ca_file", format!("  ca_file: {}\n", file.display()), true),
        ("ca_data", format!("  ca_data: |\n{data}"), true),
        ("insecure", "  insecure: true\n".to_owned(), true),
    ] {
        let host = registry.host();
        let text = format!("registries:\n- name: peer\n  prefix: {host}\n  api_url: {}\n{lines}", registry.base());
        let conf = registries::Registries::parse(&text).unwrap_or_else(|p| panic!("{label}: {p:?}"));
        let registries = Registries::new(Http::new(Gate::Central), conf, Options::default());
        let endpoint = registries.endpoint_of(&image);
        match registries.tags(&endpoint, "team/app", Access::default()).await {
            Ok(listing) => assert!(good && listing.tags == ["1.0"], "{label}: {listing:?}"),
            Err(e) => assert!(
                !good && e.kind() == "registry-unreachable" && e.to_string().contains("not trusted"),
                "{label}: {e}"
            ),
        }
        if label == "nothing" {
            // REG-16: never retried, securely or not.
            assert_eq!(endpoint.requests().total(), 1);
        }
    }
}
