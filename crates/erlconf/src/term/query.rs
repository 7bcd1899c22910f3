//! How to ask a term: what it is, and what a property list or map says. No parsing.

use super::{Kind, Term};

/// One entry of a property list or map: `{Key, Value}`, `Key => Value`, or an atom that stands for `{Key, true}`.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'t> {
    /// The key.
    pub key: &'t Term,
    /// The value; none if the key stands alone.
    pub value: Option<&'t Term>,
    /// The whole entry; of a map, the key.
    pub whole: &'t Term,
}

impl Entry<'_> {
    /// Whether the entry says yes: the key alone, or with the value `true`.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.value.is_none_or(|value| value.is_atom("true"))
    }
}

impl Term {
    /// The name of an atom.
    #[must_use]
    pub fn as_atom(&self) -> Option<&str> {
        match &self.kind {
            Kind::Atom(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is this atom.
    #[must_use]
    pub fn is_atom(&self, name: &str) -> bool {
        self.as_atom() == Some(name)
    }

    /// The value of an integer of at most 128 bits.
    #[must_use]
    pub const fn as_integer(&self) -> Option<i128> {
        match self.kind {
            Kind::Integer(value) => Some(value),
            _ => None,
        }
    }

    /// The value of `true` and `false`.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.as_atom() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        }
    }

    /// What an atom, a string or a binary of UTF-8 says: the three ways in which people write text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Atom(text) | Kind::String(text) => Some(text),
            Kind::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The elements of a tuple.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements of a proper list that was not written as a string; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items, None) => items,
            _ => &[],
        }
    }

    /// Whether it is a list, in whatever notation.
    #[must_use]
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(..) | Kind::String(_))
    }

    /// The entries of a property list or map, in the order of writing. What is no entry is passed over, as
    /// `proplists` does.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let pairs: &[(Self, Self)] = match &self.kind {
            Kind::Map(pairs) => pairs,
            _ => &[],
        };
        let of_map = pairs.iter().map(|(key, value)| Entry {
            key,
            value: Some(value),
            whole: key,
        });
        let of_list = self.items().iter().filter_map(|item| match &item.kind {
            Kind::Atom(_) => Some(Entry {
                key: item,
                value: None,
                whole: item,
            }),
            Kind::Tuple(pair) => match pair.as_slice() {
                [key, value] => Some(Entry {
                    key,
                    value: Some(value),
                    whole: item,
                }),
                _ => None,
            },
            _ => None,
        });
        of_map.chain(of_list)
    }

    /// The first entry whose key is this atom: what `proplists` finds.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.key.is_atom(key))
    }

    /// The value of the first entry with this key; none if the key stands alone.
    ///
    /// ```
    /// let term = skans_erlconf::term::parse("[{verify, verify_peer}, honor_cipher_order]")?;
    /// assert!(term.get("verify").is_some_and(|value| value.is_atom("verify_peer")));
    /// assert!(term.get("honor_cipher_order").is_none());
    /// assert!(term.entry("honor_cipher_order").is_some_and(|entry| entry.is_true()));
    /// # Ok::<(), skans_erlconf::Error>(())
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).and_then(|entry| entry.value)
    }

    /// The value behind a chain of keys: `path(&["kernel", "inet_dist_listen_min"])` of a `sys.config`.
    #[must_use]
    pub fn path(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |term, key| term.get(key))
    }

    /// The terms that stand directly in this one.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (terms, tail, pairs): (&[Self], Option<&Self>, &[(Self, Self)]) = match &self.kind {
            Kind::Tuple(terms)
            | Kind::Call {
                arguments: terms, ..
            } => (terms, None, &[]),
            Kind::List(terms, tail) => (terms, tail.as_deref(), &[]),
            Kind::Map(pairs) => (&[], None, pairs),
            _ => (&[], None, &[]),
        };
        terms
            .iter()
            .chain(tail)
            .chain(pairs.iter().flat_map(|(key, value)| [key, value]))
    }

    /// This term and all within it, outer ones first.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(term) = found.get(next).copied() {
            found.extend(term.children());
            next += 1;
        }
        found
    }
}

impl PartialEq for Term {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl PartialEq for Kind {
    /// As Erlang's `=:=`, but that a placeholder equals what is written the same.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Atom(a), Self::Atom(b))
            | (Self::String(a), Self::String(b))
            | (Self::BigInteger(a), Self::BigInteger(b))
            | (Self::Placeholder(a), Self::Placeholder(b))
            | (Self::Code(a), Self::Code(b)) => a == b,
            (
                Self::Call {
                    module: module_a,
                    function: function_a,
                    arguments: a,
                },
                Self::Call {
                    module: module_b,
                    function: function_b,
                    arguments: b,
                },
            ) => module_a == module_b && function_a == function_b && a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Binary(a), Self::Binary(b)) => a == b,
            (
                Self::Bits {
                    bytes: a,
                    last: last_a,
                },
                Self::Bits {
                    bytes: b,
                    last: last_b,
                },
            ) => a == b && last_a == last_b,
            (Self::Tuple(a), Self::Tuple(b)) => a == b,
            (Self::List(a, tail_a), Self::List(b, tail_b)) => a == b && tail_a == tail_b,
            (Self::String(text), Self::List(items, None))
            | (Self::List(items, None), Self::String(text)) => same_text(text, items),
            (Self::Map(a), Self::Map(b)) => same_map(a, b),
            (
                Self::Fun {
                    module: module_a,
                    function: function_a,
                    arity: arity_a,
                },
                Self::Fun {
                    module: module_b,
                    function: function_b,
                    arity: arity_b,
                },
            ) => module_a == module_b && function_a == function_b && arity_a == arity_b,
            _ => false,
        }
    }
}

/// `"ab"` is `[97, 98]`.
fn same_text(text: &str, items: &[Term]) -> bool {
    let mut characters = text.chars().map(|c| i128::from(u32::from(c)));
    items
        .iter()
        .all(|item| item.as_integer().is_some() && item.as_integer() == characters.next())
        && characters.next().is_none()
}

/// Of equal keys the last one counts; the order does not. Quadratic in the number of keys of one map.
fn same_map(a: &[(Term, Term)], b: &[(Term, Term)]) -> bool {
    let value =
        |map: &'_ [(Term, Term)], key: &Term| map.iter().rposition(|(other, _)| other == key);
    let within = |inner: &[(Term, Term)], outer: &[(Term, Term)]| {
        inner.iter().all(|(key, _)| {
            let (Some(one), Some(other)) = (value(inner, key), value(outer, key)) else {
                return false;
            };
            inner.get(one).map(|(_, value)| value) == outer.get(other).map(|(_, value)| value)
        })
    };
    within(a, b) && within(b, a)
}
