//! Examples of rules: small sets of files, some wrong and some right, in one text. No checks.
//!
//! Lines before the first file say what else is found in them (`also bad: ERL012`) and which profile is asked
//! (`profile: all`). A file begins with `-- bad/NAME --` or `-- good/NAME --`.

/// An example.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Example {
    /// Name and text of each file in which the rule finds something.
    pub bad: Vec<(String, String)>,
    /// Name and text of each file of the right form.
    pub good: Vec<(String, String)>,
    /// Rules that also find something in the wrong form.
    pub also_bad: Vec<String>,
    /// Rules that find something in the right form: what it is about is elsewhere.
    pub also_good: Vec<String>,
}

impl Example {
    /// Reads an example.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut example = Self::default();
        let mut open: Option<(bool, String, String)> = None;
        let close = |example: &mut Self, open: Option<(bool, String, String)>| {
            if let Some((bad, name, text)) = open {
                let files = if bad {
                    &mut example.bad
                } else {
                    &mut example.good
                };
                files.push((name, text));
            }
        };
        for line in text.lines() {
            let header = line
                .strip_prefix("-- ")
                .and_then(|line| line.strip_suffix(" --"));
            if let Some(path) = header
                && let Some((side, name)) = path.split_once('/')
            {
                close(&mut example, open.take());
                open = Some((side == "bad", name.to_owned(), String::new()));
            } else if let Some((.., text)) = &mut open {
                text.push_str(line);
                text.push('\n');
            } else if let Some((key, ids)) = line.split_once(": ") {
                let ids = ids.split_whitespace().map(str::to_owned);
                match key {
                    "also bad" => example.also_bad.extend(ids),
                    "also good" => example.also_good.extend(ids),
                    _ => {}
                }
            }
        }
        close(&mut example, open);
        example
    }
}
