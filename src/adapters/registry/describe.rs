//! What tags name: digests, dates, platforms, labels, with as few requests as that takes (REG-7 to REG-10).

use super::endpoint::{Endpoint, Kind};
use super::error::Error;
use super::exchange::{Ask, exchange};
use super::manifest::{self, Built, Manifest};
use super::metadata::{self, Fact, Image, Metadata, Seen};
use super::{Access, Options};
use crate::adapters::http::{Http, Limits, Method, Reply};
use crate::core::image::{Candidate, Detail, Platform};
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MANIFEST_BYTES: usize = 4 << 20;
const CONFIGURATION_BYTES: usize = 8 << 20;
/// Metadata requests in flight per repository (REG-9).
const IN_FLIGHT: usize = 20;
/// Index in index, no deeper (§25).
const DEPTH: u8 = 2;
/// The newest tags, whose digests are looked at in every poll (REG-10).
const NEWEST: usize = 10;
/// Every digest is looked at again after half a day to 23 hours, each tag after its own time: what was learnt at once is
/// not looked at in one burst a day later, and 24 hours are kept with any interval up to an hour (REG-10).
const RECHECK: (f64, f64) = (12.0 * 3600.0, 23.0 * 3600.0);

/// What is asked about tags of one repository.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The tags.
    pub tags: &'a [String],
    /// What must be known of them.
    pub detail: Detail,
    /// For which platforms; the union over all users.
    pub platforms: &'a [Platform],
    /// Tags in use: their digests are looked at in every poll (REG-10).
    pub desired: &'a [String],
    /// A digest seen this short a time ago needs no look: the question belongs to a poll that began then (CYC-5).
    pub seen_within: Duration,
    /// Nothing is asked: only what is remembered counts, and what is not has a note (REG-12).
    pub from_memory: bool,
}

impl Default for Question<'_> {
    fn default() -> Self {
        Question {
            tags: &[],
            detail: Detail::Names,
            platforms: &[],
            desired: &[],
            seen_within: Duration::ZERO,
            from_memory: false,
        }
    }
}

/// What a registry said of one tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// The tag.
    pub tag: String,
    /// Digest of what it names.
    pub digest: Option<String>,
    /// The images behind it: one, or an index's entries.
    pub images: Vec<Behind>,
    /// Why nothing more is known.
    pub note: Option<String>,
    detail: Option<Detail>,
}

/// An image behind a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// What it was built for.
    pub built: Built,
    /// When, if that was asked.
    pub created: Option<jiff::Timestamp>,
    /// Its labels, if its configuration was read.
    pub labels: Arc<BTreeMap<String, String>>,
    /// Why it could not be read.
    pub note: Option<String>,
}

impl Described {
    /// The tag as one user of `platforms` sees it: the newest date among the images that match (REG-9).
    pub fn candidate(&self, platforms: &[Platform]) -> Candidate {
        let mut candidate =
            Candidate { digest: self.digest.clone(), note: self.note.clone(), ..Candidate::named(&*self.tag) };
        if self.detail.is_none_or(|detail| detail == Detail::Names) || self.note.is_some() {
            return candidate;
        }
        let matching: Vec<&Behind> = self.images.iter().filter(|image| wanted(&image.built, platforms)).collect();
        candidate.platform_ok = Some(!matching.is_empty());
        if self.detail == Some(Detail::Created) && !matching.is_empty() {
            candidate.created = matching.iter().filter_map(|image| image.created).max();
            // A date of one image does not excuse the missing date of another: it might be the newer one.
            candidate.note = matching.iter().find_map(|image| image.note.clone());
            if candidate.created.is_none() && candidate.note.is_none() {
                candidate.note = Some("its configuration holds no date".into());
            }
        }
        candidate
    }

    /// The labels of the first image that matches (TAG-7).
    pub fn labels(&self, platforms: &[Platform]) -> Arc<BTreeMap<String, String>> {
        let image = self.images.iter().find(|image| wanted(&image.built, platforms));
        image.map(|image| image.labels.clone()).unwrap_or_default()
    }
}

