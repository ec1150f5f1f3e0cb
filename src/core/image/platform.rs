//! Platform: which children of an image index count (image-updates.md TAG-8).

use std::fmt;

/// `os/arch[/variant]` in Go's naming.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    /// Operating system: `linux`.
    pub os: String,
    /// Architecture: `amd64`, `arm64`.
    pub arch: String,
    /// Variant: `v7`, `v8`; none accepts every variant.
    pub variant: Option<String>,
}

impl Platform {
    /// Reads `os/arch[/variant]`; `None` if it is not shaped like that.
    pub fn parse(text: &str) -> Option<Platform> {
        let parts: Vec<&str> = text.trim().split('/').collect();
        if parts.iter().any(|p| p.is_empty() || p.contains(char::is_whitespace)) {
            return None;
        }
        let (os, arch, variant) = match parts[..] {
            [os, arch] => (os, arch, None),
            [os, arch, variant] => (os, arch, Some(variant)),
            _ => return None,
        };
        Some(Platform { os: os.to_owned(), arch: arch.to_owned(), variant: variant.map(str::to_owned) })
    }

    /// The platform this program was built for: what is asked for when nothing is written.
    pub fn daemon_default() -> Platform {
        let os = match std::env::consts::OS {
            "macos" => "darwin",
            os => os,
        };
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            arch => arch,
        };
        Platform { os: os.to_owned(), arch: arch.to_owned(), variant: None }
    }

    /// Whether a child with these fields counts. Attestations call themselves `unknown/unknown` and never do.
    pub fn matches(&self, os: &str, arch: &str, variant: Option<&str>) -> bool {
        (os, arch) != ("unknown", "unknown")
            && self.os == os
            && self.arch == arch
            && self.variant.as_deref().is_none_or(|wanted| Some(wanted) == variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
