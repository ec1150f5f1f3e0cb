//! Registries against the stand-in, well-behaved and scripted.

mod auth;
mod credentials;
mod hostile;
mod listing;
mod metadata;
mod pace;

use super::*;
use crate::adapters::http::Gate;
use crate::config::secret::Secret;
use crate::demo::registry::{Auth, Registry};

/// A stand-in and the registries that know it.
struct Stage {
    registry: Registry,
    registries: Registries,
}

impl Stage {
    async fn new() -> Stage {
        Stage::with("", Options::default()).await
    }

    /// With more lines in the registry's entry, each indented by two blanks.
    async fn with(more: &str, options: Options) -> Stage {
        let registry = Registry::start().await.expect("a port");
        let text = format!("registries:\n{}{more}", registry.entry());
        let conf = conf::Registries::parse(&text).expect("the stage's entry");
        let http = Http::new(Gate::Central);
        Stage { registries: Registries::new(http, conf, options), registry }
    }

    fn image(&self, path: &str) -> ImageRef {
        ImageRef::parse_reference(&format!("{}/{path}", self.registry.host())).expect("a reference")
    }

    fn endpoint(&self) -> Arc<Endpoint> {
        self.registries.endpoint_of(&self.image("team/app"))
    }

    async fn tags(&self, path: &str) -> Result<Vec<String>, Error> {
        self.list(path, Access::default()).await.map(|listing| listing.tags)
    }

    async fn list(&self, path: &str, access: Access<'_>) -> Result<Listing, Error> {
        self.registries.tags(&self.endpoint(), path, access).await
    }

    async fn describe(&self, tags: &[&str], detail: Detail, platforms: &[&str]) -> Result<Vec<Candidate>, Error> {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.registries
            .candidates(&self.image("team/app"), &tags, detail, &self.platforms(platforms), Access::default())
            .await
    }

    fn platforms(&self, texts: &[&str]) -> Vec<Platform> {
        texts.iter().map(|text| Platform::parse(text).expect("a platform")).collect()
    }

    /// What was asked, as `GET /v2/… 200`, and forgets it.
    fn asked(&self) -> Vec<String> {
        let log = self.registry.log();
        self.registry.clear_log();
        log.iter().map(|seen| format!("{} {} {}", seen.method, seen.path, seen.status)).collect()
    }
}

fn credential(user: &str, password: &str) -> Credential {
    Credential { user: user.to_owned(), password: Secret::new(password) }
}

fn token_auth() -> Auth {
    Auth::Token(Some(("bot".into(), "hunter2".into())))
}
