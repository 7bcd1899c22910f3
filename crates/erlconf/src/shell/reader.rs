//! From characters to commands. Tolerant: quotes that are never closed close at the end.

use super::{Assignment, Command, Script, Word, is_name};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::limits::{Budget, Limits};
use crate::placeholder;
use crate::span::Span;

pub(super) fn script(text: &str, limits: Limits) -> Result<Script> {
    limits.check_size("size of text", text)?;
    let mut reader = Reader {
        cursor: Cursor::new(text),
        end: text.len(),
        budget: Budget::new(limits),
        script: Script::default(),
        waiting: Vec::new(),
        inner: Vec::new(),
        nesting: 0,
    };
    reader.commands()?;
    // What stands in `$(…)` comes after, at its own places.
    let mut read = 0_usize;
    while let Some(span) = reader.inner.pop() {
        reader.budget.count(span)?;
        // Each level of nesting is read once more.
        read = read.saturating_add(span.end - span.start);
        if read > limits.size {
            return Err(Error::too_large(
                "size of all commands in $(…)",
                read,
                limits.size,
                span,
            ));
        }
        reader.cursor.reset(span.start);
        reader.end = span.end;
        reader.nesting = 0;
        reader.waiting.clear();
        reader.commands()?;
    }
    let mut script = reader.script;
    script.commands.sort_by_key(|command| command.span.start);
    Ok(script)
}

struct Reader<'t> {
    cursor: Cursor<'t>,
    end: usize,
    budget: Budget,
    script: Script,
    /// Ends of here-documents that begin at the next line, and whether tabs before them are taken off.
    waiting: Vec<(String, bool)>,
    /// Command substitutions.
    inner: Vec<Span>,
    /// How many of `if`, `case`, loops and braces are open.
    nesting: usize,
}

