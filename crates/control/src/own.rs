//! This replica's own certificate: `/skans/control/<name>`, which it issues itself and keeps like any other.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use skans_identity::bundle::Bundle;
use skans_identity::control_tls::Served;
use skans_identity::credential::Credential;
use skans_identity::csr::ProvenKey;
use skans_identity::id::SpiffeId;
use skans_identity::signer::SoftwareKey;

use crate::clock;
use crate::config::address;
use crate::error::Error;
use crate::issue::{self, Subject};
use crate::news::News;
use crate::state::Control;

/// How long agents may hold a bundle before they ask again, in seconds. Those that watch hear of a change at once.
pub(crate) const REFRESH_HINT: u32 = 300;

impl Control {
    /// Renews it if it is due, or if the authority that signed it signs no more.
    ///
    /// # Errors
    /// Those of signing and of the store.
    pub(crate) async fn renew_own(&self, news: &News) -> Result<(), Error> {
        let issuer = self.issuer()?;
        let signed_by_it = |own: &Credential| own.chain().get(1) == Some(issuer.certificate());
        let fresh = |own: &Credential| clock::seconds() < own.renew_at() && signed_by_it(own);
        if self.own.load().as_ref().is_some_and(|own| fresh(own)) {
            return Ok(());
        }
        let key = SoftwareKey::generate()?;
        let host = self
            .addresses
            .first()
            .and_then(|one| address(one).ok())
            .map(|(host, _)| host);
        let subject = Subject {
            id: SpiffeId::control(&self.home.trust_domain, &self.config.name)?,
            host,
            key: ProvenKey::of(&key),
            lifetime: self.config.leaves.lifetime,
            agent: String::new(),
            owner: "control".to_owned(),
        };
        let signed = self.sign(&subject)?;
        let der = key.to_der();
        let credential = Credential::new(signed.chain.clone(), der, clock::now())?;
        // A restored database takes no row; somebody has to be able to reach its control plane all the same.
        if self.store.read_only().is_none() {
            let actor = subject.id.to_string();
            self.store
                .write_urgent(move |tx| issue::keep(tx, &signed, &actor))
                .await?;
        }
        let root = self.root_of(news)?.ok_or_else(|| {
            Error::NoAuthority("no root in the bundle vouches for the active one".to_owned())
        })?;
        match self.served.get() {
            Some(served) => served.replace(&credential, &root)?,
            None => drop(self.served.set(Served::new(&credential, &root)?)),
        }
        self.own.store(Some(Arc::new(credential)));
        Ok(())
    }

    /// The root that vouches for the active authority. It is sent along, for those who know no more of us than its hash.
    pub(crate) fn root_of(&self, news: &News) -> Result<Option<CertificateDer<'static>>, Error> {
        let issuer = self.issuer()?;
        for der in &news.bundle.roots {
            let root = CertificateDer::from(der.clone());
            let alone = Bundle::new(self.home.trust_domain.clone(), std::slice::from_ref(&root))?;
            if issuer.check_under(&alone, clock::now()).is_ok() {
                return Ok(Some(root));
            }
        }
        Ok(None)
    }
}
