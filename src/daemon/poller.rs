//! Executor: one look per repository, whoever asks (image-updates.md REG-4). What all users of a repository need is
//! asked together, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

use super::world::World;
use crate::adapters::registry::{Credential, Described, Endpoint, Error, Identity, Listing, Question};
use crate::core::image::{Candidate, Detail, ImageRef, Platform, Repository, Selection};
use crate::core::problem::Problem;
use crate::core::retry::Retry;
use crate::core::update::survey::Trouble;

pub mod memory;

use memory::{Last, Part};

/// Repositories asked at the same time; the endpoints' limiters set the pace.
const AT_ONCE: usize = 32;

/// Learnt things beyond which they are kept before the round is over.
const MANY: usize = 1_000;

/// One image's question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The image.
    pub image: ImageRef,
    /// Which of its tags matter.
    pub selection: Selection,
    /// On whose behalf.
    pub credential: Option<Credential>,
    /// The tag that Git holds, or that runs: its digest is looked at in every poll (REG-10).
    pub in_use: Option<String>,
}

/// In which round it is asked.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// The remote whose round it is; empty where there is only one round.
    pub group: String,
    /// The repositories that other remotes' rounds ask too.
    pub shared: Arc<BTreeSet<Repository>>,
    /// A person or a webhook wants to know now: no earlier answer serves and no back-off holds.
    pub fresh: bool,
    /// How much of each listing the answers hold.
    pub extent: Extent,
}

/// The answer to one question.
pub type Answer = Result<Vec<Candidate>, Trouble>;

/// Which look answers a question: endpoint (host and prefix), repository, credential.
pub type Key = (String, String, String, Option<Identity>);

struct Look {
    key: Key,
    endpoint: Arc<Endpoint>,
    credential: Option<Credential>,
    shared: bool,
    asks: Vec<usize>,
}

impl Look {
    fn repository(&self) -> &str {
        &self.key.2
    }
}

/// How much of a listing an answer holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What decides.
    #[default]
    Essential,
    /// Every tag, for whoever is to be told what became of each.
    Everything,
}

/// Answers all questions, one look per (endpoint, repository, credential). Answers come in the questions' order. What
/// was learnt is on the disk when this returns, where there is one.
pub async fn ask(world: &World, turn: &Turn, asks: &[Ask]) -> Vec<Answer> {
    let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
    ask_each(world, turn, asks, |index, answer| answers[index] = Some(answer)).await;
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(lost()))).collect()
}

/// A question that got no answer.
pub fn lost() -> Trouble {
    Trouble { kind: "internal", text: "the question got lost".to_owned() }
}

/// The same; every answer is given when it is there, with the position of its question.
pub async fn ask_each(world: &World, turn: &Turn, asks: &[Ask], mut answered: impl FnMut(usize, Answer)) {
    let mut looks: BTreeMap<Key, Look> = BTreeMap::new();
    for (index, ask) in asks.iter().enumerate() {
        note_choice(world, &ask.image);
        let (key, endpoint) = key_of(world, &ask.image, ask.credential.as_ref());
        let look = looks.entry(key.clone()).or_insert_with(|| Look {
            key,
            endpoint,
            credential: ask.credential.clone(),
            shared: false,
            asks: Vec::new(),
        });
        look.shared |= turn.shared.contains(&ask.image.canonical());
        look.asks.push(index);
    }
    let mut looking = futures::stream::iter(looks.into_values())
        .map(|look| {
            async move {
                let mut answers = one(world, turn, &look, asks).await;
                if turn.extent == Extent::Essential {
                    let asked = look.asks.iter().map(|index| &asks[*index]);
                    let each = asked.zip(answers);
                    answers = each.map(|(ask, answer)| answer.map(|all| ask.selection.essential(all))).collect();
                }
                if let Some(store) = world.store.as_ref().filter(|_| world.registries.metadata().changes() >= MANY) {
                    world.polls.keep(store, world.registries.metadata()).await;
                }
                (look.asks, answers)
            }
            .boxed()
        })
        .buffer_unordered(AT_ONCE);
    while let Some((indexes, given)) = looking.next().await {
        indexes.into_iter().zip(given).for_each(|(index, answer)| answered(index, answer));
    }
    if let Some(store) = &world.store {
        world.polls.keep(store, world.registries.metadata()).await;
    }
}

fn key_of(world: &World, image: &ImageRef, credential: Option<&Credential>) -> (Key, Arc<Endpoint>) {
    let endpoint = world.registries.endpoint_of(image);
    let repository = endpoint.entry.repository(&image.name);
    let key = (endpoint.host(), endpoint.entry.prefix.clone(), repository, credential.map(Credential::identity));
    (key, endpoint)
}

