//! A fresh connection takes a running session over (docs/decisions/0013): the initiator's attempt, and what the responder
//! makes of it. How the bytes move is in `relay`.

use std::sync::Arc;

use skans_dist::NodeName;
use skans_link::{Frame, Hello, Session, Welcome};

use crate::Error;
use crate::agent::Agent;
use crate::dial::{self, Dialled};
use crate::live::Live;
use crate::proof::Proof;
use crate::registry::{Direction, Link, Registry};
use crate::settings::Settings;
use crate::setup::{self, within};
use crate::wire::LinkStream;

/// How an attempt went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Went {
    /// The session goes on with a fresh connection.
    Over,
    /// It goes on with the old one.
    Failed,
    /// Bytes of the takeover before are still under way.
    Busy,
}

/// Tries to move a link of ours to a fresh connection; unless somebody `asked` for it, only where that prolongs its life.
/// Failing that, it goes on with the old one. Says and counts how it went.
pub async fn attempt(agent: &Arc<Agent>, link: &Arc<Link>, asked: bool) -> Went {
    let busy = |live: &Live| live.session().is_moving() || live.is_adrift();
    if link.live().is_some_and(busy) {
        return Went::Busy;
    }
    let settings = agent.settings();
    let limit = settings.config.links.setup_timeout;
    if !asked && !would_help(agent, &settings, link) {
        tracing::debug!(
            link = link.id,
            "not re-authenticated: our certificate is still the same"
        );
        return Went::Failed;
    }
    let went = within(limit, "a takeover", try_once(agent, &settings, link)).await;
    let (local, peer) = link.names();
    match went {
        Ok(()) => {
            agent.registry.takeovers.established(Direction::Outbound);
            let until = link.proof().not_after();
            tracing::debug!(link = link.id, %local, %peer, until, "link re-authenticated, outbound");
            Went::Over
        }
        Err(error) => {
            agent.registry.takeovers.failed(Direction::Outbound, &error);
            tracing::warn!(link = link.id, %local, %peer, reason = error.label(), blame = ?error.blame(), "link not re-authenticated, outbound; it goes on as it is: {error}");
            Went::Failed
        }
    }
}

/// Not if our own certificate is what ends the link, and there is no newer one.
fn would_help(agent: &Agent, settings: &Settings, link: &Link) -> bool {
    let (local, _) = link.names();
    agent
        .identities
        .for_caller(local, settings)
        .is_ok_and(|caller| caller.evidence.not_after > link.proof().not_after())
}

/// An attempt that is under way. Dropped, it came to nothing.
struct Attempt<'a> {
    registry: &'a Registry,
    link: Arc<Link>,
    number: u32,
    stands: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.stands
            && let Some(live) = self.link.live()
            && live.session().give_up(self.number)
        {
            self.registry.withdraw(&self.link, self.number);
        }
    }
}

async fn try_once(agent: &Arc<Agent>, settings: &Settings, link: &Arc<Link>) -> Result<(), Error> {
    let live = link
        .live()
        .ok_or_else(|| Error::Internal("a link that is not up".to_owned()))?;
    let (local, peer) = link.names();
    let ((number, offset), session, version) = {
        let mut session = live.session();
        (session.begin_takeover()?, session.id(), session.version())
    };
    let mut attempt = Attempt {
        registry: &agent.registry,
        link: Arc::clone(link),
        number,
        stands: false,
    };
    let caller = agent.identities.for_caller(local, settings)?;
    let dialled = dial::connect(agent, settings, &caller, (local, peer), session).await?;
    let (own, there) = said(link, &dialled)?;
    let (address, seen) = (dialled.proof.address, dialled.seen);
    let mut wire = LinkStream::new(dialled.tls, Session::initiator(session), address);
    let greeted = async {
        decide(agent, link, number, dialled.proof)?;
        let hello = Hello {
            version_min: version,
            version_max: version,
            session,
            offset,
            // The nodes have said all that there is to say.
            tick_seconds: 0,
            clique: None,
            from: own.to_string(),
            to: there.to_string(),
            takeover: number,
            resume: false,
            service: service_of(link),
        };
        wire.send(&hello.encode()).await?;
        match wire.recv().await? {
            Frame::Welcome(welcome) => {
                seen.on(session, link.proof().identity(), address);
                link.still_holds()?;
                Ok(live.session().on_takeover_welcome(&welcome)?)
            }
            other => Err(Error::Internal(format!(
                "unexpected {:?} frame",
                other.kind()
            ))),
        }
    };
    if let Err(error) = greeted.await {
        wire.close(&error.to_close()).await;
        return Err(error);
    }
    // No way back from here, and no pause: bytes go over it next.
    attempt.stands = true;
    agent.registry.adopt(link);
    let (_, writer, reading) = wire.part();
    live.go_over(writer, reading);
    Ok(())
}