impl Reader<'_> {
    fn is_end(&self) -> bool {
        self.cursor.at() >= self.end
    }

    fn commands(&mut self) -> Result<()> {
        let mut command = self.fresh("");
        while !self.is_end() {
            self.cursor.eat_while(|c| matches!(c, ' ' | '\t' | '\r'));
            if self.is_end() {
                break;
            }
            if self.cursor.eat("\\\n") || self.cursor.eat("\\\r\n") {
                continue;
            }
            let start = self.cursor.at();
            if self.cursor.starts_with("#") {
                self.cursor.eat_line();
                self.script.comments.push(self.cursor.since(start));
                continue;
            }
            if self.cursor.eat("\n") {
                self.documents(&mut command);
                self.finish(&mut command, "");
                continue;
            }
            let separator = ["&&", "||", ";;", "|&", "|", ";", "&", "(", ")"]
                .into_iter()
                .find(|separator| {
                    // `&>` is a redirection.
                    !(*separator == "&" && self.cursor.starts_with("&>"))
                        && self.cursor.eat(separator)
                });
            if let Some(separator) = separator {
                self.finish(&mut command, separator);
                continue;
            }
            if let Some(operator) = self.redirection() {
                self.cursor.eat_while(|c| matches!(c, ' ' | '\t'));
                let word = self.word()?;
                if operator == "<<" || operator == "<<-" {
                    self.waiting.push((word.text.clone(), operator == "<<-"));
                }
                command.redirections.push((operator, word));
                continue;
            }
            let word = self.word()?;
            if word.span.start == word.span.end {
                // Nothing that belongs to a word; never stand still.
                self.cursor.bump();
                continue;
            }
            self.take(&mut command, word);
        }
        self.finish(&mut command, "");
        Ok(())
    }

    fn fresh(&self, joined: &'static str) -> Command {
        Command {
            joined,
            conditional: self.nesting > 0,
            ..Command::default()
        }
    }

    fn finish(&mut self, command: &mut Command, joined: &'static str) {
        let done = std::mem::replace(command, self.fresh(joined));
        let empty =
            done.words.is_empty() && done.assignments.is_empty() && done.redirections.is_empty();
        if !empty {
            self.script.commands.push(done);
        }
    }

    /// A word of a command: one of the shell's own, an assignment, or what is run.
    fn take(&mut self, command: &mut Command, word: Word) {
        if command.words.is_empty() && command.assignments.is_empty() {
            match word.text.as_str() {
                "if" | "for" | "while" | "until" | "case" | "{" | "select" => {
                    self.nesting += 1;
                    command.conditional = true;
                    return;
                }
                "fi" | "done" | "esac" | "}" => {
                    self.nesting = self.nesting.saturating_sub(1);
                    command.conditional = self.nesting > 0;
                    return;
                }
                "then" | "else" | "elif" | "do" | "!" | "in" | "function" => return,
                _ => {}
            }
            command.span = word.span;
        }
        command.span.end = word.span.end;
        let declares = command.words.first().is_some_and(|first| {
            matches!(
                first.text.as_str(),
                "export" | "readonly" | "local" | "declare" | "typeset"
            )
        });
        if (command.words.is_empty() || declares)
            && let Some(assignment) = self.assignment(&word, command, declares)
        {
            command.assignments.push(assignment);
            return;
        }
        command.words.push(word);
    }

    fn assignment(&self, word: &Word, command: &Command, declares: bool) -> Option<Assignment> {
        let written = word.span.text(self.cursor.text());
        let equals = written.find('=')?;
        let name = written.get(..equals)?;
        let name = name.strip_suffix('+').unwrap_or(name);
        let right = name
            .chars()
            .next()
            .is_some_and(|c| is_name(c) && !c.is_ascii_digit())
            && name.chars().all(is_name);
        if !right {
            return None;
        }
        let start = word.span.start + equals + 1;
        let value = Word {
            text: word.text.split_once('=')?.1.to_owned(),
            expands: word.expands,
            splits: word.splits,
            span: Span::new(start.min(word.span.end), word.span.end),
        };
        let exported = declares
            && command
                .words
                .iter()
                .any(|word| word.text == "export" || word.text == "-x");
        Some(Assignment {
            name: name.to_owned(),
            name_span: Span::new(word.span.start, word.span.start + name.len()),
            value,
            exported,
            conditional: command.conditional,
        })
    }

    fn redirection(&mut self) -> Option<String> {
        let start = self.cursor.at();
        self.cursor.eat_while(|c| c.is_ascii_digit());
        if self.cursor.starts_with("<%") {
            // EEx, not a redirection.
            self.cursor.reset(start);
            return None;
        }
        let found = [
            "&>>", "&>", "<<<", "<<-", "<<", ">>", ">&", "<&", "<>", ">|", ">", "<",
        ]
        .into_iter()
        .any(|operator| self.cursor.eat(operator));
        if !found {
            self.cursor.reset(start);
            return None;
        }
        Some(self.cursor.text_since(start).to_owned())
    }

    /// Here-documents that begin at this line.
    fn documents(&mut self, command: &mut Command) {
        for (end, tabs) in std::mem::take(&mut self.waiting) {
            let start = self.cursor.at();
            let mut close = start;
            while !self.is_end() {
                close = self.cursor.at();
                let line = self.cursor.eat_line().trim_end_matches('\r');
                self.cursor.eat("\n");
                let line = if tabs {
                    line.trim_start_matches('\t')
                } else {
                    line
                };
                if line == end {
                    break;
                }
                close = self.cursor.at();
            }
            command.documents.push(Span::new(start, close));
        }
    }

    fn word(&mut self) -> Result<Word> {
        let start = self.cursor.at();
        let mut word = Word::default();
        while !self.is_end() {
            if self.cursor.starts_with("<%") {
                self.template(&mut word);
                continue;
            }
            let Some(next) = self.cursor.peek() else {
                break;
            };
            match next {
                ' ' | '\t' | '\n' | '\r' | ';' | '|' | '&' | '<' | '>' | '(' | ')' => break,
                '\'' => {
                    self.cursor.bump();
                    word.text.push_str(self.cursor.eat_while(|c| c != '\''));
                    self.cursor.bump();
                }
                '"' => {
                    self.cursor.bump();
                    self.double(&mut word)?;
                }
                '\\' => {
                    self.cursor.bump();
                    match self.cursor.bump() {
                        Some('\n') | None => {}
                        Some(c) => word.text.push(c),
                    }
                }
                '$' | '`' => {
                    word.splits |= self.expansion(&mut word)?;
                }
                c => {
                    word.text.push(c);
                    self.cursor.bump();
                }
            }
        }
        word.span = self.cursor.since(start);
        self.budget.count(word.span)?;
        Ok(word)
    }

    /// After an opening double quote.
    fn double(&mut self, word: &mut Word) -> Result<()> {
        while !self.is_end() {
            if self.cursor.starts_with("<%") {
                self.template(word);
                continue;
            }
            match self.cursor.peek() {
                Some('"') | None => {
                    self.cursor.bump();
                    break;
                }
                Some('\\') => {
                    self.cursor.bump();
                    match self.cursor.bump() {
                        Some('\n') | None => {}
                        Some(c @ ('$' | '`' | '"' | '\\')) => word.text.push(c),
                        Some(c) => {
                            word.text.push('\\');
                            word.text.push(c);
                        }
                    }
                }
                Some('$' | '`') => {
                    self.expansion(word)?;
                }
                Some(c) => {
                    word.text.push(c);
                    self.cursor.bump();
                }
            }
        }
        Ok(())
    }

    /// `$name`, `${…}`, `$(…)`, `` `…` ``, as written; whether something is expanded.
    fn expansion(&mut self, word: &mut Word) -> Result<bool> {
        let start = self.cursor.at();
        let first = self.cursor.bump();
        let expands = if first == Some('`') {
            let from = self.cursor.at();
            self.cursor.eat_while(|c| c != '`');
            self.inner
                .push(Span::new(from, self.cursor.at().min(self.end)));
            self.cursor.bump();
            true
        } else {
            match self.cursor.peek() {
                Some('{') => {
                    self.balanced('{', '}');
                    true
                }
                Some('(') => {
                    let from = self.cursor.at();
                    let arithmetic = self.cursor.starts_with("((");
                    self.balanced('(', ')');
                    let to = self.cursor.at().saturating_sub(1).min(self.end);
                    if !arithmetic && from < to {
                        self.inner.push(Span::new(from + 1, to));
                    }
                    true
                }
                Some(c) if is_name(c) => {
                    self.cursor.eat_while(is_name);
                    true
                }
                Some('@' | '*' | '#' | '?' | '$' | '!' | '-') => {
                    self.cursor.bump();
                    true
                }
                _ => false,
            }
        };
        word.expands |= expands;
        word.text.push_str(self.cursor.text_since(start));
        self.budget.count(self.cursor.since(start))?;
        Ok(expands)
    }

    /// From an opening character past the one that closes it; quotes within are passed over.
    fn balanced(&mut self, open: char, close: char) {
        let mut depth = 0_usize;
        while !self.is_end() {
            let Some(next) = self.cursor.bump() else {
                return;
            };
            if next == '\\' {
                self.cursor.bump();
            } else if next == '\'' && open == '(' {
                self.cursor.eat_while(|c| c != '\'');
                self.cursor.bump();
            } else if next == open {
                depth += 1;
            } else if next == close {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
        }
    }

    /// `<% … %>`, as written.
    fn template(&mut self, word: &mut Word) {
        let start = self.cursor.at();
        let length = placeholder::eex(&self.cursor).unwrap_or(2);
        self.cursor.skip(length);
        word.text.push_str(self.cursor.text_since(start));
        word.expands = true;
    }
}