fn wanted(built: &Built, platforms: &[Platform]) -> bool {
    platforms.iter().any(|platform| platform.matches(&built.os, &built.arch, built.variant.as_deref()))
}

/// The parts every look-up needs.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) http: &'a Http,
    pub(super) options: &'a Options,
    pub(super) metadata: &'a Metadata,
    pub(super) endpoint: &'a Endpoint,
    pub(super) repository: &'a str,
    pub(super) access: Access<'a>,
    /// Nothing may be asked.
    pub(super) mute: bool,
}

/// A manifest as it came.
struct Delivered {
    digest: String,
    content: Result<Manifest, String>,
}

impl Look<'_> {
    /// Answers the question tag by tag, in its order.
    pub(super) async fn describe(self, question: Question<'_>) -> Result<Vec<Described>, Error> {
        if question.detail == Detail::Names {
            let plain = |tag: &String| Described { tag: tag.clone(), ..Described::default() };
            return Ok(question.tags.iter().map(plain).collect());
        }
        let fresh = if question.from_memory { HashSet::new() } else { self.due_for_look(question) };
        let each = question.tags.iter().map(|tag| {
            let again = fresh.contains(tag.as_str());
            // The tag in use is asked about even when the budget runs low (REG-11).
            let urgent = self.access.urgent || question.desired.contains(tag);
            let look = Look { access: Access { urgent, ..self.access }, mute: question.from_memory, ..self };
            async move {
                match look.one(tag, question.detail, question.platforms, again).await {
                    Ok(described) => Ok(described),
                    Err(e) if e.concerns_one_tag() => {
                        let note = Some(e.to_string());
                        Ok(Described { tag: tag.clone(), note, detail: Some(question.detail), ..Described::default() })
                    }
                    Err(e) => Err(e),
                }
            }
        });
        // Boxed one by one: a stream of unnamed futures over borrowed tags cannot be shown to be `Send`.
        let each: Vec<futures::future::BoxFuture<'_, _>> = each.map(FutureExt::boxed).collect();
        let mut answers = futures::stream::iter(each).buffered(IN_FLIGHT);
        let mut described = Vec::with_capacity(question.tags.len());
        while let Some(answer) = answers.next().await {
            described.push(answer?);
        }
        Ok(described)
    }

    /// The tags whose digest must be looked at although it is remembered (REG-10).
    fn due_for_look<'q>(&self, question: Question<'q>) -> HashSet<&'q str> {
        let mut fresh = HashSet::new();
        let now = unix_now();
        let registry = self.registry();
        let mut dated: Vec<(jiff::Timestamp, &str, bool)> = Vec::new();
        for tag in question.tags {
            let Some(seen) = self.metadata.tag(&registry, self.repository, tag) else { continue };
            let age = now - seen.at;
            let just_seen = age >= 0 && (age as u64) < question.seen_within.as_secs();
            let recheck = RECHECK.0 + (RECHECK.1 - RECHECK.0) * metadata::share(&registry, self.repository, tag);
            // A time ahead of the clock is no time.
            let due = question.detail == Detail::Digest || age as f64 >= recheck || age < -60;
            if (due || question.desired.contains(tag)) && !just_seen {
                fresh.insert(tag.as_str());
            }
            if let Some(created) = self.remembered_date(&seen.digest) {
                dated.push((created, tag, just_seen));
            }
        }
        dated.sort_unstable_by(|a, b| b.cmp(a));
        fresh.extend(dated.into_iter().take(NEWEST).filter(|(_, _, just_seen)| !just_seen).map(|(_, tag, _)| tag));
        fresh
    }

    fn remembered_date(&self, digest: &str) -> Option<jiff::Timestamp> {
        match self.metadata.fact(&self.registry(), self.repository, digest)? {
            Fact::Image(image) => image.created,
            Fact::Index(children) => children
                .iter()
                .filter_map(|(digest, _, _)| match self.metadata.fact(&self.registry(), self.repository, digest)? {
                    Fact::Image(image) => image.created,
                    _ => None,
                })
                .max(),
            Fact::Unusable(_) => None,
        }
    }

    async fn one(self, tag: &str, detail: Detail, platforms: &[Platform], again: bool) -> Result<Described, Error> {
        let digest = match self.metadata.tag(&self.registry(), self.repository, tag) {
            Some(seen) if !again => seen.digest,
            Some(_) => self.digest(tag).await?,
            // The manifest will be needed; it brings its digest along.
            None => {
                let delivered = self.manifest(tag).await?;
                self.remember(&delivered).await?;
                self.saw(tag, &delivered.digest);
                delivered.digest
            }
        };
        let mut described = Described { tag: tag.to_owned(), detail: Some(detail), ..Described::default() };
        match self.fact(&digest).await? {
            Fact::Unusable(why) => described.note = Some(why.to_string()),
            Fact::Image(image) => described.images.push(behind(&image)),
            Fact::Index(children) => {
                described.images = self.children(&children, detail, platforms, 1).await?;
            }
        }
        described.digest = Some(digest);
        Ok(described)
    }

    /// The entries of an index. Configurations are read only where a date is asked and the platform wanted, or where
    /// the index does not say what its entry is.
    async fn children(
        self,
        children: &[(String, Option<Built>, bool)],
        detail: Detail,
        platforms: &[Platform],
        depth: u8,
    ) -> Result<Vec<Behind>, Error> {
        let mut images = Vec::new();
        for (digest, built, is_index) in children {
            match built {
                Some(built) if !is_index && (detail != Detail::Created || !wanted(built, platforms)) => {
                    images.push(Behind { built: built.clone(), ..Behind::default() });
                    continue;
                }
                _ => {}
            }
            if *is_index && depth >= DEPTH {
                let note = Some("its index nests deeper than two levels".to_owned());
                images.push(Behind { built: built.clone().unwrap_or_default(), note, ..Behind::default() });
                continue;
            }
            match self.fact(digest).await {
                Ok(Fact::Image(image)) => {
                    let mut image = behind(&image);
                    // What the index says of its entry is what runtimes choose by.
                    image.built = built.clone().unwrap_or(image.built);
                    images.push(image);
                }
                Ok(Fact::Index(inner)) if depth < DEPTH => {
                    images.extend(Box::pin(self.children(&inner, detail, platforms, depth + 1)).await?);
                }
                Ok(Fact::Index(_)) => {
                    let note = Some("its index nests deeper than two levels".to_owned());
                    images.push(Behind { built: built.clone().unwrap_or_default(), note, ..Behind::default() });
                }
                Ok(Fact::Unusable(why)) => {
                    let (built, note) = (built.clone().unwrap_or_default(), Some(why.to_string()));
                    images.push(Behind { built, note, ..Behind::default() });
                }
                Err(e) => return Err(e),
            }
        }
        Ok(images)
    }

    /// What `digest` names, from memory or from the registry.
    async fn fact(self, digest: &str) -> Result<Fact, Error> {
        if let Some(fact) = self.metadata.fact(&self.registry(), self.repository, digest) {
            return Ok(fact);
        }
        let delivered = self.manifest(digest).await?;
        self.remember(&delivered).await
    }

    async fn remember(self, delivered: &Delivered) -> Result<Fact, Error> {
        let fact = match &delivered.content {
            Err(why) => Fact::Unusable(why.as_str().into()),
            Ok(Manifest::Index(children)) => {
                let part = |c: &manifest::Child| (c.digest.clone(), c.platform.clone(), c.is_index);
                Fact::Index(Arc::new(children.iter().map(part).collect()))
            }
            Ok(Manifest::Image(configuration)) => match self.configuration(configuration).await? {
                Err(why) => Fact::Unusable(why.into()),
                Ok(read) => Fact::Image(Arc::new(Image {
                    created: read.created,
                    built: read.built,
                    labels: Arc::new(read.labels),
                })),
            },
        };
        self.metadata.learn(&self.registry(), self.repository, &delivered.digest, fact.clone());
        Ok(fact)
    }

    /// The digest of a tag: one HEAD, or a GET where that does not tell (REG-7).
    pub(super) async fn digest(self, tag: &str) -> Result<String, Error> {
        let reply = self.ask(Kind::Head, Method::HEAD, &["manifests", tag], manifest::ACCEPT, MANIFEST_BYTES).await?;
        let named = reply.header("docker-content-digest").filter(|digest| manifest::is_digest(digest));
        let digest = match (reply.status, named) {
            (200..300, Some(digest)) => digest.to_owned(),
            (404, _) => return Err(self.gone(tag)),
            (200..300, None) | (405, _) => {
                let delivered = self.manifest(tag).await?;
                self.remember(&delivered).await?;
                delivered.digest
            }
            _ => return Err(Error::Refused { registry: self.registry(), why: reply.refusal() }),
        };
        self.saw(tag, &digest);
        Ok(digest)
    }

    /// A manifest by tag or digest, its digest checked against the header and the request.
    async fn manifest(self, reference: &str) -> Result<Delivered, Error> {
        let path = ["manifests", reference];
        let reply = self.ask(Kind::Manifest, Method::GET, &path, manifest::ACCEPT, MANIFEST_BYTES).await?;
        let reply = self.found(reply, reference)?;
        let named = reply.header("docker-content-digest").filter(|digest| !digest.is_empty());
        let asked = reference.contains(':').then_some(reference);
        for digest in [named, asked].into_iter().flatten() {
            if !manifest::matches_digest(&reply.body, digest) {
                return Err(Error::Unusable(format!("its manifest is not what digest {} names", short(digest))));
            }
        }
        let digest = asked.map_or_else(|| manifest::digest_of(&reply.body), str::to_owned);
        let content = manifest::read(reply.header("content-type"), &reply.body);
        Ok(Delivered { digest, content })
    }

    async fn configuration(self, digest: &str) -> Result<Result<manifest::Configuration, String>, Error> {
        let reply = self.ask(Kind::Blob, Method::GET, &["blobs", digest], "*/*", CONFIGURATION_BYTES).await?;
        let reply = self.found(reply, digest)?;
        if !manifest::matches_digest(&reply.body, digest) {
            return Err(Error::Unusable(format!("its configuration is not what digest {} names", short(digest))));
        }
        Ok(manifest::read_configuration(&reply.body))
    }

    async fn ask(self, kind: Kind, method: Method, rest: &[&str], accept: &str, bytes: usize) -> Result<Reply, Error> {
        if self.mute {
            return Err(Error::Unusable("it has not been looked at before".into()));
        }
        let ask = Ask {
            kind,
            method,
            url: self.endpoint.address(self.repository, rest),
            repository: self.repository,
            accept,
            etag: None,
            limits: Limits::answer(bytes),
        };
        exchange(self.http, self.options, self.endpoint, &self.access, &ask, &mut Duration::default()).await
    }

    fn found(&self, reply: Reply, reference: &str) -> Result<Reply, Error> {
        match reply.status {
            200..300 => Ok(reply),
            404 => Err(self.gone(reference)),
            _ => Err(Error::Refused { registry: self.registry(), why: reply.refusal() }),
        }
    }

    fn gone(&self, reference: &str) -> Error {
        let mark = if reference.contains(':') { '@' } else { ':' };
        Error::NotFound { registry: self.registry(), what: format!("{}{mark}{reference}", self.repository) }
    }

    fn saw(&self, tag: &str, digest: &str) {
        let seen = Seen { digest: digest.to_owned(), at: unix_now() };
        self.metadata.saw(&self.registry(), self.repository, tag, seen);
    }

    fn registry(&self) -> String {
        self.endpoint.host()
    }
}

fn behind(image: &Image) -> Behind {
    Behind { built: image.built.clone(), created: image.created, labels: image.labels.clone(), note: None }
}

fn short(digest: &str) -> String {
    digest.chars().filter(|c| c.is_ascii_graphic()).take(19).collect()
}

fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
