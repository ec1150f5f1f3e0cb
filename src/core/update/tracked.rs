//! TrackedImage: one image of one Application, how and where to keep it fresh; AppSettings: all of them, and where
//! they are written. Whatever people wrote it in, after this point nobody knows (image-updates.md ANN-8).

use std::sync::Arc;

use super::commit::BranchSetting;
use crate::core::image::{ImageRef, Repository, Selection};
use crate::core::problem::Problem;
use crate::core::writeback::{Names, Slot};

/// One governed image.
#[derive(Clone, Debug)]
pub struct TrackedImage {
    /// Alias and reference as written; its tag part is the constraint.
    pub image: ImageRef,
    /// Which tags are wanted.
    pub selection: Selection,
    /// Passes the discovery gate although it is not live.
    pub force_update: bool,
    /// The registry credential's form (§10), its grammar checked.
    pub pull_secret: Option<String>,
    /// The names it has in the places it is written to.
    pub names: Names,
    /// Which lists the discovery gate looks at; `None` if nothing was written: [`Discover::default_for`].
    pub discover: Option<Discover>,
    /// `source` (ROUTE-1).
    pub source: Option<String>,
    /// Switches the downgrade guard off (DEC-4).
    pub allow_downgrade: bool,
    /// Why nothing may be chosen or written for this image until its settings are corrected.
    pub unusable: Option<Problem>,
}

impl TrackedImage {
    /// The alias; empty if it has none.
    pub fn alias(&self) -> &str {
        self.image.alias_text()
    }

    /// The repository it comes from.
    pub fn repository(&self) -> Repository {
        self.image.canonical()
    }

    /// The image as places know it.
    pub fn slot(&self) -> Slot {
        Slot { image: self.image.clone(), names: self.names.clone() }
    }
}

/// Which lists make an image count as in use (DIS-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discover {
    /// An entry of the live images matches.
    Live,
    /// The desired state names it.
    Desired,
    /// Either.
    Both,
}

impl Discover {
    /// What holds when nothing is written: `live`, but `desired` where no cluster gives a status (SRC-7).
    pub fn default_for(offline: bool, has_status: bool) -> Discover {
        if offline && !has_status { Discover::Desired } else { Discover::Live }
    }

    /// Its name in annotations.
    pub fn word(self) -> &'static str {
        match self {
            Discover::Live => "live",
            Discover::Desired => "desired",
            Discover::Both => "both",
        }
    }
}

/// How an Application's images are written back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// A patch of the Application's parameters (§13).
    #[default]
    Argocd,
    /// A commit (§17).
    Git(GitCredentials),
}

/// Whose credentials a push uses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GitCredentials {
    /// Argo CD's own for the repository.
    Repocreds,
    /// A Secret, in the Application's namespace if none is named.
    Secret {
        /// Namespace, if written.
        namespace: Option<String>,
        /// Name.
        name: String,
    },
}

/// What the Application is asked to do after a push (GIT-14).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Refresh {
    /// Look at the repository again.
    #[default]
    Normal,
    /// The same, without the manifest cache.
    Hard,
    /// Nothing.
    Off,
}

impl Refresh {
    /// Its name in annotations, ours and Argo CD's.
    pub fn word(self) -> &'static str {
        match self {
            Refresh::Normal => "normal",
            Refresh::Hard => "hard",
            Refresh::Off => "off",
        }
    }
}

/// An item of the image list that is no reference: it fails alone and stays visible (INV-8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableItem {
    /// The item as written.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What an Application wants kept up to date, and how.
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// The images, in the order of the list.
    pub images: Vec<Arc<TrackedImage>>,
    /// Items of the list that could not be read.
    pub unreadable: Vec<UnreadableItem>,
    /// Where changes go.
    pub method: Method,
    /// `write-back-target`, trimmed; empty if absent (§14).
    pub write_back_target: String,
    /// `git-branch`.
    pub git_branch: Option<BranchSetting>,
    /// `git-repository`.
    pub git_repository: Option<String>,
    /// What is asked of Argo CD after a push.
    pub refresh: Refresh,
}
