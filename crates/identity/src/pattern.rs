//! Patterns over the part of a node name before `@`: which short-lived names a CLI identity may carry.

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;

use crate::error::Error;

/// Longest pattern in bytes. Ours: names are shorter.
pub const MAX_PATTERN: usize = 128;

/// A pattern over names. Written form: `*` stands for any run of characters, also none; `?` for any one; all else for
/// itself. Matching takes at most pattern length × name length steps.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NamePattern(Kind);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Kind {
    Glob(Box<str>),
    /// `c` and a number up to 65535.
    ErlCall,
    /// What `net_kernel` assigns to a node that asks for a name.
    Dynamic,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than [`MAX_PATTERN`], holds what no name holds, or starts with `*` or `?`:
    /// a CLI identity that may carry *every* name of its host is a mistake, so the start must be spelled out.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |wanted| Err(Error::name("name pattern", text, wanted));
        if text.is_empty() || text.len() > MAX_PATTERN {
            return bad("1 to 128 bytes");
        }
        if !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*' | b'?'))
        {
            return bad("only a-z, A-Z, 0-9, '_', '-' and the wildcards '*' and '?'");
        }
        if text.starts_with(['*', '?']) {
            return bad("a pattern that starts with at least one plain character");
        }
        Ok(Self(Kind::Glob(text.into())))
    }

    /// The names that stock tools give to their short-lived nodes:
    /// - `rabbitmqcli-*`: `rabbitmqctl` and its siblings (`rabbitmqcli-<n>-rabbit`);
    /// - `epmd-starter-*`: `rabbit_nodes_common:ensure_epmd/0`;
    /// - `rem-*`, `rpc-*`: `remote` and `rpc` of a Mix release; `remsh*-*`: `remote_console` of a relx release;
    /// - `maint????????-*`: `rpc`, `ping`, `pid` and `stop` of a relx release, by way of `nodetool`;
    /// - `c<number>` of `erl_call` (`c17`, or up to `c65535` with `-r`);
    /// - dynamic names: `integer_to_list(rand:uniform(1 bsl 64), 36)` in `net_kernel`, so at most 13 upper-case
    ///   characters of base 36, and fewer than 10 in one of some 180,000.
    ///
    /// Left out, because they fit real nodes as well: the peer-discovery names of RabbitMQ (`rabbit-4803-32`).
    #[must_use]
    pub fn cli_defaults() -> Vec<Self> {
        let globs = [
            "rabbitmqcli-*",
            "epmd-starter-*",
            "rem-*",
            "rpc-*",
            "remsh*-*",
            "maint????????-*",
        ];
        let globs = globs.into_iter().map(|glob| Self(Kind::Glob(glob.into())));
        globs
            .chain([Self(Kind::ErlCall), Self(Kind::Dynamic)])
            .collect()
    }

    /// Whether the whole of `name` fits.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Glob(glob) => fits(glob.as_bytes(), name.as_bytes()),
            Kind::ErlCall => name.strip_prefix('c').is_some_and(|number| {
                let plain = number.bytes().all(|b| b.is_ascii_digit())
                    && (number == "0" || !number.starts_with('0'));
                plain && number.parse::<u16>().is_ok()
            }),
            Kind::Dynamic => {
                let shape = name
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
                shape && (10..=13).contains(&name.len()) && !name.starts_with('0')
            }
        }
    }
}

/// Whether the whole of `name` fits `glob`, in the written form of [`NamePattern`] but without its rules on what a pattern
/// may be. For names that are not claimed by anybody, such as the lines of a configuration.
#[must_use]
pub fn glob_fits(glob: &str, name: &str) -> bool {
    fits(glob.as_bytes(), name.as_bytes())
}

/// Glob matching with one restart point: only the last `*` seen can ever need to take more, so no stack is kept.
fn fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut restart: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        match glob.get(g) {
            Some(b'*') => {
                restart = Some((g + 1, n));
                g += 1;
            }
            Some(&p) if p == b'?' || p == c => {
                g += 1;
                n += 1;
            }
            _ => match restart.as_mut() {
                Some((after_star, taken)) => {
                    *taken += 1;
                    (g, n) = (*after_star, *taken);
                }
                None => return false,
            },
        }
    }
    glob.get(g..)
        .is_some_and(|rest| rest.iter().all(|&b| b == b'*'))
}

impl FromStr for NamePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Glob(glob) => glob,
            Kind::ErlCall => "c<number>",
            Kind::Dynamic => "<dynamic name>",
        })
    }
}

impl fmt::Debug for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