/// The names in the HELLO of a link that another connection was found for: those that it has had over there from the beginning.
///
/// # Errors
/// [`Error::WrongName`] if they would be others now.
pub fn said<'a>(link: &'a Link, dialled: &Dialled) -> Result<(&'a NodeName, &'a NodeName), Error> {
    if link.across == dialled.across {
        return Ok(link.said());
    }
    let (local, peer) = link.names();
    Err(Error::WrongName(format!(
        "{local} and {peer} are called otherwise over there than when their link was made"
    )))
}

/// The service in the HELLO of a link.
pub fn service_of(link: &Link) -> String {
    link.service.as_deref().unwrap_or_default().to_owned()
}

/// One answer to all who ask for what is not theirs: nobody learns which sessions there are.
pub fn unknown(why: &str) -> Error {
    Error::UnknownSession(why.to_owned())
}

/// The link of the session in a HELLO, if it was this peer that opened it, between these nodes, and nobody is ending it.
pub fn owned(
    agent: &Agent,
    proof: &Proof,
    hello: &Hello,
    names: (&NodeName, &NodeName),
) -> Result<Arc<Link>, Error> {
    let link = agent
        .registry
        .by_session(hello.session)
        .ok_or_else(|| unknown("there is none"))?;
    if !link.proof().is_same_peer(proof) {
        return Err(unknown("another identity opened it"));
    }
    if link.names() != names {
        return Err(unknown("it is one of other nodes"));
    }
    if link.service.as_deref().unwrap_or_default() != hello.service {
        return Err(unknown("it leads to another service"));
    }
    link.still_holds()
        .map_err(|_| unknown("it is being ended"))?;
    Ok(link)
}

/// A peer asks to move one of the links that it opened to this connection. If it is welcome, the connection is to be
/// handed to the link that is returned, by [`Live::offer`](crate::live::Live::offer).
pub async fn admit(
    agent: &Arc<Agent>,
    wire: &mut LinkStream,
    proof: Proof,
    hello: &Hello,
    (local, peer): (&NodeName, &NodeName),
) -> Result<Arc<Link>, Error> {
    let link = owned(agent, &proof, hello, (local, peer))?;
    let live = link.live().ok_or_else(|| unknown("it is not up"))?;
    let (offset, version) = {
        let mut session = live.session();
        let offset = session
            .on_takeover_hello(hello)
            .map_err(|error| unknown(&error.to_string()))?;
        (offset, session.version())
    };
    let mut attempt = Attempt {
        registry: &agent.registry,
        link: Arc::clone(&link),
        number: hello.takeover,
        stands: false,
    };
    decide(agent, &link, hello.takeover, proof)?;
    let welcome = Welcome {
        version,
        session: hello.session,
        offset,
        tick_seconds: 0,
        clique: None,
    };
    wire.send(&welcome.encode()).await?;
    attempt.stands = true;
    Ok(link)
}

/// Registered first, then decided: what is denied in between finds it.
pub fn decide(agent: &Agent, link: &Arc<Link>, number: u32, proof: Proof) -> Result<(), Error> {
    if !link.proof().is_same_peer(&proof) {
        return Err(Error::WrongName(format!(
            "{} answered for {}",
            proof.identity().id,
            link.proof().identity().id
        )));
    }
    let proof = Arc::new(proof);
    agent.registry.propose(link, number, Arc::clone(&proof));
    setup::decide(agent, link, &proof)?;
    link.still_holds()
}
