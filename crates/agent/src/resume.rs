//! A session that has lost its connection finds another (docs/decisions/0016): the initiator looks for one, the responder
//! says which it takes. How the bytes go on is in `relay`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use skans_dist::NodeName;
use skans_link::{Frame, Hello, Session, Welcome};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::dial::{self, Dialled};
use crate::keeper::chance;
use crate::proof::Proof;
use crate::registry::{Link, Registry};
use crate::settings::Settings;
use crate::setup::within;
use crate::takeover::{self, decide, owned, service_of, unknown};
use crate::wire::LinkStream;
use crate::{Error, live::Live};

/// From one attempt to the next, give or take a third. Attempts overlap: the first packet of one that began while there was
/// no network comes again only after a second, and by then another has got through.
const PAUSE: Duration = Duration::from_millis(375);

/// Attempts under way at once.
const AT_ONCE: usize = 8;

/// An agent that nobody listens for is gone, and its sessions with it; so long it may take to come back, as when it is
/// being upgraded.
const REFUSED: Duration = Duration::from_secs(2);

/// How long the other side may take to let go of the connection before.
const LET_GO: Duration = Duration::from_secs(2);

/// Tries to reach the peer until somebody drops this, and gives the connection on which the session goes on, and the offset
/// that the peer wants.
///
/// # Errors
/// The peer does not know the session any more, or may not have it.
pub async fn redial(agent: &Arc<Agent>, link: &Arc<Link>) -> Result<(Box<LinkStream>, u64), Error> {
    let mut dials = JoinSet::new();
    let mut next = Instant::now();
    let mut refused: Option<Instant> = None;
    loop {
        let dialled = tokio::select! {
            Some(dialled) = dials.join_next() => dialled,
            () = tokio::time::sleep_until(next) => {
                if dials.len() < AT_ONCE {
                    dials.spawn(dial(Arc::clone(agent), Arc::clone(link)));
                }
                next = Instant::now() + PAUSE.mul_f64(0.66_f64.mul_add(chance(), 0.67));
                continue;
            }
        };
        let dialled = dialled.unwrap_or_else(|error| Err(Error::Internal(error.to_string())));
        let greeted = match dialled {
            Ok(dialled) => greet(agent, link, dialled).await,
            Err(error) => Err(error),
        };
        let error = match greeted {
            Ok(found) => {
                agent.alive(link.names().1);
                return Ok(found);
            }
            Err(error) => error,
        };
        tracing::debug!(
            link = link.id,
            reason = error.label(),
            "not resumed yet: {error}"
        );
        match &error {
            // Its word counts: the session is over there.
            Error::Closed(close) if !close.reason.may_retry() => return Err(error),
            Error::Unreachable { source, .. }
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                let since = *refused.get_or_insert_with(Instant::now);
                if since.elapsed() >= REFUSED {
                    return Err(error);
                }
            }
            _ => refused = None,
        }
    }
}

async fn dial(agent: Arc<Agent>, link: Arc<Link>) -> Result<Dialled, Error> {
    let settings = agent.settings();
    let (local, peer) = link.names();
    let caller = agent.identities.for_caller(local, &settings)?;
    let session = live(&link)?.session().id();
    dial::connect(&agent, &settings, &caller, (local, peer), session).await
}

/// A connection that may become the link's. Dropped before it has, it counts for nothing.
struct Attempt<'a> {
    registry: &'a Registry,
    link: &'a Arc<Link>,
    number: u32,
    stands: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.stands {
            self.registry.withdraw(self.link, self.number);
        }
    }
}

fn live(link: &Link) -> Result<&Live, Error> {
    link.live()
        .ok_or_else(|| Error::Internal("a link that is not up".to_owned()))
}

async fn greet(
    agent: &Arc<Agent>,
    link: &Arc<Link>,
    dialled: Dialled,
) -> Result<(Box<LinkStream>, u64), Error> {
    let settings: Arc<Settings> = agent.settings();
    let live = live(link)?;
    let (own, there) = takeover::said(link, &dialled)?;
    let ((number, offset), session, version) = {
        let mut session = live.session();
        (session.begin_resume()?, session.id(), session.version())
    };
    let mut attempt = Attempt {
        registry: &agent.registry,
        link,
        number,
        stands: false,
    };
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
            resume: true,
            service: service_of(link),
        };
        wire.send(&hello.encode()).await?;
        match wire.recv().await? {
            Frame::Welcome(welcome) => {
                seen.on(session, link.proof().identity(), address);
                link.still_holds()?;
                live.session().on_resume_welcome(&welcome)?;
                Ok(welcome.offset)
            }
            other => Err(Error::Internal(format!(
                "unexpected {:?} frame",
                other.kind()
            ))),
        }
    };
    let limit = settings.config.links.handshake_timeout;
    match within(limit, "the welcome of a session that resumes", greeted).await {
        Ok(offset) => {
            attempt.stands = true;
            Ok((Box::new(wire), offset))
        }
        Err(error) => {
            wire.close(&error.to_close()).await;
            Err(error)
        }
    }
}

/// A peer brings a connection for one of the links that it opened. If it is welcome, it is to be handed to the link that is
/// returned, by [`Live::rescue`].
pub async fn admit(
    agent: &Arc<Agent>,
    wire: &mut LinkStream,
    proof: Proof,
    hello: &Hello,
    names: (&NodeName, &NodeName),
) -> Result<Arc<Link>, Error> {
    let link = owned(agent, &proof, hello, names)?;
    let live = link.live().ok_or_else(|| unknown("it is not up"))?;
    let refused = |error: skans_link::Error| unknown(&error.to_string());
    live.session().could_resume(hello).map_err(refused)?;
    let mut attempt = Attempt {
        registry: &agent.registry,
        link: &link,
        number: hello.takeover,
        stands: false,
    };
    decide(agent, &link, hello.takeover, proof)?;
    // It may not have noticed yet that its connection leads nowhere.
    let stopped = tokio::time::timeout(LET_GO, live.stop());
    stopped
        .await
        .map_err(|_| Error::TimedOut("letting go of the connection before"))?;
    let (offset, version) = {
        let mut session = live.session();
        let offset = session.on_resume_hello(hello).map_err(refused)?;
        (offset, session.version())
    };
    let welcome = Welcome {
        version,
        session: hello.session,
        offset,
        tick_seconds: 0,
        clique: None,
    };
    wire.send(&welcome.encode()).await?;
    attempt.stands = true;
    drop(attempt);
    Ok(link)
}
