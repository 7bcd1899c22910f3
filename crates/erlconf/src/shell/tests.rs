use proptest::prelude::*;

use super::{Script, Word, parse};

fn read(text: &str) -> Script {
    parse(text).unwrap()
}

fn words(script: &Script, command: usize) -> Vec<&str> {
    script.commands[command]
        .words
        .iter()
        .map(|word| word.text.as_str())
        .collect()
}

#[test]
fn an_env_sh_is_read() {
    let text = r#"#!/bin/sh
# Sets and enables heart.
case $RELEASE_COMMAND in
  start*|daemon*)
    ELIXIR_ERL_OPTIONS="-kernel inet_dist_listen_min 9100"
    export ELIXIR_ERL_OPTIONS
    ;;
esac
export RELEASE_DISTRIBUTION=name
export RELEASE_NODE=<%= @release.name %>@$POD_IP
export ERL_FLAGS="$ERL_FLAGS -proto_dist inet_tls"
"#;
    let script = read(text);
    assert!(script.assignment("ELIXIR_ERL_OPTIONS").unwrap().conditional);
    let node = script.assignment("RELEASE_NODE").unwrap();
    assert!(node.exported && node.value.expands && !node.conditional);
    assert_eq!(node.value.text, "<%= @release.name %>@$POD_IP");
    let flags = script.assignment("ERL_FLAGS").unwrap();
    assert_eq!(flags.value.text, "$ERL_FLAGS -proto_dist inet_tls");
    assert!(!flags.value.splits);
    assert_eq!(
        flags.value.span.text(text),
        "\"$ERL_FLAGS -proto_dist inet_tls\""
    );
    assert_eq!(script.comments.len(), 2);
}

#[test]
fn quotes_and_backslashes_are_taken_off() {
    let script = read("a 'b \"c' \"d \\\"e\\n\" f\\ g \\\nh");
    assert_eq!(words(&script, 0), ["a", "b \"c", "d \"e\\n", "f g", "h"]);
}

#[test]
fn variables_tell_their_name_and_fallback() {
    let word = |text: &str| Word {
        text: text.to_owned(),
        ..Word::default()
    };
    assert_eq!(word("$A").variable(), Some("A"));
    assert_eq!(word("${A_1:-b}").variable(), Some("A_1"));
    assert_eq!(word("${A:=b}").fallback(), Some("b"));
    assert_eq!(word("${A}").fallback(), None);
    for text in ["a", "$A.b", "${A}${B}", "$", "x$A"] {
        assert_eq!(word(text).variable(), None, "{text}");
    }
}

#[test]
fn commands_are_split_and_joined() {
    let script = read("a | b && c; d >f 2>&1 <g & if e; then h; fi\n! i");
    let all: Vec<_> = script
        .commands
        .iter()
        .map(|command| {
            (
                command.words[0].text.as_str(),
                command.joined,
                command.conditional,
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            ("a", "", false),
            ("b", "|", false),
            ("c", "&&", false),
            ("d", ";", false),
            ("e", "&", true),
            ("h", ";", true),
            ("i", "", false)
        ]
    );
    let to: Vec<_> = script.commands[3]
        .redirections
        .iter()
        .map(|(operator, word)| (operator.as_str(), word.text.as_str()))
        .collect();
    assert_eq!(to, [(">", "f"), ("2>&", "1"), ("<", "g")]);
}

#[test]
fn commands_in_commands_are_found() {
    let text = "X=$(kubectl get secret \"$(hostname)\" -o yaml) run `date -d \"$E\"`";
    let script = read(text);
    assert_eq!(script.runs("kubectl").count(), 1);
    assert_eq!(script.runs("hostname").count(), 1);
    let date = script.runs("date").next().unwrap();
    assert_eq!(date.span.text(text), "date -d \"$E\"");
    assert!(script.assignment("X").unwrap().value.expands);
    assert_eq!(read("exec /usr/bin/erl -x").runs("erl").count(), 1);
    assert_eq!(read("echo $((1 + 2))").commands.len(), 1);
}

#[test]
fn here_documents_are_not_commands() {
    let text = "cat >vm.args <<EOF\n-name a\nEOF\nnext";
    let script = read(text);
    assert_eq!(script.commands.len(), 2);
    assert_eq!(script.commands[0].documents[0].text(text), "-name a\n");
    assert_eq!(read("cat <<-'E'\n\tx y\n\tE\nz").commands.len(), 2);
}

#[test]
fn long_and_deep_texts_end_soon() {
    for text in [
        "$(", "${", "`", "\"", "<%", "a<<b\n", "((", "if ", "'", "$((", "\"$(",
    ] {
        drop(parse(&text.repeat(100_000)));
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text in "\\PC{0,80}") {
        drop(parse(&text));
    }

    #[test]
    fn shell_like_text_is_read(text in "(a|=|\\$\\(|\\)|\"|'|`|\\$\\{|\\}| |\n|;|<<|>|&|<%|%>|if|fi|#|\\\\){0,40}") {
        for command in read(&text).commands {
            prop_assert!(command.span.end <= text.len());
        }
    }
}
