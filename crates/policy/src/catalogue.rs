//! What the functions and registered processes of OTP and Elixir mean: data in `catalogue/*.txt`, looked up here. Who may
//! use them is for policies to say.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// What is known of a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "the attributes of the schema"
)]
pub struct Function {
    /// Of a module of OTP or Elixir.
    pub otp: bool,
    /// Who may call it owns the node.
    pub administrative: bool,
    /// It calls what its arguments say.
    pub applies_arguments: bool,
}

impl Function {
    /// Whether a permit has to name it.
    #[must_use]
    pub const fn must_be_named(self) -> bool {
        self.administrative || self.applies_arguments
    }
}

/// What is known of a registered process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Of OTP or Elixir.
    pub otp: bool,
    /// Who may send to it owns the node.
    pub administrative: bool,
}

/// What is known of `module:function/arity`. Of what is not in the catalogue: nothing, which is an application's own.
#[must_use]
pub fn function(module: &str, function: &str, arity: u32) -> Function {
    named(module, &crate::name::function(module, function, arity))
}

/// The same, with the text at hand.
pub(crate) fn named(module: &str, text: &str) -> Function {
    let mut found = Function {
        otp: is_standard(module),
        ..Function::default()
    };
    // An application's own module may begin as one of OTP's does.
    if !found.otp {
        return found;
    }
    if let Some(mark) = CATALOGUE.functions.find(module, text) {
        found.administrative = mark == Mark::Administrative;
        found.applies_arguments = mark == Mark::Applies;
    }
    found
}

/// What is known of a registered name.
#[must_use]
pub fn process(name: &str) -> Process {
    let catalogue = &*CATALOGUE;
    let administrative = catalogue.administrative.matches(name);
    Process {
        otp: administrative || catalogue.processes.matches(name),
        administrative,
    }
}

/// Whether the module is one of OTP or Elixir.
#[must_use]
pub fn is_standard(module: &str) -> bool {
    CATALOGUE.modules.contains(module) || CATALOGUE.functions.modules.contains_key(module)
}

/// The modules of OTP and Elixir.
pub fn modules() -> impl Iterator<Item = &'static str> + Clone {
    CATALOGUE.modules.iter().copied()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Administrative,
    Applies,
}

struct Catalogue {
    modules: HashSet<&'static str>,
    processes: Names,
    administrative: Names,
    functions: Functions,
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let modules = [
        include_str!("catalogue/otp-modules.txt"),
        include_str!("catalogue/elixir-modules.txt"),
    ];
    let mut catalogue = Catalogue {
        modules: modules.into_iter().flat_map(lines).collect(),
        processes: Names::default(),
        administrative: Names::default(),
        functions: Functions::default(),
    };
    for line in lines(include_str!("catalogue/processes.txt")) {
        match line.split_once(' ') {
            Some(("a", name)) => catalogue.administrative.add(name),
            Some(("-", name)) => catalogue.processes.add(name),
            _ => {}
        }
    }
    for line in lines(include_str!("catalogue/functions.txt")) {
        match line.split_once(' ') {
            Some(("a", name)) => catalogue.functions.add(name, Mark::Administrative),
            Some(("f", name)) => catalogue.functions.add(name, Mark::Applies),
            _ => {}
        }
    }
    catalogue
});

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Names, some of which end in `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    exact: HashSet<String>,
    starts: Vec<String>,
}

impl Names {
    fn add(&mut self, name: &str) {
        match name.strip_suffix('*') {
            Some(start) => self.starts.push(start.to_owned()),
            None => {
                self.exact.insert(name.to_owned());
            }
        }
    }

    fn names(&self, name: &str) -> bool {
        self.exact.contains(name)
    }

    fn matches(&self, name: &str) -> bool {
        self.names(name) || self.starts.iter().any(|start| name.starts_with(start))
    }
}

/// Marks of functions: the first line that matches counts, the more exact before the wider.
#[derive(Default)]
struct Functions {
    /// By `module:function/arity`.
    exact: HashMap<&'static str, Mark>,
    /// By `module:function/`.
    any_arity: HashMap<&'static str, Mark>,
    /// By module.
    modules: HashMap<&'static str, Mark>,
    starts: Vec<(&'static str, Mark)>,
}

impl Functions {
    fn add(&mut self, line: &'static str, mark: Mark) {
        if let Some(module) = line.strip_suffix(":*") {
            self.modules.entry(module).or_insert(mark);
        } else if let Some(start) = line.strip_suffix('*') {
            if start.ends_with('/') {
                self.any_arity.entry(start).or_insert(mark);
            } else {
                self.starts.push((start, mark));
            }
        } else {
            self.exact.entry(line).or_insert(mark);
        }
    }

    fn find(&self, module: &str, text: &str) -> Option<Mark> {
        let any_arity = || {
            let start = text.get(..=text.rfind('/')?)?;
            self.any_arity.get(start).copied()
        };
        let exact = self.exact.get(text).copied();
        exact
            .or_else(any_arity)
            .or_else(|| self.modules.get(module).copied())
            .or_else(|| {
                let mut starts = self.starts.iter();
                starts
                    .find(|(start, _)| text.starts_with(start))
                    .map(|&(_, mark)| mark)
            })
    }
}
