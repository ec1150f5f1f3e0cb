//! Executor: one look per repository, whoever asks (image-updates.md REG-4). What all users of a repository need is
//! asked together, once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{FutureExt, StreamExt};

use super::world::World;
use crate::adapters::registry::{Credential, Described, Endpoint, Error, Identity, Listing, Question};
use crate::core::image::{Candidate, Detail, ImageRef, Platform, Selection};
use crate::core::update::survey::Trouble;

/// Repositories asked at the same time; the endpoints' limiters set the pace.
const AT_ONCE: usize = 32;

/// One image's question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The image.
    pub image: ImageRef,
    /// Which of its tags matter.
    pub selection: Selection,
    /// On whose behalf.
    pub credential: Option<Credential>,
    /// The tag in use, whose digest is looked at in every poll (REG-10).
    pub in_use: Option<String>,
}

/// The answer to one question.
pub type Answer = Result<Vec<Candidate>, Trouble>;

/// Which look answers a question: endpoint, repository, credential.
type Key = (String, String, Option<Identity>);

struct Look {
    endpoint: Arc<Endpoint>,
    repository: String,
    credential: Option<Credential>,
    asks: Vec<usize>,
}

/// How much of a listing an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What decides.
    Essential,
    /// Every tag, for whoever is to be told what became of each.
    Everything,
}

/// Answers all questions, one look per (endpoint, repository, credential). Answers come in the questions' order.
pub async fn ask(world: &World, asks: &[Ask], extent: Extent) -> Vec<Answer> {
    let mut looks: BTreeMap<Key, Look> = BTreeMap::new();
    for (index, ask) in asks.iter().enumerate() {
        let endpoint = world.registries.endpoint_of(&ask.image);
        let repository = world.registries.repository_of(&ask.image);
        let key = (endpoint.host(), repository.clone(), ask.credential.as_ref().map(Credential::identity));
        let look = looks.entry(key).or_insert_with(|| Look {
            endpoint,
            repository,
            credential: ask.credential.clone(),
            asks: Vec::new(),
        });
        look.asks.push(index);
    }
    let mut answers: Vec<Option<Answer>> = vec![None; asks.len()];
    let answered = futures::stream::iter(looks.into_values())
        .map(|look| {
            async move {
                let mut answers = one(world, &look, asks).await;
                if extent == Extent::Essential {
                    let asked = look.asks.iter().map(|index| &asks[*index]);
                    let each = asked.zip(answers);
                    answers = each.map(|(ask, answer)| answer.map(|all| ask.selection.essential(all))).collect();
                }
                (look.asks, answers)
            }
            .boxed()
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    for (indexes, given) in answered {
        for (index, answer) in indexes.into_iter().zip(given) {
            answers[index] = Some(answer);
        }
    }
    let missing = || Err(Trouble { kind: "internal", text: "the question got lost".to_owned() });
    answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect()
}

fn trouble(error: &Error) -> Trouble {
    Trouble { kind: error.kind(), text: error.to_string() }
}

/// One repository: the listing if anybody needs names, then what is needed of single tags.
async fn one(world: &World, look: &Look, asks: &[Ask]) -> Vec<Answer> {
    let users: Vec<&Ask> = look.asks.iter().map(|index| &asks[*index]).collect();
    let sorted = look.endpoint.sorted();
    let details: Vec<Detail> = users.iter().map(|ask| ask.selection.detail(sorted)).collect();
    let mut listing = Listing::default();
    let mut unlisted = None;
    if details.iter().any(|detail| *detail != Detail::Digest) {
        match world.registries.tags(&look.endpoint, &look.repository, look.credential.as_ref().into()).await {
            Ok(found) => listing = found,
            // Whoever follows the digest of one tag needs no listing.
            Err(error) => unlisted = Some(trouble(&error)),
        }
    }
    let dated = describe(world, look, &users, Detail::Created, &listing).await;
    let digests = describe(world, look, &users, Detail::Digest, &listing).await;
    users
        .iter()
        .zip(details)
        .map(|(ask, detail)| match (detail, &unlisted) {
            (Detail::Names | Detail::Created, Some(trouble)) => Err(trouble.clone()),
            (Detail::Names, None) => Ok(listing.candidates()),
            (Detail::Created, None) => merged(&listing, dated.as_ref().map_err(trouble)?, &ask.selection.platforms),
            (Detail::Digest, _) => {
                let described = digests.as_ref().map_err(trouble)?;
                let tag = ask.selection.digest_tag();
                let own = described.values().filter(|d| Some(d.tag.as_str()) == tag);
                Ok(own.map(|d| d.candidate(&ask.selection.platforms)).collect())
            }
        })
        .collect()
}

fn merged(listing: &Listing, described: &BTreeMap<String, Described>, platforms: &[Platform]) -> Answer {
    let each = listing.tags.iter();
    Ok(each.map(|tag| described.get(tag).map_or_else(|| Candidate::named(tag), |d| d.candidate(platforms))).collect())
}

/// What the users of one detail need to know of single tags, asked together.
async fn describe(
    world: &World,
    look: &Look,
    users: &[&Ask],
    wanted: Detail,
    listing: &Listing,
) -> Result<BTreeMap<String, Described>, Error> {
    let sorted = look.endpoint.sorted();
    let mut tags = BTreeSet::new();
    let mut platforms: Vec<Platform> = Vec::new();
    let mut in_use = Vec::new();
    for ask in users.iter().filter(|ask| ask.selection.detail(sorted) == wanted) {
        match wanted {
            Detail::Digest => tags.extend(ask.selection.digest_tag().map(str::to_owned)),
            _ => tags
                .extend(ask.selection.wanted(listing.tags.iter().map(String::as_str)).into_iter().map(str::to_owned)),
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
    let question = Question { tags: &tags, detail: wanted, platforms: &platforms, desired: &in_use };
    let access = look.credential.as_ref().into();
    let described = world.registries.describe(&look.endpoint, &look.repository, question, access).await?;
    Ok(described.into_iter().map(|tag| (tag.tag.clone(), tag)).collect())
}
