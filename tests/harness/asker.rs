//! Whoever asks a gateway for a way, by hand: with a certificate of any kind, and then inside of the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_control::root;
use skans_identity::csr::ProvenKey;
use skans_identity::forge::{Forge, Forged, Spec, Speech, client_config};
use skans_identity::id::TrustDomain;
use skans_identity::signer::SoftwareKey;
use skans_identity::sni;
use skans_identity::tls::GATEWAY_ALPN;
use skans_link::{Answer, Ask, End, MAX_WAY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::hostile::bounded;

/// A node of a cluster that is called like its trust domain, without `.test`.
pub fn end(name: &str, node: &str) -> End {
    End {
        trust_domain: format!("{name}.test"),
        cluster: name.to_owned(),
        node: node.to_owned(),
    }
}

/// Asks the gateway there for a way, and gives its answer and what comes behind it.
///
/// # Errors
/// What the connection says: whoever is not believed hears nothing else.
pub async fn ask(
    gateway: SocketAddr,
    of: &str,
    shown: Option<&Forged>,
    ask: &Ask,
) -> io::Result<(Answer, TcpStream)> {
    let speech = Speech {
        alpn: vec![GATEWAY_ALPN.to_vec()],
        ..Speech::default()
    };
    let connector = TlsConnector::from(client_config(shown, &speech).unwrap());
    let domain = TrustDomain::parse(&format!("{of}.test")).unwrap();
    let name = sni::server_name_for(&domain, sni::GATEWAY).unwrap();
    let asked = async {
        let socket = TcpStream::connect(gateway).await?;
        let mut tls = connector.connect(name, socket).await?;
        tls.write_all(&ask.encode()).await?;
        tls.flush().await?;
        let length = usize::from(tls.read_u16().await?);
        assert!(length <= MAX_WAY);
        let mut message = vec![0; length];
        tls.read_exact(&mut message).await?;
        Ok((Answer::decode(&message).unwrap(), tls.into_inner().0))
    };
    bounded("a way", asked).await
}

/// A leaf for any identity of this trust domain, under a root that somebody has the key of.
pub fn under(root: &Path, name: &str, id: &str, host: &str) -> Forged {
    let (root, key) = (root::load(root).unwrap(), SoftwareKey::generate().unwrap());
    let life = Duration::from_secs(12 * 3600);
    let issuer = root.sign_issuer(name, &ProvenKey::of(&key), life, UnixTime::now());
    let domain = TrustDomain::parse(&format!("{name}.test")).unwrap();
    let forge = Forge::with_key(domain, &[issuer.unwrap()], &key.to_der()).unwrap();
    forge.leaf(&Spec::good(id, host, UnixTime::now())).unwrap()
}