/// Where another endpoint than Argo CD Image Updater's is asked, that is said once (REG-2).
fn note_choice(world: &World, image: &ImageRef) {
    if let Some(problem) = world.registries.conf().upstream_differs(image.registry.as_deref(), &image.name)
        && world.polls.notice(problem.clone())
    {
        tracing::warn!("{problem}");
    }
}

fn trouble(error: &Error) -> Trouble {
    Trouble { kind: error.kind(), text: error.to_string() }
}

/// A trouble, and whether it is one that time may heal.
type Failed = (Trouble, bool);

fn failed(error: &Error) -> Failed {
    (trouble(error), error.retry() == Retry::Backoff)
}

/// One repository: the listing if anybody needs names, then what is needed of single tags.
async fn one(world: &World, turn: &Turn, look: &Look, asks: &[Ask]) -> Vec<Answer> {
    let users: Vec<&Ask> = look.asks.iter().map(|index| &asks[*index]).collect();
    let sorted = look.endpoint.sorted();
    let details: Vec<Detail> = users.iter().map(|ask| ask.selection.detail(sorted)).collect();
    let needs = |wanted: &[Detail]| details.iter().any(|detail| wanted.contains(detail));
    let place = look.shared.then(|| world.polls.place(&look.key));
    let mut place = match &place {
        Some(place) => Some(place.lock().await),
        None => None,
    };
    let before = place.as_ref().and_then(|last| (**last).clone()).filter(|last| serves(world, turn, last));
    let poll = Poll { world, turn, look, seen_within: before.as_ref().map_or(Duration::ZERO, seen_within) };
    let begun = Instant::now();
    let known = before.as_ref().and_then(|last| last.listing.clone());
    let listing = match (needs(&[Detail::Names, Detail::Created]), known) {
        (false, _) => Ok(Arc::default()),
        (true, Some(listing)) => Ok(listing),
        (true, None) => poll.part(Part::Names, poll.list()).await,
    };
    let dated = match &listing {
        Ok(listing) if needs(&[Detail::Created]) => {
            poll.part(Part::Dates, poll.describe(&users, Detail::Created, listing)).await
        }
        _ => Ok(BTreeMap::new()),
    };
    let digests = match needs(&[Detail::Digest]) {
        true => poll.part(Part::Digests, poll.describe(&users, Detail::Digest, &Listing::default())).await,
        false => Ok(BTreeMap::new()),
    };
    if let Some(place) = &mut place
        && before.as_ref().is_none_or(|last| last.listing.is_none())
        && listing.is_ok()
    {
        let names = listing.as_ref().ok().filter(|_| needs(&[Detail::Names, Detail::Created])).cloned();
        **place = Some(Last { by: turn.group.clone(), at: begun, listing: names });
    }
    let answer = |ask: &Ask, detail: Detail| -> Answer {
        match detail {
            Detail::Names => Ok(listing.as_ref().map_err(Clone::clone)?.candidates()),
            Detail::Created => {
                let listing = listing.as_ref().map_err(Clone::clone)?;
                merged(listing, dated.as_ref().map_err(Clone::clone)?, &ask.selection.platforms)
            }
            Detail::Digest => {
                let described = digests.as_ref().map_err(Clone::clone)?;
                let tag = ask.selection.digest_tag();
                let own = described.values().filter(|d| Some(d.tag.as_str()) == tag);
                Ok(own.map(|d| d.candidate(&ask.selection.platforms)).collect())
            }
        }
    };
    users.iter().zip(&details).map(|(ask, detail)| answer(ask, *detail)).collect()
}

/// Whether a poll for another remote's round serves this one too: it is younger than half the interval (CYC-5).
fn serves(world: &World, turn: &Turn, last: &Last) -> bool {
    !turn.fresh && last.by != turn.group && last.at.elapsed() < world.settings.pace() / 2
}

/// What was seen since a poll began; moments of sights are whole seconds.
fn seen_within(last: &Last) -> Duration {
    last.at.elapsed() + Duration::from_secs(2)
}

fn merged(listing: &Listing, described: &BTreeMap<String, Described>, platforms: &[Platform]) -> Answer {
    let each = listing.tags.iter();
    Ok(each.map(|tag| described.get(tag).map_or_else(|| Candidate::named(tag), |d| d.candidate(platforms))).collect())
}

/// One repository's poll.
struct Poll<'a> {
    world: &'a World,
    turn: &'a Turn,
    look: &'a Look,
    seen_within: Duration,
}

