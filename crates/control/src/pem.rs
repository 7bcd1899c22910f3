//! DER as PEM, for people and files. Keys are never written by this.

/// A certificate.
pub(crate) fn certificate(der: &[u8]) -> String {
    block("CERTIFICATE", der)
}

/// A request for a certificate.
pub(crate) fn request(der: &[u8]) -> String {
    block("CERTIFICATE REQUEST", der)
}

/// A revocation list.
pub(crate) fn revocation_list(der: &[u8]) -> String {
    block("X509 CRL", der)
}

fn block(tag: &str, der: &[u8]) -> String {
    // It fails for lengths near usize::MAX alone.
    pem_rfc7468::encode_string(tag, pem_rfc7468::LineEnding::LF, der).unwrap_or_default()
}
