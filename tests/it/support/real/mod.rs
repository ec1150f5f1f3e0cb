//! Real servers on loopback: a container registry, Git over HTTPS and SSH, a mail server.

mod git;
mod registry;
mod smtp;
mod sshd;

pub use git::{Fault, GitHttp, Hook, Repository, Served};
pub use registry::{Access, Asked, Image, Pushed, Registry};
pub use smtp::{Mail, Smtp, SmtpMode};
pub use sshd::Sshd;
