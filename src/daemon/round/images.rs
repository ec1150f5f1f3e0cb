//! The registries' half of a round: all images of all Applications are asked at once, and every Application is handed on
//! when the answers about its images are complete (image-updates.md CYC-1, CYC-5).

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Governed;
use crate::core::application::Application;
use crate::core::image::ImageRef;
use crate::core::update::survey::Trouble;
use crate::daemon::credentials;
use crate::daemon::poller::{self, Answer, Ask, Turn};
use crate::daemon::world::World;

/// The questions of a round while they are asked.
pub(super) struct Polls {
    answered: mpsc::UnboundedReceiver<(usize, Vec<Answer>)>,
    /// Applications that are not handed on yet.
    open: usize,
    task: JoinSet<()>,
}

impl Polls {
    /// Begins to ask for all images of these Applications. Dropped, it asks no further.
    pub(super) fn start(world: World, turn: Turn, governed: Vec<Governed>) -> Polls {
        let (sender, answered) = mpsc::unbounded_channel();
        let open = governed.len();
        let mut task = JoinSet::new();
        task.spawn(async move { ask(&world, &turn, &governed, &sender).await });
        Polls { answered, open, task }
    }

    /// The Applications whose answers are complete, by position and in its order: all that are left, or those there are
    /// when the window is over, at least one. Nothing after the last.
    pub(super) async fn take(&mut self, window: Option<Duration>) -> Vec<(usize, Vec<Answer>)> {
        let mut taken = Vec::new();
        let over = async {
            match window {
                Some(window) => tokio::time::sleep(window).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(over);
        let mut is_over = false;
        while taken.len() < self.open && (taken.is_empty() || !is_over) {
            tokio::select! {
                biased;
                answered = self.answered.recv() => match answered {
                    Some(answered) => taken.push(answered),
                    None => break,
                },
                () = &mut over, if !is_over => is_over = true,
            }
        }
        self.open -= taken.len();
        // What was learnt is on the disk before the last answers are used; a defect in the asking is one of the round.
        if self.open == 0 || self.answered.is_closed() {
            while let Some(ended) = self.task.join_next().await {
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
        }
        taken.sort_by_key(|(index, _)| *index);
        taken
    }
}

/// Which Applications wait for which answers.
struct Waiting<'a> {
    /// By Application, for each image: the question about it, or why there is none.
    places: Vec<Vec<Result<usize, Trouble>>>,
    /// Whose question it is.
    users: Vec<usize>,
    answers: Vec<Option<Answer>>,
    /// Questions of each Application that have no answer yet.
    open: Vec<usize>,
    answered: &'a mpsc::UnboundedSender<(usize, Vec<Answer>)>,
}

impl Waiting<'_> {
    fn take(&mut self, question: usize, answer: Answer) {
        let app = self.users[question];
        self.answers[question] = Some(answer);
        self.open[app] -= 1;
        self.hand_on(app);
    }

    /// Gives an Application away if its answers are complete. Nobody may want it any more.
    fn hand_on(&mut self, app: usize) {
        if self.open[app] > 0 {
            return;
        }
        let places = std::mem::take(&mut self.places[app]);
        let mut answer = |place: usize| self.answers[place].take().unwrap_or_else(|| Err(poller::lost()));
        let answers = places.into_iter().map(|place| place.and_then(&mut answer)).collect();
        let _ = self.answered.send((app, answers));
    }
}

async fn ask(
    world: &World,
    turn: &Turn,
    governed: &[Governed],
    answered: &mpsc::UnboundedSender<(usize, Vec<Answer>)>,
) {
    let mut asks = Vec::new();
    let mut asked_for: Vec<(&Application, Option<&str>)> = Vec::new();
    let mut waiting =
        Waiting { places: Vec::new(), users: Vec::new(), answers: Vec::new(), open: Vec::new(), answered };
    // One credential serves the round, however many images use it.
    let mut known = BTreeMap::new();
    for (app, settings) in governed {
        let mut own = Vec::new();
        for (image, tracked) in settings.images.iter().enumerate() {
            if let Some(problem) = &tracked.unusable {
                own.push(Err(Trouble { kind: problem.code, text: problem.to_string() }));
                continue;
            }
            let form = tracked.pull_secret.as_deref();
            let key = (app.key.namespace.clone(), form, tracked.repository());
            if !known.contains_key(&key) {
                let found = credentials::for_registry(world, app, &tracked.image, form).await;
                known.insert(key.clone(), found);
            }
            own.push(match &known[&key] {
                Ok(credential) => {
                    let in_use = world.polls.desired(&app.key, image).or_else(|| in_use(app, &tracked.image));
                    let (image, selection) = (tracked.image.clone(), tracked.selection.clone());
                    asks.push(Ask { image, selection, credential: credential.clone(), in_use });
                    asked_for.push((app, form));
                    waiting.users.push(waiting.places.len());
                    Ok(asks.len() - 1)
                }
                Err(trouble) => Err(trouble.clone()),
            });
        }
        waiting.open.push(own.iter().filter(|place| place.is_ok()).count());
        waiting.places.push(own);
    }
    waiting.answers.resize(asks.len(), None);
    (0..governed.len()).for_each(|app| waiting.hand_on(app));
    let mut denied = Vec::new();
    poller::ask_each(world, turn, &asks, |question, answer| match &answer {
        Err(trouble) if trouble.kind == "registry-auth" && asks[question].credential.is_some() => {
            denied.push((question, answer));
        }
        _ => waiting.take(question, answer),
    })
    .await;
    for (question, answer) in ask_with_new_credentials(world, turn, &asks, &asked_for, denied).await {
        waiting.take(question, answer);
    }
}

/// Where access was denied, the credential is read anew; if it has changed meanwhile, the question is asked once more
/// (REG-13). The same one would be denied again: a token of it was renewed already.
async fn ask_with_new_credentials(
    world: &World,
    turn: &Turn,
    asks: &[Ask],
    asked_for: &[(&Application, Option<&str>)],
    mut denied: Vec<(usize, Answer)>,
) -> Vec<(usize, Answer)> {
    let afresh = World { secrets: world.secrets.afresh().remembering(), ..world.clone() };
    let (mut again, mut places) = (Vec::new(), Vec::new());
    for (place, (question, _)) in denied.iter().enumerate() {
        let (ask, (app, form)) = (&asks[*question], asked_for[*question]);
        let found = credentials::for_registry(&afresh, app, &ask.image, form).await;
        if let Ok(Some(new)) = found
            && Some(&new) != ask.credential.as_ref()
        {
            again.push(Ask { credential: Some(new), ..ask.clone() });
            places.push(place);
        }
    }
    poller::ask_each(world, turn, &again, |question, answer| denied[places[question]].1 = answer).await;
    denied
}

fn in_use(app: &Application, image: &ImageRef) -> Option<String> {
    let live = app.status.images.iter().filter_map(|text| ImageRef::parse_reference(text).ok());
    live.filter(|live| live.canonical() == image.canonical()).find_map(|live| live.tag)
}
