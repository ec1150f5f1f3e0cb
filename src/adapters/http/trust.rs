//! Whom a connection believes: roots, client certificate, proxy, and the switch that believes everybody.

use super::error::Error;
use crate::config::secret::Secret;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};

/// Trust settings of one peer. Two equal values share their connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Which certificate authorities are believed.
    pub roots: Roots,
    /// Believe any certificate and name. Whoever sets it keeps a standing problem visible.
    pub insecure: bool,
    /// Certificate shown to the peer, if it asks.
    pub identity: Option<ClientIdentity>,
    /// How to get out.
    pub proxy: Proxy,
}

/// Certificate authorities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Those of the system.
    #[default]
    System,
    /// Those of the system and these PEM texts (`ca_file`, `ca_data` of registries.conf).
    Also(Vec<Arc<str>>),
    /// These PEM texts and no others (HTTP-02).
    Only(Vec<Arc<str>>),
}

/// A client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM: the certificate, then intermediates.
    pub certificate: Arc<str>,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: Secret,
}

/// How to get out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` say (HTTP-03, REG-16).
    #[default]
    Environment,
    /// Directly.
    Direct,
    /// Through this one, except for the hosts of `no_proxy` (the form of `NO_PROXY`).
    Through {
        /// `http://`, `https://` or `socks5://`; may carry a user and password, hence secret.
        url: Secret,
        /// Comma-separated exceptions.
        no_proxy: String,
    },
}

impl Trust {
    /// A digest that is equal for equal settings. Not for display: it covers secrets.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        let mut all = Sha256::new();
        let mut part = |tag: &str, bytes: &[u8]| {
            all.update(tag.as_bytes());
            all.update((bytes.len() as u64).to_be_bytes());
            all.update(bytes);
        };
        let (tag, pems): (&str, &[Arc<str>]) = match &self.roots {
            Roots::System => ("system", &[]),
            Roots::Also(pems) => ("also", pems),
            Roots::Only(pems) => ("only", pems),
        };
        part(tag, &[u8::from(self.insecure)]);
        pems.iter().for_each(|pem| part("pem", pem.as_bytes()));
        if let Some(identity) = &self.identity {
            part("certificate", identity.certificate.as_bytes());
            part("key", identity.key.expose());
        }
        match &self.proxy {
            Proxy::Environment => part("environment", &[]),
            Proxy::Direct => part("direct", &[]),
            Proxy::Through { url, no_proxy } => {
                part("through", url.expose());
                part("except", no_proxy.as_bytes());
            }
        }
        all.finalize().into()
    }
}

/// Whether a text holds certificates that can be roots.
///
/// # Errors
/// [`Error::BadTrust`] says what is wrong with it.
pub fn check_roots(pem: &str) -> Result<(), Error> {
    let unusable = |why: String| Error::BadTrust { what: "private root".into(), why };
    for certificate in certificates(pem.as_bytes(), "private root")? {
        RootCertStore::empty().add(certificate).map_err(|e| unusable(e.to_string()))?;
    }
    Ok(())
}

/// The rustls configuration these settings mean: TLS 1.2 or newer, HTTP/2 offered first.
pub(super) fn tls_config(trust: &Trust) -> Result<rustls::ClientConfig, Error> {
    let provider = provider();
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::BadTrust { what: "TLS".into(), why: e.to_string() })?;
    let verifier: Arc<dyn ServerCertVerifier> =
        if trust.insecure { Arc::new(Anybody(provider)) } else { Arc::new(verifier(&trust.roots, provider)?) };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &trust.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = certificates(identity.certificate.as_bytes(), "client certificate")?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.expose())
                .map_err(|_| Error::BadTrust { what: "client key".into(), why: "no PEM private key in it".into() })?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| Error::BadTrust { what: "client certificate".into(), why: e.to_string() })?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match read {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(Error::BadTrust { what: what.into(), why: "no PEM certificate in it".into() }),
        Err(e) => Err(Error::BadTrust { what: what.into(), why: format!("{e}") }),
    }
}

/// The system's roots, read once: they belong to the image the process runs in.
fn system_roots() -> RootCertStore {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let read = || {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    };
    SYSTEM.get_or_init(read).clone()
}

fn verifier(roots: &Roots, provider: Arc<CryptoProvider>) -> Result<Verifier, Error> {
    let (mut store, pems): (RootCertStore, &[Arc<str>]) = match roots {
        Roots::System => (system_roots(), &[]),
        Roots::Also(pems) => (system_roots(), pems),
        Roots::Only(pems) => (RootCertStore::empty(), pems),
    };
    let mut named = Vec::new();
    for pem in pems {
        for certificate in certificates(pem.as_bytes(), "private root")? {
            store
                .add(certificate.clone())
                .map_err(|e| Error::BadTrust { what: "private root".into(), why: e.to_string() })?;
            named.push(certificate);
        }
    }
    if store.is_empty() {
        // rustls refuses to verify against nothing; then nothing is trusted.
        return Ok(Verifier { inner: None, named, provider });
    }
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|e| Error::BadTrust { what: "roots".into(), why: e.to_string() })?;
    Ok(Verifier { inner: Some(inner), named, provider })
}

/// The usual verification, plus one case Go accepts and webpki does not: the server shows exactly a certificate that
/// was named as a root, although it is marked as an authority (`openssl req -x509` makes such).
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else {
            return Err(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // webpki looks at the validity period before it looks at this mark, so the dates are good here.
            Err(error) if is_authority_as_server(&error) && self.named.iter().any(|root| root == end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// webpki's own error type is not re-exported; its name is what can be recognised.
fn is_authority_as_server(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other))
        if format!("{other:?}").contains("CaUsedAsEndEntity"))
}

/// `insecure`: the handshake must be sound, the certificate may be anybody's.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
