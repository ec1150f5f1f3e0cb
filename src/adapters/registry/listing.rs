//! The tags of a repository: pages, their order, their limits, and what did not change (REG-6, TAG-1).

use super::credentials::Identity;
use super::endpoint::{Endpoint, Kind, locked};
use super::error::Error;
use super::exchange::{Ask, exchange};
use super::{Access, Options};
use crate::adapters::http::{self, Http, Limits, Method, Reply, Url};
use crate::config::registries::TagSort;
use crate::core::image::{Candidate, is_tag};
use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PAGE_BYTES: usize = 8 << 20;
const MOST_PAGES: usize = 1_000;
const MOST_TAGS: usize = 200_000;
/// The registry's own time for a whole listing.
const LONGEST: Duration = Duration::from_secs(30);
/// Tags kept for the sake of `304 Not Modified`, per endpoint.
const MOST_REMEMBERED: usize = 500_000;

/// A complete list of tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Each tag once. With `tagsortmode` the oldest comes first, else in the registry's order.
    pub tags: Vec<String>,
    /// How many names were no tags (TAG-1).
    pub dropped: usize,
    /// The place in the list stands for the date (TAG-6).
    pub sorted: bool,
    /// Every page was `304 Not Modified`.
    pub from_cache: bool,
    /// Nothing was asked: it is an earlier one, kept on the disk (REG-12).
    pub remembered: bool,
}

impl Listing {
    /// The tags as candidates of which nothing else is known; with `tagsortmode` their place is their date.
    pub fn candidates(&self) -> Vec<Candidate> {
        let date = |place: usize| self.sorted.then(|| Timestamp::from_second(place as i64).ok()).flatten();
        let each = self.tags.iter().enumerate();
        each.map(|(place, tag)| Candidate { created: date(place), ..Candidate::named(tag.as_str()) }).collect()
    }
}

/// Pages that carried an ETag, by repository and credential.
#[derive(Default)]
pub(super) struct Listings {
    known: HashMap<(String, Identity), Remembered>,
    clock: u64,
}

struct Remembered {
    pages: Arc<Vec<Page>>,
    tags: usize,
    used: u64,
}

/// One page.
struct Page {
    url: Url,
    etag: Option<String>,
    tags: Arc<Vec<String>>,
    dropped: usize,
    next: Option<Url>,
}

impl Listings {
    fn take(&mut self, key: &(String, Identity)) -> Arc<Vec<Page>> {
        self.clock += 1;
        let Some(known) = self.known.get_mut(key) else { return Arc::default() };
        known.used = self.clock;
        known.pages.clone()
    }

    fn keep(&mut self, key: (String, Identity), pages: Vec<Page>) {
        self.known.remove(&key);
        if pages.iter().all(|page| page.etag.is_none()) {
            return;
        }
        self.clock += 1;
        let tags = pages.iter().map(|page| page.tags.len()).sum();
        self.known.insert(key, Remembered { pages: Arc::new(pages), tags, used: self.clock });
        while self.known.values().map(|r| r.tags).sum::<usize>() > MOST_REMEMBERED {
            let Some(oldest) = self.known.iter().min_by_key(|(_, r)| r.used).map(|(key, _)| key.clone()) else {
                return;
            };
            self.known.remove(&oldest);
        }
    }
}

pub(super) async fn list(
    http: &Http,
    options: &Options,
    endpoint: &Endpoint,
    repository: &str,
    access: &Access<'_>,
) -> Result<Listing, Error> {
    let identity = access.credential.map(super::Credential::identity).unwrap_or_default();
    let key = (repository.to_owned(), identity);
    let known = locked(&endpoint.listings).take(&key);
    let mut walk = Walk { http, options, endpoint, repository, access, spent: Duration::ZERO };
    let mut pages: Vec<Page> = Vec::new();
    let mut cursors = HashSet::new();
    let mut count = 0;
    let mut all_known = true;
    let mut next = Some(walk.first_page());
    while let Some(url) = next {
        if pages.len() >= MOST_PAGES {
            return Err(walk.incomplete("more than 1,000 pages"));
        }
        if !cursors.insert(url.clone()) {
            return Err(walk.incomplete("the pages lead in a circle"));
        }
        let before = known.iter().find(|page| page.url == url);
        let (page, unchanged) = walk.page(url, before, pages.is_empty()).await?;
        all_known &= unchanged;
        count += page.tags.len();
        if count > MOST_TAGS {
            return Err(walk.incomplete("more than 200,000 tags"));
        }
        next = page.next.clone();
        pages.push(page);
    }
    let listing = put_together(&pages, endpoint.entry.tag_sort, all_known);
    locked(&endpoint.listings).keep(key, pages);
    Ok(listing)
}

fn put_together(pages: &[Page], sort: TagSort, from_cache: bool) -> Listing {
    let mut seen = HashSet::new();
    let all = pages.iter().flat_map(|page| page.tags.iter());
    let mut tags: Vec<String> = all.filter(|tag| seen.insert(tag.as_str())).cloned().collect();
    if sort == TagSort::LatestFirst {
        tags.reverse();
    }
    let dropped = pages.iter().map(|page| page.dropped).sum();
    Listing { tags, dropped, sorted: sort != TagSort::None, from_cache, remembered: false }
}

struct Walk<'a> {
    http: &'a Http,
    options: &'a Options,
    endpoint: &'a Endpoint,
    repository: &'a str,
    access: &'a Access<'a>,
    spent: Duration,
}

