use proptest::prelude::*;

use super::{Node, parse};

fn one(text: &str) -> Node {
    let mut file = parse(text);
    assert!(file.faults.is_empty(), "{:?}", file.faults);
    assert_eq!(file.documents.len(), 1);
    file.documents.remove(0)
}

#[test]
fn documents_and_faults_are_told_apart() {
    let file = parse("a: 1\n---\nb: [\n---\nc: 2\n---\n# nothing\n");
    assert_eq!((file.documents.len(), file.faults.len()), (2, 1));
    assert_eq!(file.documents[1].get("c").and_then(Node::as_int), Some(2));
}

#[test]
fn numbers_are_those_of_kubernetes() {
    let node = one(
        "{a: 0644, b: 0o644, c: 420, d: 0x1f, e: '0644', f: -1, g: 1_000, h: yes, i: \"true\", j: 08}",
    );
    let int = |key| node.get(key).and_then(Node::as_int);
    assert_eq!(
        ["a", "b", "c", "d", "e", "f", "g", "j"].map(int),
        [
            Some(420),
            Some(420),
            Some(420),
            Some(31),
            None,
            Some(-1),
            Some(1000),
            None
        ]
    );
    assert_eq!(node.get("h").and_then(Node::as_bool), Some(true));
    assert_eq!(node.get("i").and_then(Node::as_bool), None);
}

#[test]
fn aliases_and_merges_are_put_in_place() {
    let node = one("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\nlist: [*b]\n");
    let value = |path: &[&str]| node.path(path).and_then(Node::as_int);
    assert_eq!(value(&["one", "x"]), Some(1));
    assert_eq!(value(&["one", "y"]), Some(3));
    assert_eq!(
        node.get("list").unwrap().items()[0]
            .get("y")
            .and_then(Node::as_int),
        Some(2)
    );
}

#[test]
fn nodes_know_their_places() {
    let text = "a:\n  - 'b c'\n  - {d: \"e\"}\n";
    let node = one(text);
    let items = node.get("a").unwrap().items();
    assert_eq!(items[0].span.text(text), "'b c'");
    assert_eq!(items[1].get("d").unwrap().span.text(text), "\"e\"");
}

#[test]
fn anchor_bombs_and_deep_texts_are_refused_soon() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let refs = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
    }
    assert!(parse(&bomb).faults[0].reason.contains("a million"));
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..300 {
        deep.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(parse(&deep).faults[0].reason.contains("deeper"));
    for text in ["[", "{a: ", "- ", "? ", "&a [*a, "] {
        assert!(!parse(&text.repeat(50_000)).faults.is_empty(), "{text}");
    }
    // One that holds itself.
    assert_eq!(parse("&a [*a]").faults.len(), 1);
}

/// Each line of a scalar, where it is said to stand in the file.
fn lines(text: &str, key: &str) -> Vec<(String, String)> {
    let node = one(text);
    let scalar = node.get(key).unwrap();
    let value = scalar.as_str().unwrap();
    let pieces = scalar.pieces(text);
    let mut at = 0;
    let mut found = Vec::new();
    for line in value.split_inclusive('\n') {
        let content = line.trim_end();
        let piece = pieces.iter().rfind(|(inner, _)| *inner <= at);
        let (inner, outer) =
            *piece.unwrap_or_else(|| panic!("{text:?} {:?} {pieces:?}", scalar.span));
        let start = outer + (at - inner);
        found.push((
            content.to_owned(),
            text[start..]
                .chars()
                .take(content.chars().count())
                .collect(),
        ));
        at += line.len();
    }
    found
}

#[test]
fn lines_of_embedded_files_are_found_in_the_file() {
    for text in [
        "k: |\n  -name a\n\n    -indented\n  -last\nz: 1\n",
        "k: |2-\n    two more\n  x\n",
        "k: \"-name a\\n-setcookie \\\"b\\\"\\n\\n+S 2\"\n",
        "k: 'plain text'\n",
        "k: one\n",
        "{\"k\": \"a\\u00e9b\\nc\"}",
        "k: |-\n\n  after a blank line\n",
    ] {
        for (inner, outer) in lines(text, "k") {
            let same = inner == outer || inner.contains('"') || inner.contains('é');
            assert!(same, "{text:?}: {inner:?} is said to be {outer:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read(text in "(a|b: |- |\\[|\\]|\\{|\\}|, |\n|  |\\||>|\"|'|&x |\\*x|---\n|#|%|!t |\\? |\\\\){0,30}") {
        for document in parse(&text).documents {
            for node in document.all() {
                prop_assert!(node.span.start <= node.span.end && node.span.end <= text.len());
                for (inner, outer) in node.pieces(&text) {
                    prop_assert!(inner <= node.as_str().map_or(0, str::len) && outer <= text.len(), "{inner} {outer}");
                }
            }
        }
    }
}
