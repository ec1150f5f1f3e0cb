//! A look at a pack as it streams by, before libgit2 gets it: a delta of a few bytes may claim a result of any size,
//! and libgit2 builds results in memory. Sizes are read where the pack states them and checked where they come true.

use flate2::{Decompress, FlushDecompress, Status};

/// The largest object that may be built from a delta, and the largest commit, tree or tag. Blobs that stand in the
/// pack whole pass at any size: they are hashed piece by piece.
const MOST_BUILT_BYTES: u64 = 256 << 20;

/// Why a pack is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Bad {
    #[error("an object in the pack is larger than {} MiB", MOST_BUILT_BYTES >> 20)]
    TooLarge,
    #[error("the pack is broken")]
    Broken,
}

/// Watches a pack, given piece by piece.
pub(super) struct Watch {
    state: State,
    objects_left: u32,
}

enum State {
    /// `PACK`, version, number of objects.
    Start(Vec<u8>),
    /// Type, size and what a delta is based on.
    Head(Vec<u8>),
    Body(Box<Body>),
    /// The checksum.
    End,
}

struct Body {
    inflate: Decompress,
    size: u64,
    /// A delta's first bytes, until both sizes in them are known.
    delta: Option<Vec<u8>>,
}

impl Watch {
    pub(super) fn new() -> Watch {
        Watch { state: State::Start(Vec::new()), objects_left: 0 }
    }

    /// Looks at the next piece.
    pub(super) fn see(&mut self, mut piece: &[u8]) -> Result<(), Bad> {
        while let Some((first, rest)) = piece.split_first() {
            match &mut self.state {
                State::Start(bytes) => {
                    bytes.push(*first);
                    piece = rest;
                    if let Some(bytes) = bytes.first_chunk::<12>() {
                        let [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, count @ ..] = bytes else {
                            return Err(Bad::Broken);
                        };
                        self.objects_left = u32::from_be_bytes(*count);
                        self.next_object();
                    }
                }
                State::Head(bytes) => {
                    bytes.push(*first);
                    piece = rest;
                    if let Some(body) = body_of(bytes)? {
                        self.state = State::Body(Box::new(body));
                    }
                }
                State::Body(body) => {
                    let (used, ended) = body.see(piece)?;
                    piece = &piece[used..];
                    if ended {
                        self.objects_left -= 1;
                        self.next_object();
                    }
                }
                State::End => return Ok(()),
            }
        }
        Ok(())
    }

    fn next_object(&mut self) {
        self.state = if self.objects_left == 0 { State::End } else { State::Head(Vec::new()) };
    }
}

/// The head of an object, once all of it is there.
fn body_of(bytes: &[u8]) -> Result<Option<Body>, Bad> {
    // Type and size take at most 10 bytes, an offset as many, a base's id 20.
    if bytes.len() > 32 {
        return Err(Bad::Broken);
    }
    let Some(end) = bytes.iter().position(|b| b & 0x80 == 0) else { return Ok(None) };
    let kind = (bytes[0] >> 4) & 7;
    let mut size = u64::from(bytes[0] & 0x0f);
    for (n, byte) in bytes[1..=end].iter().enumerate() {
        size |= u64::from(byte & 0x7f).checked_shl(4 + 7 * n as u32).ok_or(Bad::Broken)?;
    }
    let base = &bytes[end + 1..];
    let complete = match kind {
        1..=4 => true,
        6 => base.iter().any(|b| b & 0x80 == 0),
        7 => base.len() == 20,
        _ => return Err(Bad::Broken),
    };
    const BLOB: u8 = 3;
    if kind != BLOB && size > MOST_BUILT_BYTES {
        return Err(Bad::TooLarge);
    }
    let body = || Body { inflate: Decompress::new(true), size, delta: (kind > 4).then(Vec::new) };
    Ok(complete.then(body))
}

