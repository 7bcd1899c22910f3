//! What is believed of other domains, as it is kept on disk. One state has one encoding.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;

use super::{Held, MAX_FOREIGN};
use crate::bundle::{Bundle, MAX_ROOTS};
use crate::error::Error;
use crate::id::{MAX_TRUST_DOMAIN, TrustDomain};
use crate::leaf::MAX_CERTIFICATE;
use crate::wire::{Reader, put_bytes};

const MAGIC: &[u8; 4] = b"SKF1";
const DISTRUSTED: u8 = 1;
const SEEN: u8 = 2;
const BROUGHT: u8 = 4;

/// `"SKF1" count:16 { domain:text flags:8 [sequence:64 hash:32] [brought:32] confirmed:64 refresh:64 count:8 { root }* }*`.
pub(super) fn encode(all: &BTreeMap<TrustDomain, Held>) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&u16::try_from(all.len()).unwrap_or(u16::MAX).to_be_bytes());
    for (domain, held) in all {
        put_bytes(&mut out, domain.as_str().as_bytes());
        let flag = |is, flag| if is { flag } else { 0 };
        out.push(
            flag(held.distrusted, DISTRUSTED)
                | flag(held.seen.is_some(), SEEN)
                | flag(held.brought.is_some(), BROUGHT),
        );
        if let Some((sequence, hash)) = &held.seen {
            out.extend_from_slice(&sequence.to_be_bytes());
            out.extend_from_slice(hash);
        }
        out.extend(held.brought.iter().flatten());
        out.extend_from_slice(&held.confirmed.to_be_bytes());
        out.extend_from_slice(&held.refresh.to_be_bytes());
        let roots = held.bundle.as_ref().map(Bundle::len).unwrap_or_default();
        out.push(u8::try_from(roots).unwrap_or(u8::MAX));
        for root in held.bundle.iter().flat_map(Bundle::roots) {
            put_bytes(&mut out, root);
        }
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<BTreeMap<TrustDomain, Held>, Error> {
    let mut reader = Reader::new("foreign bundles", bytes);
    reader.magic(MAGIC)?;
    let count = usize::from(reader.u16()?);
    if count > MAX_FOREIGN {
        return Err(reader.bad(format!("{count} domains"), "at most 128"));
    }
    let mut all = BTreeMap::new();
    for _ in 0..count {
        let domain = TrustDomain::parse(reader.text(MAX_TRUST_DOMAIN)?)?;
        if all
            .last_key_value()
            .is_some_and(|(last, _)| *last >= domain)
        {
            return Err(reader.bad(format!("{domain} after a later one"), "each once, in order"));
        }
        let held = held(&mut reader, &domain)?;
        all.insert(domain, held);
    }
    reader.end()?;
    Ok(all)
}

fn held(reader: &mut Reader<'_>, domain: &TrustDomain) -> Result<Held, Error> {
    let flags = reader.u8()?;
    if flags & !(DISTRUSTED | SEEN | BROUGHT) != 0 {
        return Err(reader.bad(format!("flags {flags}"), "flags of this version"));
    }
    let has = |flag| flags & flag != 0;
    let seen = if has(SEEN) {
        Some((reader.u64()?, reader.array()?))
    } else {
        None
    };
    let brought = if has(BROUGHT) {
        Some(reader.array()?)
    } else {
        None
    };
    let (confirmed, refresh) = (reader.u64()?, reader.u64()?);
    let count = usize::from(reader.u8()?);
    if count > MAX_ROOTS || (has(DISTRUSTED) && count > 0) {
        return Err(reader.bad(format!("{count} roots"), "at most 64, none if distrusted"));
    }
    let mut roots = Vec::with_capacity(count);
    for _ in 0..count {
        roots.push(CertificateDer::from(
            reader.bytes(MAX_CERTIFICATE)?.to_vec(),
        ));
    }
    let bundle = match roots.as_slice() {
        [] => None,
        roots => Some(Bundle::new(domain.clone(), roots)?),
    };
    Ok(Held {
        seen,
        brought,
        bundle,
        confirmed,
        refresh,
        distrusted: has(DISTRUSTED),
    })
}
