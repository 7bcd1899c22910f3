//! Reading a recorded byte stream as TLS, as an observer without keys can: records, and the version
//! that the server chose. Written from RFC 8446, and of no use to anybody who wants to decrypt.

/// Content types (RFC 8446, appendix B.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
/// Longest record: 2^14 bytes and what encryption adds (RFC 8446, section 5.2).
const MAX_RECORD: usize = (1 << 14) + 256;
/// The handshake message `server_hello`.
const SERVER_HELLO: u8 = 2;
/// The extension `supported_versions`.
const SUPPORTED_VERSIONS: u16 = 43;

/// One direction of a connection, read as TLS.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stream {
    /// Bytes of whole records.
    pub bytes: usize,
    /// Plain handshake records: the hellos, before there are keys.
    pub handshake: usize,
    /// Encrypted records.
    pub encrypted: usize,
    /// Alerts in clear.
    pub alerts: usize,
    /// The version that the server chose; only in the server's direction.
    pub version: Option<u16>,
    /// Bytes of a last record that was cut off.
    pub cut_off: usize,
}

/// Reads a stream from its first byte.
///
/// # Errors
/// What is not TLS, or not in its place, and where.
pub fn read(stream: &[u8]) -> Result<Stream, String> {
    let mut found = Stream::default();
    let mut rest = stream;
    while let Some((header, after)) = rest.split_first_chunk::<5>() {
        let [kind, major, minor, l1, l0] = *header;
        let at = stream.len() - rest.len();
        let length = usize::from(u16::from_be_bytes([l1, l0]));
        // The version field is frozen: 3.1 in a first hello, else 3.3 (section 5.1).
        let frozen = major == 3 && (minor == 3 || (minor == 1 && kind == HANDSHAKE));
        if !frozen || length == 0 || length > MAX_RECORD {
            return Err(format!(
                "at byte {at}: {header:02x?} is no header of a TLS record"
            ));
        }
        let Some((body, next)) = after.split_at_checked(length) else {
            break;
        };
        match kind {
            HANDSHAKE if found.encrypted == 0 => {
                found.handshake += 1;
                if body.first() == Some(&SERVER_HELLO) {
                    found.version = Some(chosen_version(body).unwrap_or(0x0303));
                }
            }
            // Sent once for old middleboxes (appendix D.4); means nothing.
            CHANGE_CIPHER_SPEC if found.encrypted == 0 && body == [1] => {}
            ALERT if found.encrypted == 0 => found.alerts += 1,
            APPLICATION_DATA => found.encrypted += 1,
            other => {
                return Err(format!(
                    "at byte {at}: a record of type {other} in clear after {} encrypted ones",
                    found.encrypted
                ));
            }
        }
        found.bytes += 5 + length;
        rest = next;
    }
    found.cut_off = rest.len();
    Ok(found)
}

/// The version in `supported_versions` of a `ServerHello` (section 4.1.3).
fn chosen_version(message: &[u8]) -> Option<u16> {
    // Type and length, legacy_version, random.
    let after = message.get(4 + 2 + 32..)?;
    let (&session, after) = after.split_first()?;
    // Session id, cipher suite, compression.
    let after = after.get(usize::from(session) + 2 + 1..)?;
    let (length, extensions) = after.split_first_chunk::<2>()?;
    let mut extensions = extensions.get(..usize::from(u16::from_be_bytes(*length)))?;
    while let Some((head, after)) = extensions.split_first_chunk::<4>() {
        let [t1, t0, l1, l0] = *head;
        let (body, next) = after.split_at_checked(usize::from(u16::from_be_bytes([l1, l0])))?;
        if u16::from_be_bytes([t1, t0]) == SUPPORTED_VERSIONS {
            return body
                .first_chunk::<2>()
                .map(|version| u16::from_be_bytes(*version));
        }
        extensions = next;
    }
    None
}

/// Which of the needles are in the stream.
#[must_use]
pub fn in_clear<'a>(stream: &[u8], needles: &'a [String]) -> Vec<&'a str> {
    needles
        .iter()
        .filter(|needle| !needle.is_empty())
        .filter(|needle| {
            stream
                .windows(needle.len())
                .any(|window| window == needle.as_bytes())
        })
        .map(String::as_str)
        .collect()
}

#[cfg(test)]
mod tests;
