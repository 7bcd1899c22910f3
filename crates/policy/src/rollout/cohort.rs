//! Which agents get a candidate first. Agents and not nodes: an agent holds one set, by which it judges all nodes of its host.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hasher as _;
use std::str::FromStr;

use siphasher::sip::SipHasher24;

/// Most cohorts of a roll-out: each doubles the last one from less than one in a hundred on.
pub const MAX_COHORTS: usize = 8;
/// Most names in a cohort: a bound for who writes it down, not a wish.
const MAX_NAMES: usize = 256;
/// Longest name of an agent, in bytes.
const MAX_NAME: usize = 255;
/// All agents, in basis points.
const ALL: u16 = 10_000;

/// Some of the agents of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cohort {
    /// So many of ten thousand, by a hash of their names: the same ones each time, and those of a smaller share are part of a larger one.
    Share(u16),
    /// Those with these names.
    Agents(BTreeSet<String>),
}

impl Cohort {
    /// Whether an agent belongs to it.
    #[must_use]
    pub fn has(&self, agent: &str) -> bool {
        match self {
            Self::Share(points) => place(agent) < *points,
            Self::Agents(names) => names.contains(agent),
        }
    }
}

/// Where an agent stands between 0 and 9,999. The key is fixed: every replica, and every release, must find the same.
fn place(agent: &str) -> u16 {
    let mut hasher = SipHasher24::new_with_keys(
        u64::from_be_bytes(*b"skans-co"),
        u64::from_be_bytes(*b"hort-v1\0"),
    );
    hasher.write(agent.as_bytes());
    let place = (u128::from(hasher.finish()) * u128::from(ALL)) >> 64;
    u16::try_from(place).unwrap_or(ALL)
}

impl fmt::Display for Cohort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(points) if points % 100 == 0 => write!(f, "{}%", points / 100),
            Self::Share(points) => write!(f, "{}.{:02}%", points / 100, points % 100),
            Self::Agents(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                f.write_str(&names.join("+"))
            }
        }
    }
}

impl FromStr for Cohort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "cohort: found {text:?}, wanted a share such as 10% or 0.25%, or names of agents such as host-a+host-b"
            )
        };
        if let Some(share) = text.strip_suffix('%') {
            let (whole, part) = share.split_once('.').unwrap_or((share, "0"));
            let digits = |text: &str| {
                (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
            };
            if !digits(whole) || !digits(part) || part.len() > 2 {
                return Err(wrong());
            }
            let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
            let part = number(&format!("{part:0<2}"))?;
            let points = number(whole)?.saturating_mul(100).saturating_add(part);
            if !(1..=ALL).contains(&points) {
                return Err(wrong());
            }
            return Ok(Self::Share(points));
        }
        let names: BTreeSet<String> = text.split('+').map(str::to_owned).collect();
        let is_name = |name: &String| {
            (1..=MAX_NAME).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        };
        if names.len() > MAX_NAMES || !names.iter().all(is_name) {
            return Err(wrong());
        }
        Ok(Self::Agents(names))
    }
}

/// The cohorts of a roll-out, one after the other; each has those before it in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cohorts(Vec<Cohort>);

impl Cohorts {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none: then all agents get it at once.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an agent belongs to one of the first `count` cohorts.
    #[must_use]
    pub fn has(&self, count: usize, agent: &str) -> bool {
        self.0.iter().take(count).any(|cohort| cohort.has(agent))
    }

    /// The cohort at a place, from 0.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&Cohort> {
        self.0.get(at)
    }
}

impl fmt::Display for Cohorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Cohorts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let all: Vec<Cohort> = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        if all.len() > MAX_COHORTS {
            return Err(format!(
                "cohorts: found {}, wanted at most {MAX_COHORTS}",
                all.len()
            ));
        }
        let mut largest = 0;
        for cohort in &all {
            if let Cohort::Share(points) = cohort {
                if *points <= largest {
                    return Err(format!(
                        "cohorts: found {cohort} after a share that is as large, wanted growing shares"
                    ));
                }
                largest = *points;
            }
        }
        Ok(Self(all))
    }
}
