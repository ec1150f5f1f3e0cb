//! Ownership: which ImageUpdater object selects an Application, and whether the Application's own annotations count
//! (image-updates.md §5 CR-1, CR-3, CR-5, CR-7, §6). Equal objects and Applications give equal answers everywhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::core::application::Application;
use crate::core::image::Glob;

/// An ImageUpdater object's namespace and name. Prints as people name it: `ImageUpdater argocd/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerKey {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageUpdater {}/{}", self.namespace, self.name)
    }
}

/// An ImageUpdater object, as far as it says which Applications are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Who it is.
    pub key: OwnerKey,
    /// `spec.namespace`, where it is another one than the object's (CR-7).
    pub target: Option<String>,
    /// The refs that can select something, in list order; a ref whose pattern or selector is malformed is none (CR-5).
    pub refs: Vec<OwnerRef>,
    /// It asks for images to be verified, on whatever level.
    pub verifies: bool,
}

/// One of `spec.applicationRefs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRef {
    /// `namePattern`.
    pub pattern: Glob,
    /// `labelSelectors`; an empty one selects everything, and weighs more than none.
    pub selector: Option<LabelSelector>,
    /// Where it takes the images from.
    pub images: Images,
}

/// Where a ref takes images and settings from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Images {
    /// `useAnnotations: true`: from the Application.
    Annotations,
    /// From the object.
    Object,
    /// A field is bad: the ref still keeps its Applications from others, and none of them is written (CR-3, CR-5).
    Unreadable,
}

/// A Kubernetes LabelSelector: everything it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    /// `matchLabels`.
    pub labels: BTreeMap<String, String>,
    /// `matchExpressions`.
    pub expressions: Vec<Expression>,
}

/// One of `matchExpressions`: a label's name and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// The label.
    pub key: String,
    /// What must hold.
    pub operator: Operator,
}

/// What an expression asks of its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// It is one of these.
    In(Vec<String>),
    /// It is none of these, or absent.
    NotIn(Vec<String>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl LabelSelector {
    /// Whether these labels are selected.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.expressions.iter().all(|expression| {
                let label = labels.get(&expression.key);
                match &expression.operator {
                    Operator::In(values) => label.is_some_and(|label| values.contains(label)),
                    Operator::NotIn(values) => label.is_none_or(|label| !values.contains(label)),
                    Operator::Exists => label.is_some(),
                    Operator::DoesNotExist => label.is_none(),
                }
            })
    }
}

impl OwnerRef {
    /// How much the ref says about its Applications (CR-3). Of those that match, the one with the highest score is used.
    pub fn score(&self) -> usize {
        let pattern = self.pattern.text();
        let exact = if pattern.contains(['*', '?', '[', ']']) { 0 } else { 1_000_000 };
        let selector = self
            .selector
            .as_ref()
            .map_or(0, |selector| 10_000 + 100 * (selector.labels.len() + selector.expressions.len()));
        exact + literals(pattern) + selector
    }

    fn matches(&self, app: &Application) -> bool {
        self.pattern.matches(&app.key.name) && self.selector.as_ref().is_none_or(|s| s.selects(&app.labels))
    }
}

/// Bytes of a pattern that stand for themselves: without sets in brackets, `*` and `?`.
fn literals(pattern: &str) -> usize {
    let (mut count, mut rest) = (0, pattern);
    let plain = |text: &str| text.bytes().filter(|byte| !matches!(byte, b'*' | b'?')).count();
    while let Some((before, set)) = rest.split_once('[') {
        let Some((_, after)) = set.split_once(']') else { break };
        count += plain(before);
        rest = after;
    }
    count + plain(rest)
}

impl Owner {
    /// The ref that speaks for an Application of the namespace it selects in; one alone, whatever becomes of it (CR-3).
    fn chosen(&self, app: &Application) -> Option<&OwnerRef> {
        let matching = self.refs.iter().enumerate().filter(|(_, own)| own.matches(app));
        matching.min_by_key(|(place, own)| (Reverse(own.score()), *place)).map(|(_, own)| own)
    }

    /// Why its Applications cannot be managed by it yet; `None` if it only says whose annotations count (OWN-3).
    fn waits(&self) -> Option<Why> {
        let by_object = self.refs.iter().filter(|own| own.images == Images::Object).count();
        if by_object > 0 {
            let mixed = self.refs.iter().any(|own| own.images == Images::Annotations);
            return Some(if mixed { Why::Mixed } else { Why::Images });
        }
        self.verifies.then_some(Why::Verification)
    }
}