impl Body {
    /// How much of `piece` belongs to this object, and whether it ends there.
    fn see(&mut self, piece: &[u8]) -> Result<(usize, bool), Bad> {
        let mut scratch = [0u8; 8 << 10];
        let mut used = 0;
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(&piece[used..], &mut scratch, FlushDecompress::None);
            let status = status.map_err(|_| Bad::Broken)?;
            let read = (self.inflate.total_in() - before_in) as usize;
            let made = (self.inflate.total_out() - before_out) as usize;
            used += read;
            self.check(&scratch[..made])?;
            match status {
                Status::StreamEnd if self.inflate.total_out() != self.size => return Err(Bad::Broken),
                Status::StreamEnd => return Ok((used, true)),
                _ if read == 0 && made == 0 => return Ok((piece.len(), false)),
                _ => {}
            }
        }
    }

    fn check(&mut self, made: &[u8]) -> Result<(), Bad> {
        if self.inflate.total_out() > self.size {
            return Err(Bad::Broken);
        }
        let Some(head) = &mut self.delta else { return Ok(()) };
        head.extend_from_slice(&made[..made.len().min(20)]);
        let Some((base, rest)) = number(head) else { return Ok(()) };
        let Some((result, _)) = number(rest) else { return Ok(()) };
        self.delta = None;
        if base.max(result) > MOST_BUILT_BYTES { Err(Bad::TooLarge) } else { Ok(()) }
    }
}

/// A number as deltas write them, seven bits a byte, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|b| b & 0x80 == 0)?;
    let value =
        bytes[..=end].iter().rev().fold(0u64, |all, b| all.saturating_mul(128).saturating_add(u64::from(b & 0x7f)));
    Some((value, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use std::io::Write;

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn head(kind: u8, mut size: u64) -> Vec<u8> {
        let mut out = vec![(kind << 4) | (size & 0x0f) as u8];
        size >>= 4;
        while size > 0 {
            *out.last_mut().unwrap() |= 0x80;
            out.push((size & 0x7f) as u8);
            size >>= 7;
        }
        out
    }

    fn varint(mut value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        loop {
            let more = value > 0x7f;
            out.push((value & 0x7f) as u8 | if more { 0x80 } else { 0 });
            value >>= 7;
            if !more {
                return out;
            }
        }
    }

    fn pack(objects: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"PACK\0\0\0\x02".to_vec();
        out.extend_from_slice(&(objects.len() as u32).to_be_bytes());
        objects.iter().for_each(|object| out.extend_from_slice(object));
        out.extend_from_slice(&[0; 20]);
        out
    }

    fn whole(kind: u8, content: &[u8]) -> Vec<u8> {
        [head(kind, content.len() as u64), zlib(content)].concat()
    }

    fn delta(base: u64, result: u64) -> Vec<u8> {
        let content = [varint(base), varint(result), vec![0x90, 5]].concat();
        [head(7, content.len() as u64), vec![7; 20], zlib(&content)].concat()
    }

    fn seen(pack: &[u8], step: usize) -> Result<(), Bad> {
        let mut watch = Watch::new();
        pack.chunks(step).try_for_each(|piece| watch.see(piece))
    }

    #[test]
    fn limits_a_delta_may_not_claim_a_giant() {
        let lies = [head(3, 5), zlib(b"more than five")].concat();
        let offset = [head(6, 4), vec![0x81, 0x02], zlib(&[5, 5, 0x90, 5])].concat();
        for (label, objects, verdict) in [
            ("nothing", vec![], Ok(())),
            (
                "usual",
                vec![whole(1, b"commit"), whole(2, b""), whole(3, &[7; 100_000]), offset, delta(9, 1 << 20)],
                Ok(()),
            ),
            ("result", vec![delta(9, 1 << 40)], Err(Bad::TooLarge)),
            ("base", vec![whole(3, b"x"), delta(1 << 29, 9)], Err(Bad::TooLarge)),
            ("tree", vec![[head(2, 1 << 30), zlib(b"")].concat()], Err(Bad::TooLarge)),
            ("size", vec![lies], Err(Bad::Broken)),
            ("type", vec![whole(5, b"x")], Err(Bad::Broken)),
            ("zlib", vec![[head(3, 5), vec![1, 2, 3, 4, 5, 6, 7, 8]].concat()], Err(Bad::Broken)),
        ] {
            for step in [1, 7, 1 << 20] {
                assert_eq!(seen(&pack(&objects), step), verdict, "{label} by {step}");
            }
        }
        assert_eq!(seen(b"JUNKJUNKJUNK", 3), Err(Bad::Broken));
        let endless = [b"PACK\0\0\0\x02\0\0\0\x01".to_vec(), vec![0xff; 64]].concat();
        assert_eq!(seen(&endless, 5), Err(Bad::Broken));
    }
}