impl Poll<'_> {
    /// Asks one part, unless it failed so often that it is left alone for now (REG-12).
    async fn part<T>(&self, part: Part, asked: impl Future<Output = Result<T, Failed>>) -> Result<T, Trouble> {
        let (polls, key) = (&self.world.polls, &self.look.key);
        if !self.turn.fresh
            && let Some(trouble) = polls.resting(key, part, self.world.settings.pace())
        {
            return Err(trouble);
        }
        let result = asked.await;
        match &result {
            Ok(_) => polls.answered(key, part),
            Err((trouble, true)) => polls.failed(key, part, trouble),
            // It has a pace of its own, or needs a hand: neither healed nor worse.
            Err((_, false)) => {}
        }
        result.map_err(|(trouble, _)| trouble)
    }

    async fn list(&self) -> Result<Arc<Listing>, Failed> {
        let Poll { world, look, .. } = self;
        let access = look.credential.as_ref().into();
        let key = world.registries.listing_key(&look.endpoint, look.repository(), access);
        let error = match world.registries.tags(&look.endpoint, look.repository(), access).await {
            Ok(listing) => {
                if let Some(store) = &world.store {
                    world.polls.listed(store, key, &listing).await;
                }
                return Ok(Arc::new(listing));
            }
            Err(error) => error,
        };
        match self.remembered(key, &error).await {
            Some(listing) => Ok(Arc::new(listing)),
            None => Err(failed(&error)),
        }
    }

    /// The last complete list, for a command that only explains, while the registry does not answer (REG-12).
    async fn remembered(&self, key: [u8; 16], error: &Error) -> Option<Listing> {
        let past = self.world.past.as_ref().filter(|_| error.retry() != Retry::Never)?;
        let kept = past.listing(key).await.ok().flatten()?;
        let tags = kept.tags.lines().map(str::to_owned).collect();
        let since = jiff::Timestamp::from_second(kept.at).map(|at| at.to_string()).unwrap_or_default();
        let text = format!("{error}; shown are the tags of {} as listed since {since}", self.look.repository());
        let problem = Problem::warning(error.kind(), text).hint("nothing is written from them");
        self.world.board.problems(&format!("registry {}/{}", self.look.key.0, self.look.repository()), vec![problem]);
        Some(Listing { tags, sorted: self.look.endpoint.sorted(), remembered: true, ..Listing::default() })
    }

    /// What the users of one detail need to know of single tags, asked together.
    async fn describe(
        &self,
        users: &[&Ask],
        wanted: Detail,
        listing: &Listing,
    ) -> Result<BTreeMap<String, Described>, Failed> {
        let Poll { world, look, .. } = self;
        let sorted = look.endpoint.sorted();
        let mut tags = BTreeSet::new();
        let mut platforms: Vec<Platform> = Vec::new();
        let mut in_use = Vec::new();
        for ask in users.iter().filter(|ask| ask.selection.detail(sorted) == wanted) {
            let names = || listing.tags.iter().map(String::as_str);
            match wanted {
                Detail::Digest => tags.extend(ask.selection.digest_tag().map(str::to_owned)),
                _ => tags.extend(ask.selection.wanted(names()).into_iter().map(str::to_owned)),
            }
            in_use.extend(ask.in_use.clone());
            for platform in &ask.selection.platforms {
                if !platforms.contains(platform) {
                    platforms.push(platform.clone());
                }
            }
        }
        if tags.is_empty() {
            return Ok(BTreeMap::new());
        }
        // The registry's order is kept: the newest tags are the last ones where it sorts.
        let tags: Vec<String> = match wanted {
            Detail::Digest => tags.into_iter().collect(),
            _ => listing.tags.iter().filter(|tag| tags.contains(*tag)).cloned().collect(),
        };
        let question = Question {
            tags: &tags,
            detail: wanted,
            platforms: &platforms,
            desired: &in_use,
            seen_within: self.seen_within,
            from_memory: listing.remembered,
        };
        let access = look.credential.as_ref().into();
        let described = world.registries.describe(&look.endpoint, look.repository(), question, access).await;
        let described = described.map_err(|error| failed(&error))?;
        Ok(described.into_iter().map(|tag| (tag.tag.clone(), tag)).collect())
    }
}

/// The labels of one tag's image, for a commit message (TAG-7).
pub type Labels = Arc<BTreeMap<String, String>>;

/// The labels of what an image's tag names now, for these platforms, else of any. No labels where the registry has
/// nothing that could be read; an error only where asking later may help.
pub async fn labels(world: &World, ask: &Ask, tag: &str) -> Result<Labels, Trouble> {
    let endpoint = world.registries.endpoint_of(&ask.image);
    let repository = endpoint.entry.repository(&ask.image.name);
    let question = Question {
        tags: &[tag.to_owned()],
        detail: Detail::Created,
        platforms: &ask.selection.platforms,
        // Chosen a moment ago, by what the registry said then.
        seen_within: world.settings.pace() / 2,
        ..Question::default()
    };
    let access = ask.credential.as_ref().into();
    match world.registries.describe(&endpoint, &repository, question, access).await {
        Ok(described) => {
            let found = described.first().map(|tag| tag.labels(&ask.selection.platforms));
            Ok(found.unwrap_or_default())
        }
        Err(error) if error.retry() == Retry::Never => Ok(Labels::default()),
        Err(error) => Err(trouble(&error)),
    }
}