impl Walk<'_> {
    fn incomplete(&self, why: impl Into<String>) -> Error {
        Error::Incomplete { registry: self.endpoint.host(), repository: self.repository.to_owned(), why: why.into() }
    }

    fn first_page(&self) -> Url {
        let mut url = self.endpoint.address(self.repository, &["tags", "list"]);
        if !self.endpoint.no_page_size.load(Ordering::Relaxed) {
            url.set_query(Some("n=1000"));
        }
        url
    }

    /// One page, and whether it is as it was `before`.
    async fn page(&mut self, url: Url, before: Option<&Page>, first: bool) -> Result<(Page, bool), Error> {
        let etag = before.and_then(|page| page.etag.as_deref());
        let reply = self.fetch(&url, etag).await.map_err(|e| self.as_part_of_a_listing(e, first))?;
        match (reply.status, before) {
            (304, Some(before)) if etag.is_some() => {
                let page = Page {
                    url: before.url.clone(),
                    etag: before.etag.clone(),
                    tags: before.tags.clone(),
                    dropped: before.dropped,
                    next: before.next.clone(),
                };
                Ok((page, true))
            }
            (200..300, _) => Ok((self.read(url, &reply)?, false)),
            (400, _) if first && url.query().is_some() => {
                self.endpoint.no_page_size.store(true, Ordering::Relaxed);
                let url = self.first_page();
                let reply = self.fetch(&url, None).await.map_err(|e| self.as_part_of_a_listing(e, true))?;
                match reply.status {
                    200..300 => Ok((self.read(url, &reply)?, false)),
                    _ => Err(Error::Refused { registry: self.endpoint.host(), why: reply.refusal() }),
                }
            }
            (404, _) if first => {
                Err(Error::NotFound { registry: self.endpoint.host(), what: self.repository.to_owned() })
            }
            _ if first => Err(Error::Refused { registry: self.endpoint.host(), why: reply.refusal() }),
            _ => Err(self.incomplete(reply.refusal().to_string())),
        }
    }

    /// Failures behind the first page leave a part of the list: that is what is said, unless the cause has its own
    /// remedy.
    fn as_part_of_a_listing(&self, error: Error, first: bool) -> Error {
        match error {
            // Too large, too slow, cut short: the registry was reached.
            Error::Unreachable { why, .. }
                if !first
                    || matches!(
                        why,
                        http::Error::TooLarge { .. }
                            | http::Error::TooSlow { .. }
                            | http::Error::Cut { .. }
                            | http::Error::BadReply { .. }
                    ) =>
            {
                self.incomplete(why.to_string())
            }
            other => other,
        }
    }

    async fn fetch(&mut self, url: &Url, etag: Option<&str>) -> Result<Reply, Error> {
        let left = LONGEST.saturating_sub(self.spent);
        if left.is_zero() {
            return Err(self.incomplete("the registry took more than 30 s for it"));
        }
        let ask = Ask {
            kind: Kind::Tags,
            method: Method::GET,
            url: url.clone(),
            repository: self.repository,
            accept: "application/json",
            etag,
            limits: Limits { total: left.min(Limits::MESSAGE.total), ..Limits::answer(PAGE_BYTES) },
        };
        exchange(self.http, self.options, self.endpoint, self.access, &ask, &mut self.spent).await
    }

    fn read(&self, url: Url, reply: &Reply) -> Result<Page, Error> {
        let body: Body<'_> = serde_json::from_slice(&reply.body).map_err(|e| {
            self.incomplete(format!("a page is not the JSON expected (line {}, column {})", e.line(), e.column()))
        })?;
        let named = body.tags.unwrap_or_default();
        let total = named.len();
        let tags: Vec<String> = named.into_iter().filter(|tag| is_tag(tag)).map(Cow::into_owned).collect();
        let next = reply.headers.get_all("link").iter().filter_map(|value| value.to_str().ok()).find_map(next_link);
        let next = next.map(|target| self.next_page(&url, &target)).transpose()?;
        let etag = reply.header("etag").filter(|etag| !etag.is_empty()).map(str::to_owned);
        Ok(Page { url, etag, dropped: total - tags.len(), tags: Arc::new(tags), next })
    }

    /// The next page: this repository on this host, with the link's query. Only the query is taken from the link,
    /// because registries behind a proxy write the scheme they see themselves.
    fn next_page(&self, current: &Url, target: &str) -> Result<Url, Error> {
        let target = current.join(target).map_err(|_| self.incomplete("the link to the next page is no URL"))?;
        let same_host =
            target.host_str() == current.host_str() && (target.port().is_none() || target.port() == current.port());
        if !same_host || !matches!(target.scheme(), "http" | "https") {
            let host = target.host_str().unwrap_or_default();
            return Err(self.incomplete(format!("the next page is on another host, {host}")));
        }
        if target.path() != current.path() {
            return Err(self.incomplete("the next page is of another repository"));
        }
        let mut next = current.clone();
        next.set_query(target.query());
        Ok(next)
    }
}

/// Tags are borrowed from the body; only those that are tags are copied. Some registries write `null` for none, but a
/// body without the key is no listing.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, deserialize_with = "present")]
    tags: Option<Vec<Cow<'a, str>>>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Vec<Cow<'de, str>>>, D::Error> {
    Option::deserialize(from)
}

/// The target of `rel="next"` in a `Link` header, which may hold several links.
fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some(start) = rest.find('<') {
        let after = &rest[start + 1..];
        let end = after.find('>')?;
        let (target, parameters) = (&after[..end], &after[end + 1..]);
        let stop = parameters.find('<').unwrap_or(parameters.len());
        let is_next = parameters[..stop].split([';', ',']).any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"').to_ascii_lowercase();
            name.trim().eq_ignore_ascii_case("rel") && value.split_whitespace().any(|relation| relation == "next")
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &parameters[stop..];
    }
    None
}
