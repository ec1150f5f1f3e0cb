//! Whom the client believes: private roots, self-signed servers, client certificates.

use super::*;

struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: Arc<str>,
}

fn authority() -> Authority {
    let mut params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Authority { pem: certificate.pem().into(), issuer: rcgen::Issuer::new(params, key) }
}

fn acceptor(
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    key: &rcgen::KeyPair,
    client: Option<&str>,
) -> TlsAcceptor {
    use rustls_pki_types::pem::PemObject;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let builder = match client {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            let root = rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).expect("a PEM");
            roots.add(root).expect("a root");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let key = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).expect("a configuration")))
}

fn leaf(
    authority: &Authority,
    name: &str,
    change: impl FnOnce(&mut rcgen::CertificateParams),
) -> (rcgen::Certificate, rcgen::KeyPair) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
    change(&mut params);
    let key = rcgen::KeyPair::generate().expect("a key");
    (params.signed_by(&key, &authority.issuer).expect("a certificate"), key)
}

async fn tls_get(http: &Http, host: &str, port: u16, trust: &Trust) -> Result<Reply, Error> {
    let url = Url::parse(&format!("https://{host}:{port}/")).expect("a URL");
    http.request(Method::GET, url).trust(trust).limits(quick(Limits::MESSAGE)).send().await
}

#[tokio::test]
async fn http_02_private_roots_replace_every_other() {
    let (ours, theirs) = (authority(), authority());
    let (certificate, key) = leaf(&ours, "localhost", |_| {});
    let peer =
        Peer::over(Some(acceptor(vec![certificate.der().clone()], &key, None)), |_| reply("200 OK", "", b"")).await;
    let only = |pem: &Arc<str>| Trust { roots: Roots::Only(vec![pem.clone()]), ..Trust::default() };
    let also = |pem: &Arc<str>| Trust { roots: Roots::Also(vec![pem.clone()]), ..Trust::default() };
    let insecure = Trust { insecure: true, ..Trust::default() };
    let http = http();
    for (label, trust, good) in [
        ("system", Trust::default(), false),
        ("the right root only", only(&ours.pem), true),
        ("the right root as well", also(&ours.pem), true),
        ("a wrong root", only(&theirs.pem), false),
        ("insecure", insecure.clone(), true),
    ] {
        let got = tls_get(&http, "localhost", peer.port, &trust).await;
        match got {
            Ok(_) => assert!(good, "{label}"),
            Err(e) => {
                assert!(!good && matches!(e, Error::UntrustedCertificate { .. }), "{label}: {e:?}");
                assert_eq!(e.retry(), Retry::Never, "{label}");
            }
        }
    }
    // Roots per host, port stripped, name in any case; they replace the system's and join additional ones.
    http.set_host_roots([("LOCALHOST".to_owned(), vec![ours.pem.clone()])].into());
    tls_get(&http, "localhost", peer.port, &Trust::default()).await.expect("trusted by host");
    tls_get(&http, "localhost", peer.port, &also(&theirs.pem)).await.expect("trusted as well");
    assert_eq!(http.host_roots("localhost").map(|pems| pems.len()), Some(1));
    // Hot reload, also while a connection is pooled.
    http.set_host_roots([("localhost".to_owned(), vec![theirs.pem.clone()])].into());
    let got = tls_get(&http, "localhost", peer.port, &Trust::default()).await;
    assert!(matches!(got, Err(Error::UntrustedCertificate { .. })), "{got:?}");
    // The right authority, another name.
    let got = tls_get(&http, "127.0.0.1", peer.port, &only(&ours.pem)).await;
    assert!(matches!(got, Err(Error::UntrustedCertificate { .. })), "{got:?}");
}

#[tokio::test]
async fn http_02_a_root_that_is_the_servers_own_certificate() {
    // As `openssl req -x509` makes it: an authority that serves.
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    let expired = {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.self_signed(&key).expect("a certificate")
    };
    let answer = |_: &str| reply("200 OK", "", b"");
    let good = Peer::over(Some(acceptor(vec![certificate.der().clone()], &key, None)), answer).await;
    let old = Peer::over(Some(acceptor(vec![expired.der().clone()], &key, None)), answer).await;
    let named = |pem: String| Trust { roots: Roots::Only(vec![pem.into()]), ..Trust::default() };
    let http = http();
    tls_get(&http, "localhost", good.port, &named(certificate.pem())).await.expect("exactly this one is trusted");
    for (label, host, port, pem) in [
        ("another name", "127.0.0.1", good.port, certificate.pem()),
        ("expired", "localhost", old.port, expired.pem()),
        ("not named", "localhost", good.port, authority().pem.to_string()),
    ] {
        let got = tls_get(&http, host, port, &named(pem)).await;
        assert!(matches!(got, Err(Error::UntrustedCertificate { .. })), "{label}: {got:?}");
    }
}

#[tokio::test]
async fn client_certificates_are_shown_where_asked() {
    let ours = authority();
    let (certificate, key) = leaf(&ours, "localhost", |_| {});
    let peer = Peer::over(Some(acceptor(vec![certificate.der().clone()], &key, Some(&ours.pem))), |_| {
        reply("200 OK", "", b"")
    })
    .await;
    let (mine, my_key) =
        leaf(&ours, "bot", |params| params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth]);
    let roots = Roots::Only(vec![ours.pem.clone()]);
    let bare = Trust { roots: roots.clone(), ..Trust::default() };
    let error = tls_get(&http(), "localhost", peer.port, &bare).await.expect_err("a certificate is demanded");
    assert!(matches!(error, Error::NotSent { cause: Cause::Tls, .. }), "{error:?}");
    let identity = ClientIdentity { certificate: mine.pem().into(), key: Secret::new(my_key.serialize_pem()) };
    let shown = Trust { roots, identity: Some(identity.clone()), ..Trust::default() };
    tls_get(&http(), "localhost", peer.port, &shown).await.expect("an answer");
    assert!(!format!("{shown:?}").contains("PRIVATE"), "{shown:?}");
    for (label, trust) in [
        ("no PEM root", Trust { roots: Roots::Only(vec!["nothing".into()]), ..Trust::default() }),
        (
            "no PEM key",
            Trust { identity: Some(ClientIdentity { key: Secret::new("x"), ..identity }), ..Trust::default() },
        ),
    ] {
        let got = tls_get(&http(), "localhost", peer.port, &trust).await;
        assert!(matches!(got, Err(Error::BadTrust { .. })), "{label}: {got:?}");
    }
}
