//! The address gate: resolve, check every address, connect to exactly what was checked (SEC-05). A literal never
//! reaches the resolver, so URLs are checked by themselves as well; numeric spellings (`0x7f.1`, `2852039166`) are
//! already normalised by the URL parser.

use super::error::{Cause, Error, place};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use url::{Host, Url};

/// Which addresses may be connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    /// For what operators configure: everything except the metadata services of clouds, which hand out the node's
    /// credentials to whoever asks.
    #[default]
    Central,
}

/// Names of metadata services, refused even where a proxy would resolve them.
const DENIED_NAMES: [&str; 4] =
    ["metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"];

/// Metadata services by IPv4 address: AWS, Azure, Google and most others; container credentials on AWS (two);
/// Alibaba; Oracle; Azure's wire server.
const DENIED_V4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];

/// The same by IPv6 address: AWS (instance, pod identity), Google, OpenStack.
const DENIED_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Whether `gate` refuses `address`, also when it hides inside an IPv6 form: mapped, compatible, NAT64, 6to4, Teredo
/// servers and clients, ISATAP.
pub fn denied(gate: Gate, address: IpAddr) -> bool {
    let Gate::Central = gate;
    match address {
        IpAddr::V4(v4) => DENIED_V4.contains(&v4),
        IpAddr::V6(v6) => {
            DENIED_V6.contains(&v6) || embedded(v6).into_iter().flatten().any(|v4| DENIED_V4.contains(&v4))
        }
    }
}

/// Every IPv4 address an IPv6 address may stand for.
fn embedded(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let s = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => [v4(high, low), None, None],
        // 64:ff9b::/96 and the local-use 64:ff9b:1::/48 with a /96 inside
        [0x64, 0xff9b, _, _, _, _, high, low] => [v4(high, low), None, None],
        [0x2002, high, low, ..] => [v4(high, low), None, None],
        [0x2001, 0, server_high, server_low, _, _, high, low] => [v4(server_high, server_low), v4(!high, !low), None],
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => [v4(high, low), None, None],
        _ => [None; 3],
    }
}

/// Checks scheme and literal host of `url`; gives the host as text, without brackets.
pub(super) fn check_url(gate: &Gate, url: &Url) -> Result<String, Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::BadUrl { place: place(url), why: "only http and https are spoken".into() });
    }
    let literal = match url.host() {
        None => return Err(Error::BadUrl { place: place(url), why: "no host in it".into() }),
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(name)) => {
            // The URL parser leaves a trailing dot alone; `169.254.169.254.` is not a number to it.
            let bare = name.trim_end_matches('.');
            if DENIED_NAMES.contains(&bare) {
                return Err(Error::Forbidden { place: place(url), address: bare.to_owned() });
            }
            match bare.parse::<IpAddr>() {
                Ok(address) => address,
                Err(_) => return Ok(name.to_owned()),
            }
        }
    };
    if denied(*gate, literal) {
        return Err(Error::Forbidden { place: place(url), address: literal.to_string() });
    }
    Ok(literal.to_string())
}

/// Resolves and checks; one refused address refuses the name, because a name that mixes is a trick.
pub(super) async fn resolve(gate: &Gate, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
    let at = format!("{host}:{port}");
    let found = tokio::net::lookup_host((host, port)).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(e) => return Err(Error::NotSent { place: at, cause: Cause::Name, detail: e.to_string() }),
    };
    if let Some(bad) = addresses.iter().find(|a| denied(*gate, a.ip())) {
        return Err(Error::Forbidden { place: at, address: bad.ip().to_string() });
    }
    if addresses.is_empty() {
        return Err(Error::NotSent { place: at, cause: Cause::Name, detail: "the name has no address".into() });
    }
    Ok(addresses)
}

/// The gate as reqwest's resolver: what it returns is what is connected to, so a name cannot change in between.
#[derive(Debug)]
pub(super) struct CheckedDns(pub Gate);

impl Resolve for CheckedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let gate = self.0;
        Box::pin(async move {
            let addresses = resolve(&gate, name.as_str(), 0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
