//! Sealed files, whole and otherwise.

use super::*;

fn sealed(key: &SealingKey, dir: &Path, content: &[u8]) -> PathBuf {
    let (from, to) = (dir.join("plain"), dir.join("sealed"));
    std::fs::write(&from, content).unwrap();
    let mut out = Vec::new();
    seal(key, &from, |piece| {
        out.extend(piece);
        Ok(())
    })
    .unwrap();
    std::fs::write(&to, out).unwrap();
    to
}

fn opened(key: &SealingKey, from: &Path) -> Result<Vec<u8>, Error> {
    let to = from.with_extension("opened");
    let _ = std::fs::remove_file(&to);
    open(key, from, &to).map(|()| std::fs::read(&to).unwrap())
}

#[test]
fn what_was_sealed_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let key = SealingKey::generate().unwrap();
    for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
        let content: Vec<u8> = (0..length)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        let file = sealed(&key, dir.path(), &content);
        assert!(opened(&key, &file).unwrap() == content, "{length}");
    }
}

#[test]
fn what_was_changed_or_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let key = SealingKey::generate().unwrap();
    let file = sealed(&key, dir.path(), &vec![7; 3 * PIECE]);
    let good = std::fs::read(&file).unwrap();
    let step = 4 + PIECE + OVERHEAD;
    let piece = |number: usize| &good[20 + number * step..20 + (number + 1) * step];
    let bad: Vec<Vec<u8>> = vec![
        vec![],
        good[..20].to_vec(),
        good[..good.len() - 1].to_vec(),
        good[..20 + 2 * step].to_vec(),
        [&good, b"x".as_slice()].concat(),
        [&good[..20], piece(1), piece(0), piece(2)].concat(),
        [&good[..20], piece(0), piece(2)].concat(),
        [&good[..20], piece(0), piece(1), piece(2), piece(2)].concat(),
        {
            let mut other = good.clone();
            other[10] ^= 1;
            other
        },
        {
            let mut other = good.clone();
            let last = other.len() - 1;
            other[last] ^= 1;
            other
        },
    ];
    for (number, bad) in bad.into_iter().enumerate() {
        std::fs::write(&file, bad).unwrap();
        assert!(opened(&key, &file).is_err(), "{number}");
    }
    std::fs::write(&file, &good).unwrap();
    assert!(opened(&SealingKey::generate().unwrap(), &file).is_err());
    assert!(opened(&key, &file).is_ok());
}
