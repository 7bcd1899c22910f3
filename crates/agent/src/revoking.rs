//! What revocation does to links, and what links bring of it: touched ones are muted at once and acknowledged once they
//! forward nothing more, heads and entries go from agent to agent, and what class `strict` demands is done when heads
//! stay away. On the administration's thread.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use skans_identity::deny::Target;
use skans_link::{Close, Denials, Reason};
use tokio::sync::mpsc;

use crate::Error;
use crate::agent::Agent;
use crate::control::Control;
use crate::events::Events;
use crate::gossip::{self, Heard, Said};
use crate::registry::Link;
use crate::revocation::{From, Staged, Staging};
use crate::standing::Age;

/// How long a link may take to stop forwarding once it was told to. It takes microseconds; a link that does not is a
/// defect, and is not acknowledged.
const QUIET: Duration = Duration::from_secs(5);
/// How often entries that have run out are dropped.
const FORGET: Duration = Duration::from_secs(600);
/// Links that may be in the middle of handing entries over. Each holds some; a link beyond it is asked again by its next
/// head.
const MAX_STAGING: usize = 1024;

/// Starts all of it.
pub fn start(agent: &Arc<Agent>, control: &Arc<Control>) {
    let (told, muted) = mpsc::unbounded_channel();
    let weak = Arc::downgrade(agent);
    control
        .revocation
        .on_denied(Box::new(move |targets| cut(&weak, targets, &told)));
    tokio::spawn(acknowledge(
        Arc::clone(&agent.events),
        Arc::clone(control),
        muted,
    ));
    tokio::spawn(hand_on(Arc::clone(agent), Arc::clone(control)));
    tokio::spawn(listen(Arc::clone(agent), Arc::clone(control)));
    tokio::spawn(watch_age(Arc::clone(agent), Arc::clone(control)));
}

/// Mutes what is touched. The verifier refuses it already, so that a link that registers from here on is decided by that.
fn cut(agent: &Weak<Agent>, targets: &[Target], told: &mpsc::UnboundedSender<Vec<Arc<Link>>>) {
    let Some(agent) = agent.upgrade() else { return };
    agent.judged.send_replace(());
    let silence = agent.settings().config.links.silence;
    let mut muted = Vec::new();
    for target in targets {
        if let (Some(control), Target::Key(key)) = (&agent.control, target) {
            // Somebody was faster than we: whoever uses it from now on is refused, we as well.
            control.give_up(&agent, *key);
        }
        for link in agent.registry.touched_by(target) {
            let (local, peer) = link.names();
            tracing::warn!(link = link.id, %local, %peer, kind = target.label(), "revoked: the link forwards nothing more");
            let text = format!("revoked, by {}", target.label());
            link.mute(Close::new(Reason::Denied, text), silence);
            muted.push(link);
        }
    }
    // The end of the agent is the only way for nobody to listen.
    let _ = told.send(muted);
}

