//! What a log, a witness and those who ask it say: notes, checkpoints, keys, paths of tiles, bundles, requests to cosign.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::{Note, SigningKey, VerifyingKey, signatures};
use skans_audit::tile::{Tile, decode_bundle, encode_bundle};
use skans_audit::witness::Request;
use skans_fuzz as _;

fuzz_target!(|bytes: &[u8]| {
    let Some((&what, rest)) = bytes.split_first() else {
        return;
    };
    let text = std::str::from_utf8(rest).unwrap_or_default();
    // What is read is what would be written: no two texts mean the same.
    match what % 7 {
        0 => {
            if let Ok(note) = Note::parse(rest) {
                assert_eq!(note.encode().as_bytes(), rest);
                assert!(!note.signatures().is_empty() && note.text().ends_with('\n'));
            }
        }
        1 => {
            if let Ok(checkpoint) = Checkpoint::parse_text(text) {
                assert_eq!(checkpoint.encode_text(), text);
            }
        }
        2 => {
            if let Ok(key) = VerifyingKey::parse(text) {
                assert_eq!(key.to_string(), text);
            }
            if let Ok(key) = SigningKey::parse_skey(text) {
                assert_eq!(*key.to_skey(), text);
            }
        }
        3 => {
            if let Ok(tile) = Tile::parse(text) {
                assert_eq!(tile.path(), text);
                assert!((1..=256).contains(&tile.width()));
            }
        }
        4 => {
            let Some((&width, bundle)) = rest.split_first() else {
                return;
            };
            if let Ok(entries) = decode_bundle(bundle, u16::from(width) + 1) {
                assert_eq!(entries.len(), usize::from(width) + 1);
                assert_eq!(encode_bundle(&entries).as_deref(), Ok(bundle));
            }
        }
        5 => {
            if let Ok(request) = Request::parse(rest) {
                assert_eq!(request.encode().as_bytes(), rest);
            }
        }
        _ => {
            if let Ok(all) = signatures(text) {
                assert_eq!(all.iter().map(|one| one.line()).collect::<String>(), text);
            }
        }
    }
});
