//! Flags of the emulator: which words begin one, and which take a value. What a value may be is not known here.

use std::iter::Peekable;

use super::{Argument, Refusal};

/// A flag of the emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator<O> {
    /// Its name with the plus sign and without a value that is written to it: `+S` of `+S4:4`.
    pub name: String,
    /// The word it was read from.
    pub word: Argument<O>,
    /// The word behind it, if it takes one.
    pub next: Option<Argument<O>>,
}

impl<O> Emulator<O> {
    /// Its value, written to it or behind it.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        let attached = self.word.text.get(self.name.len()..);
        match attached {
            Some(text) if !text.is_empty() => Some(text),
            _ => self.next.as_ref().map(|next| next.text.as_str()),
        }
    }
}

/// Flags that take a value, without their plus sign. OTP 25 to 27; those of one release only are here, too.
const WITH_VALUE: &[&str] = &[
    "a", "A", "C", "e", "h", "hmax", "hmaxel", "hmaxib", "hmaxk", "hmbs", "hmqd", "hms", "hpds",
    "i", "IOp", "IOPp", "IOPt", "IOs", "IOt", "JDdump", "JMsingle", "JPcover", "JPfp", "JPperf",
    "K", "n", "P", "pc", "Q", "R", "rg", "S", "sbt", "sbwt", "sbwtdcpu", "sbwtdio", "scl", "sct",
    "SDcpu", "SDio", "SDPcpu", "secio", "sfwi", "SP", "spp", "sss", "sssdcpu", "sssdio", "stbt",
    "sub", "swct", "sws", "swt", "swtdcpu", "swtdio", "t", "T", "W", "zdbbl", "zdntgc", "zebwt",
    "zhft", "zosrl",
];
/// Flags that take none, or one that is written to them.
const WITHOUT_VALUE: &[&str] = &[
    "B", "Bc", "Bd", "Bi", "c", "d", "D", "dcg", "fna", "fnai", "fnae", "fnaw", "fnl", "fnu",
    "fnue", "fnui", "fnuw", "l", "L", "na", "nd", "ns", "r", "ssrct", "v", "V", "We", "Wi", "Ww",
];
const ALLOCATORS: &[char] = &[
    'u', 'B', 'I', 'D', 'E', 'F', 'H', 'L', 'R', 'S', 'T', 'X', 'Z',
];
const ALLOCATOR: &[&str] = &[
    "as", "asbcst", "atags", "acul", "acnl", "acfml", "cp", "e", "t", "lmbcs", "mbcgs", "mbsd",
    "mmbcs", "mmmbc", "mmsbc", "msbclt", "ramv", "rmbcmt", "rsbcmt", "rsbcst", "sbct", "smbcs",
];
const ALL_ALLOCATORS: &[&str] = &[
    "Mea", "Mummc", "Muycs", "Musac", "Mim", "Mis", "Mit", "Mlpm", "MMamcbf", "MMrmcbf", "MMmcs",
    "MMscs", "MMscrfsd", "MMsco", "MMscrpm", "MYe", "MYm", "MYtp", "MYtt", "MIscs", "MXscs",
    "Mdai",
];

/// Whether the emulator flags of this name exist in OTP 25, 26 or 27. The name has its plus sign and no value.
///
/// ```
/// use skans_erlconf::flags::known_emulator_flags as known;
/// assert!(known("+MEacul") && known("+zdbbl"));
/// assert!(!known("+MEAacul") && !known("+ssl_dist_optfile"));
/// ```
#[must_use]
pub fn known(name: &str) -> bool {
    let name = name.strip_prefix('+').unwrap_or(name);
    WITH_VALUE.contains(&name) || WITHOUT_VALUE.contains(&name) || is_allocator(name)
}

fn is_allocator(name: &str) -> bool {
    let mut rest = name.chars();
    ALL_ALLOCATORS.contains(&name)
        || (rest.next() == Some('M')
            && rest.next().is_some_and(|c| ALLOCATORS.contains(&c))
            && ALLOCATOR.contains(&rest.as_str()))
}

/// A word with a plus sign and, if it takes one, the next.
pub(super) fn read<O: Clone>(
    word: Argument<O>,
    line: &mut Peekable<impl Iterator<Item = Argument<O>>>,
) -> Result<Emulator<O>, Refusal<O>> {
    let name = word.text.strip_prefix('+').unwrap_or_default().to_owned();
    let takes = match name.as_str() {
        "B" => line.peek().is_some_and(|next| next.text.starts_with('i')),
        "c" => line
            .peek()
            .is_some_and(|next| matches!(next.text.as_str(), "true" | "false")),
        name => WITH_VALUE.contains(&name) || is_allocator(name),
    };
    if !takes {
        return Ok(Emulator {
            name: attached(&name),
            word,
            next: None,
        });
    }
    // Whatever it looks like: `+zdbbl -x` has the value `-x`.
    match line.next_if(|next| !next.is_separator()) {
        Some(next) => Ok(Emulator {
            name: word.text.clone(),
            word,
            next: Some(next),
        }),
        None => Err(Refusal::MissingArgument(word)),
    }
}

/// The flag of a word whose value, if any, is written to it.
fn attached(name: &str) -> String {
    let whole = WITHOUT_VALUE.contains(&name);
    let prefix = WITH_VALUE
        .iter()
        .chain(WITHOUT_VALUE)
        .filter(|flag| {
            let rest = name.strip_prefix(**flag);
            // A letter goes on with the name, whatever flag is a part of it.
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit() || c == ':'))
        })
        .max_by_key(|flag| flag.len());
    match prefix {
        Some(flag) if !whole => format!("+{flag}"),
        _ => format!("+{name}"),
    }
}