/// Says up to where it holds that nothing that is denied is forwarded here.
async fn acknowledge(
    events: Arc<Events>,
    control: Arc<Control>,
    mut muted: mpsc::UnboundedReceiver<Vec<Arc<Link>>>,
) {
    let mut changes = control.revocation.changes();
    let (_, mut told, _) = control.revocation.position();
    loop {
        changes.mark_unchanged();
        // Read before the links are: each entry up to here has put its links into the channel.
        let (epoch, seq, _) = control.revocation.position();
        let mut cut = 0;
        while let Ok(links) = muted.try_recv() {
            for link in links {
                cut += 1;
                if tokio::time::timeout(QUIET, link.quiet()).await.is_err() {
                    tracing::error!(
                        link = link.id,
                        seq,
                        "a link that is revoked does not stop: not acknowledged until it has"
                    );
                    link.quiet().await;
                }
            }
        }
        control.acknowledged.send_replace((epoch, seq));
        if seq > told || cut > 0 {
            events.revoked(seq.saturating_sub(told), cut, (epoch, seq));
        }
        told = seq;
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// Each head that is new and complete goes to all links.
async fn hand_on(agent: Arc<Agent>, control: Arc<Control>) {
    let mut newest = control.revocation.newest();
    loop {
        let head = newest.borrow_and_update().clone();
        if let Some(head) = head {
            gossip::broadcast(&agent, head);
        }
        if newest.changed().await.is_err() {
            return;
        }
    }
}

/// What peers hand on.
async fn listen(agent: Arc<Agent>, control: Arc<Control>) {
    let Some(mut heard) = agent.gossip.listen() else {
        return;
    };
    let mut staging = HashMap::new();
    while let Some(Heard { link, said }) = heard.recv().await {
        if let Err(error) = answer(&control, &link, said, &mut staging) {
            staging.remove(&link.id);
            match error {
                Error::Unverifiable(_) => {
                    let (local, peer) = link.names();
                    tracing::warn!(link = link.id, %local, %peer, "a peer hands on what is not true: {error}");
                    link.end(Close::new(Reason::Unverifiable, error.to_string()));
                }
                // Not its fault: a full disk of ours, say.
                error => {
                    tracing::error!("cannot take in what a peer hands on: {error}");
                    link.want(0);
                }
            }
        }
    }
}

fn answer(
    control: &Control,
    link: &Arc<Link>,
    said: Said,
    staging: &mut HashMap<u64, Staging>,
) -> Result<(), Error> {
    let revocation = &control.revocation;
    match said {
        Said::Head(head) => {
            staging.remove(&link.id);
            match revocation.hear(&head, From::Peer)? {
                Some(missing) => {
                    if staging.len() >= MAX_STAGING {
                        // Links that ended in the middle.
                        staging.clear();
                    }
                    link.want(missing.next());
                    staging.insert(link.id, missing);
                }
                None => link.want(0),
            }
        }
        Said::Want(seq) => link.deny(Denials::fit(revocation.entries_from(seq))),
        Said::Entries(entries) => {
            let Some(mut missing) = staging.remove(&link.id) else {
                link.want(0);
                return Ok(());
            };
            match revocation.stage(&mut missing, entries.iter())? {
                Staged::Done => link.want(0),
                Staged::More => {
                    link.want(missing.next());
                    staging.insert(link.id, missing);
                }
            }
        }
    }
    Ok(())
}

/// Says when heads stay away, and does what the class demands then.
async fn watch_age(agent: Arc<Agent>, control: Arc<Control>) {
    let mut newest = control.revocation.newest();
    let mut forgotten = tokio::time::Instant::now();
    let mut said = Age::Fresh;
    loop {
        let (_, holds, step) = control.revocation.verdict();
        let (age, next) = control.revocation.age();
        let age = age.as_secs();
        match step {
            _ if step == said => {}
            Age::Fresh => tracing::info!("heads of the control plane arrive again"),
            Age::Late => tracing::warn!(
                age,
                "no head of the control plane for a while: what was revoked meanwhile is not known here"
            ),
            Age::Old => tracing::error!(
                age,
                "no head of the control plane: class strict opens no new links"
            ),
            Age::Lapsed => tracing::error!(
                age,
                "no head of the control plane: class strict ends its links"
            ),
        }
        said = step;
        if !holds {
            let text = "nobody has said for 15 minutes what is revoked (class strict)";
            for link in agent.registry.snapshot() {
                link.mute(Close::new(Reason::Stale, text), Duration::ZERO);
            }
        }
        if let Err(error) = control.revocation.keep() {
            tracing::error!("cannot write down which heads were heard: {error}");
        }
        if forgotten.elapsed() > FORGET {
            forgotten = tokio::time::Instant::now();
            control.revocation.forget();
        }
        let nap = next.unwrap_or(FORGET).min(Duration::from_secs(5));
        tokio::select! {
            () = tokio::time::sleep(nap) => {}
            changed = newest.changed() => if changed.is_err() { return },
            () = agent.stopping.cancelled() => return,
        }
    }
}
