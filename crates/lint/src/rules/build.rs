//! Rules over what is built and rendered: images, kustomizations, charts.

mod helm;
mod images;
mod kustomize;
mod templates;

use crate::dockerfile::Instruction;
use crate::document::Content;
use crate::rule::{Context, Rule};
use crate::source::{Place, SourceId};

pub(super) use kustomize::resolve;

pub(super) const FAMILIES: &[&[Rule]] = &[
    images::RULES,
    images::versions::RULES,
    kustomize::RULES,
    helm::RULES,
    templates::RULES,
];

/// A Dockerfile.
struct Dockerfile<'c> {
    source: SourceId,
    text: &'c str,
    instructions: &'c [Instruction],
}

impl<'c> Dockerfile<'c> {
    /// What stands behind the name of an instruction.
    fn arguments(&self, instruction: &Instruction) -> &'c str {
        instruction.arguments.text(self.text)
    }

    const fn place(&self, instruction: &Instruction) -> Place {
        Place {
            source: self.source,
            span: instruction.span,
        }
    }

    /// The stages: the image that each begins with, and what is done in it.
    fn stages(&self) -> Vec<Stage<'c>> {
        let mut stages: Vec<Stage<'c>> = Vec::new();
        for instruction in self.instructions {
            if instruction.name == "FROM" {
                let words = self.arguments(instruction).split_whitespace();
                let mut words = words.skip_while(|word| word.starts_with("--"));
                let image = words.next().unwrap_or_default();
                let name = words
                    .next()
                    .filter(|word| word.eq_ignore_ascii_case("as"))
                    .and_then(|_| words.next());
                stages.push(Stage {
                    image,
                    name,
                    from: instruction,
                    instructions: Vec::new(),
                });
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.push(instruction);
            }
        }
        stages
    }
}

/// A stage of a Dockerfile.
struct Stage<'c> {
    image: &'c str,
    name: Option<&'c str>,
    from: &'c Instruction,
    instructions: Vec<&'c Instruction>,
}

impl Stage<'_> {
    /// Whether it begins with another stage of the same file, or with nothing.
    fn is_derived(&self, stages: &[Stage<'_>]) -> bool {
        self.image == "scratch" || stages.iter().any(|stage| stage.name == Some(self.image))
    }
}

fn dockerfiles<'c>(context: &Context<'c>) -> impl Iterator<Item = Dockerfile<'c>> {
    context.set.documents.iter().filter_map(|document| {
        let Content::Dockerfile(instructions) = &document.content else {
            return None;
        };
        Some(Dockerfile {
            source: document.source,
            text: context.set.sources.text(document.source),
            instructions,
        })
    })
}

/// Repository and tag of an image, without the digest: `registry.example:5000/shop`, `1.0`.
fn split(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}
