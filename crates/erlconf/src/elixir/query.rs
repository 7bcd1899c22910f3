//! How to ask Elixir configuration: settings, calls, and what comes from the environment. No parsing.

use super::{Expr, File, Kind};

/// One `key: value` of a `config` call.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting<'f> {
    /// The application, without its colon.
    pub app: &'f str,
    /// What leads to the value: `config :shop, Shop.Endpoint, port: 1` has `Shop.Endpoint` and `port`.
    pub keys: Vec<&'f Expr>,
    /// The value.
    pub value: &'f Expr,
    /// Whether it stands in a block, such as that of an `if`.
    pub conditional: bool,
    /// The whole call.
    pub call: &'f Expr,
}

impl<'f> Setting<'f> {
    /// The last key as text.
    #[must_use]
    pub fn key(&self) -> Option<&'f str> {
        self.keys.last().and_then(|key| key.text())
    }

    /// Whether the keys are these.
    #[must_use]
    pub fn is(&self, app: &str, keys: &[&str]) -> bool {
        self.app == app
            && self.keys.len() == keys.len()
            && self
                .keys
                .iter()
                .zip(keys)
                .all(|(found, key)| found.text() == Some(*key))
    }
}

/// A value that is read from the environment when the node starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FromEnvironment<'e> {
    /// The variable.
    pub name: &'e str,
    /// What is taken if it is not set.
    pub default: Option<&'e Expr>,
    /// Whether the node does not start without it (`fetch_env!`, `|| raise …`).
    pub required: bool,
}

impl File {
    /// All settings of `config` calls, in order, also those within blocks.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting<'_>> {
        let mut found = Vec::new();
        let mut open: Vec<(&Expr, bool)> =
            self.body.iter().rev().map(|expr| (expr, false)).collect();
        while let Some((expr, conditional)) = open.pop() {
            if let Kind::Call {
                name,
                arguments,
                block,
            } = &expr.kind
            {
                if name == "config" {
                    settings_of(expr, arguments, conditional, &mut found);
                }
                open.extend(block.iter().rev().map(|inner| (inner, true)));
                // `if prod?, do: config(…)`.
                open.extend(
                    arguments
                        .iter()
                        .rev()
                        .filter_map(|argument| match &argument.kind {
                            Kind::Pair(key, value) if key.is_atom("do") || key.is_atom("else") => {
                                Some((value.as_ref(), true))
                            }
                            _ => None,
                        }),
                );
            }
        }
        found
    }

    /// Every expression of the file, outer ones first.
    pub fn all(&self) -> impl Iterator<Item = &Expr> {
        self.body.iter().flat_map(Expr::all)
    }

    /// Every call of this name, wherever it stands.
    pub fn calls<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f Expr> {
        self.all()
            .filter(move |expr| expr.call_arguments(name).is_some())
    }
}

fn settings_of<'f>(
    call: &'f Expr,
    arguments: &'f [Expr],
    conditional: bool,
    found: &mut Vec<Setting<'f>>,
) {
    let [first, rest @ ..] = arguments else {
        return;
    };
    let Kind::Atom(app) = &first.kind else { return };
    let mut add = |keys, value| {
        found.push(Setting {
            app,
            keys,
            value,
            conditional,
            call,
        });
    };
    // `config :app, key: value`, `config :app, [key: value]`, `config :app, Key, value`, `config :app, Key, key: value`.
    let (prefix, rest): (Vec<&Expr>, _) = match rest {
        [key, others @ ..] if !others.is_empty() && !matches!(key.kind, Kind::Pair(..)) => {
            (vec![key], others)
        }
        others => (Vec::new(), others),
    };
    for argument in rest {
        let entries = match &argument.kind {
            Kind::List(entries)
                if entries
                    .iter()
                    .any(|entry| matches!(entry.kind, Kind::Pair(..))) =>
            {
                entries.as_slice()
            }
            _ => std::slice::from_ref(argument),
        };
        for entry in entries {
            match &entry.kind {
                Kind::Pair(key, value) => {
                    let keys = prefix.iter().copied().chain([key.as_ref()]).collect();
                    add(keys, value);
                }
                _ if !prefix.is_empty() => add(prefix.clone(), entry),
                _ => {}
            }
        }
    }
}