/// Why an Application that an object selects is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// The object lists images itself.
    Images,
    /// Some of its refs use annotations and some do not.
    Mixed,
    /// It asks for images to be verified.
    Verification,
    /// The ref that selects the Application has a bad field.
    Unreadable,
}

impl Why {
    /// The same for people, behind the object's name.
    pub fn text(self) -> &'static str {
        match self {
            Why::Images => "lists images itself, which is not followed yet",
            Why::Mixed => "lists images itself for some of its Applications, which is not followed yet",
            Why::Verification => "asks for images to be verified, which is not followed yet",
            Why::Unreadable => "has a field that cannot be read in the ref that selects it",
        }
    }
}

/// Whether annotations count without an object (OWN-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Native {
    /// In namespaces that hold no object.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

/// Who manages an Application.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its annotations, without any object (OWN-1).
    Native,
    /// Its annotations, because these objects say so (OWN-3).
    Selected(BTreeSet<OwnerKey>),
    /// Nobody yet: these objects select it and are not followed (OWN-3).
    Waiting(BTreeMap<OwnerKey, Why>),
    /// Nobody: no object selects it, and without one its annotations do not count in its namespace (OWN-2).
    Unselected,
}

impl Standing {
    /// Whether its annotations are followed.
    pub fn governed(&self) -> bool {
        matches!(self, Standing::Native | Standing::Selected(_))
    }
}

/// All ImageUpdater objects there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// By the namespace whose Applications they select.
    owners: BTreeMap<String, Vec<Owner>>,
    /// Namespaces in which one stands, or selects.
    held: BTreeSet<String>,
    /// Those that name another namespace which is not followed (CR-7).
    astray: Vec<Owner>,
}

impl Ownership {
    /// These objects; `targets` are the namespaces other than its own that an object may name (CR-7).
    pub fn new(owners: impl IntoIterator<Item = Owner>, targets: &[String]) -> Ownership {
        let mut ownership = Ownership::default();
        for owner in owners {
            ownership.held.insert(owner.key.namespace.clone());
            match &owner.target {
                Some(target) if !targets.contains(target) => ownership.astray.push(owner),
                target => {
                    let place = target.clone().unwrap_or_else(|| owner.key.namespace.clone());
                    ownership.held.insert(place.clone());
                    ownership.owners.entry(place).or_default().push(owner);
                }
            }
        }
        ownership
    }

    /// Whether annotations count without an object in a namespace: the effective mode (OWN-2).
    pub fn native(&self, namespace: &str, mode: Native) -> bool {
        match mode {
            Native::Always => true,
            Native::Never => false,
            Native::Auto => !self.held.contains(namespace),
        }
    }

    /// Namespaces that hold an object, or that one selects in.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        self.held.iter().map(String::as_str)
    }

    /// Who manages an Application. An object that is not followed yet keeps it from everybody, whatever the mode.
    pub fn standing(&self, app: &Application, mode: Native) -> Standing {
        let (mut selected, mut waiting) = (BTreeSet::new(), BTreeMap::new());
        for owner in self.owners.get(&app.key.namespace).into_iter().flatten() {
            let Some(chosen) = owner.chosen(app) else { continue };
            let unreadable = (chosen.images == Images::Unreadable).then_some(Why::Unreadable);
            match unreadable.or_else(|| owner.waits()) {
                Some(why) => drop(waiting.insert(owner.key.clone(), why)),
                None => drop(selected.insert(owner.key.clone())),
            }
        }
        if !waiting.is_empty() {
            Standing::Waiting(waiting)
        } else if !selected.is_empty() {
            Standing::Selected(selected)
        } else if self.native(&app.key.namespace, mode) {
            Standing::Native
        } else {
            Standing::Unselected
        }
    }

    /// Objects that name a namespace which is not followed, with that namespace (CR-7).
    pub fn astray(&self) -> impl Iterator<Item = (&OwnerKey, &str)> {
        self.astray.iter().map(|owner| (&owner.key, owner.target.as_deref().unwrap_or_default()))
    }

    /// The objects that name an Application's namespace in vain, and would select it there (CR-7).
    pub fn would_select<'a>(&'a self, app: &'a Application) -> impl Iterator<Item = &'a OwnerKey> {
        let own = self.astray.iter().filter(|owner| owner.target.as_ref() == Some(&app.key.namespace));
        own.filter(|owner| owner.chosen(app).is_some()).map(|owner| &owner.key)
    }
}