impl Expr {
    /// Text, whatever its notation: atom, alias, charlist, or a string without interpolation.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Atom(text) | Kind::Alias(text) | Kind::Charlist(text) => Some(text),
            Kind::String { text, interpolated } if interpolated.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Whether it is this atom.
    #[must_use]
    pub fn is_atom(&self, name: &str) -> bool {
        matches!(&self.kind, Kind::Atom(text) if text == name)
    }

    /// The arguments, if it is a call of this name.
    #[must_use]
    pub fn call_arguments(&self, called: &str) -> Option<&[Self]> {
        match &self.kind {
            Kind::Call {
                name, arguments, ..
            } if name == called => Some(arguments),
            _ => None,
        }
    }

    /// The value of a key of a keyword list, map, or call with keyword arguments.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        let entries = match &self.kind {
            Kind::List(entries) | Kind::Map(entries) => entries.as_slice(),
            Kind::Call { arguments, .. } => arguments.as_slice(),
            _ => &[],
        };
        entries.iter().find_map(|entry| match &entry.kind {
            Kind::Pair(found, value) if found.text() == Some(key) => Some(value.as_ref()),
            Kind::Tuple(pair) => match pair.as_slice() {
                [found, value] if found.is_atom(key) => Some(value),
                _ => None,
            },
            _ => None,
        })
    }

    /// What stands directly in it.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::List(parts)
            | Kind::Tuple(parts)
            | Kind::Map(parts)
            | Kind::Other(parts)
            | Kind::Attribute(_, parts)
            | Kind::Operation {
                operands: parts, ..
            }
            | Kind::String {
                interpolated: parts,
                ..
            } => parts.iter().collect(),
            Kind::Pair(key, value) => vec![key, value],
            Kind::Call {
                arguments, block, ..
            } => arguments.iter().chain(block).collect(),
            _ => Vec::new(),
        }
    }

    /// This expression and all within it, outer ones first.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(expr) = found.get(next).copied() {
            found.extend(expr.children());
            next += 1;
        }
        found
    }

    /// The variable that this value comes from: `System.get_env`, `System.fetch_env!`, with or without `|| default`
    /// and what it is piped through.
    #[must_use]
    pub fn from_environment(&self) -> Option<FromEnvironment<'_>> {
        match &self.kind {
            Kind::Call {
                name, arguments, ..
            } => match name.as_str() {
                "System.get_env" | "System.fetch_env!" | "System.fetch_env" | ":os.getenv" => {
                    Some(FromEnvironment {
                        name: arguments.first()?.text()?,
                        default: arguments.get(1),
                        required: name.ends_with('!'),
                    })
                }
                // `String.to_atom(System.fetch_env!("X"))`.
                _ => arguments.iter().find_map(Self::from_environment),
            },
            Kind::Operation {
                operands,
                operators,
            } => {
                let (at, mut from) = operands
                    .iter()
                    .enumerate()
                    .find_map(|(at, operand)| Some((at, operand.from_environment()?)))?;
                let next = operands.get(at + 1);
                if operators.get(at).is_some_and(|operator| operator == "||")
                    && let Some(next) = next
                {
                    let raises = matches!(&next.kind, Kind::Call { name, .. } if name == "raise");
                    from.required |= raises;
                    from.default = from.default.or(Some(next).filter(|_| !raises));
                }
                Some(from)
            }
            Kind::String { interpolated, .. } => {
                interpolated.iter().find_map(Self::from_environment)
            }
            _ => None,
        }
    }
}
