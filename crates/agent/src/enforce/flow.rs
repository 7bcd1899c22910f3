//! One direction of a link: each of its messages is judged here. No lock, no allocation and no look at the clock for what was
//! decided before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skans_dist::control::{Signal, Target};
use skans_dist::gate::{Judge, Mark, Shown, Verdict};
use skans_dist::operation::{self, Caller, Found, Function, Handle, Read, To};
use skans_dist::stream::{FrameKind, Seen};
use skans_dist::{Flags, Op, answer};
use skans_policy::{Action, Cache, Decision, Pair, Request, Resource, Subject, Verdict as Said};
use tokio::sync::watch;

use super::asked::{self, Asked, Bare};
use super::limits::{Atoms, Bucket, LimitsConfig};
use super::memory::Memory;
use super::monitors::{Monitors, Place};
use super::{Answers, Handles, Reason, reason_of, version_of};
use crate::Error;
use crate::events::{Denial, Observation, Share, Subject as Wanted};
use crate::metrics::Counters;
use crate::names::Names;
use crate::policies::{Beside, Policies};
use crate::registry::{Direction, Link};

/// What a direction is judged with.
pub struct Made {
    pub direction: Direction,
    pub policies: Arc<Policies>,
    /// Of the node of this host, in the direction in which it receives.
    pub names: Option<Arc<Names>>,
    pub handles: Arc<Handles>,
    /// In the same direction.
    pub atoms: Option<Arc<Atoms>>,
    pub limits: LimitsConfig,
    pub answers: Arc<Answers>,
    pub share: Arc<Share>,
    pub link: Arc<Link>,
    /// What both nodes have agreed on.
    pub flags: Flags,
}

/// One direction of a link.
pub struct Flow {
    made: Made,
    changes: watch::Receiver<u64>,
    /// Of what is told: with another one, everything is decided again.
    turn: u64,
    rules: Rules,
    cache: Cache,
    messages: Bucket,
    bytes: Bucket,
    /// For the answers to requests that do not say theirs.
    monitors: Monitors,
    /// What a further message that is like another need not be asked for.
    memory: Memory,
    /// The action of the last question, if that was all and it was permitted.
    asked: Option<Action>,
    /// Where the monitor of the last message is kept, if it set one on a name.
    watched: Option<Place>,
    /// Frames that stand behind what was refused last.
    behind: Vec<u8>,
}

/// What the set in force says of the two nodes.
struct Rules {
    pair: Arc<Pair>,
    /// Why it refuses, where it does.
    reason: Reason,
    /// What it refuses passes, and is told.
    dry: bool,
    /// What passes is told as well, where it is decided.
    observes: bool,
    version: (u64, u64),
    /// The sender may send to what was handed out, and to no other process without a name: a message without functions, and one
    /// with some.
    checks: [bool; 2],
    /// It may watch what was handed out, and no other process without a name.
    watches: bool,
    /// Whether the sender may use spawn requests at all: a node that was told so before goes on with them.
    spawn: Said,
    /// The receiver may, so that what this message hands out has to be known.
    notes: bool,
    /// What is compared with; nothing where it decides alike between these nodes.
    other: Option<Other>,
}

/// What a set that does not decide says of the two nodes.
struct Other {
    beside: Arc<Beside>,
    pair: Arc<Pair>,
    /// What it would let through if it was handed out, as [`Rules::checks`] and [`Rules::watches`] say it. Whether it was is not known, as
    /// long as the set in force does not have to know it: these are not compared.
    checks: [bool; 2],
    watches: bool,
    /// Of what was handed out, it would refuse this: messages without and with functions, and monitors.
    refuses: [bool; 3],
    /// It says otherwise whether spawn requests may be used.
    spawn: bool,
}

impl Other {
    fn of(made: &Made, pair: &Pair, now: u64) -> Option<Self> {
        let beside = made.policies.beside()?;
        let other = beside.engine().pair(pair.from(), pair.to(), now);
        if pair.decides_like(&other) {
            return None;
        }
        let reach = other.reach();
        let refuses = |action, carries_function, open: bool| {
            let request = Request {
                carries_function,
                ..Request::new(action, Resource::Node)
            };
            !open && other.decide(&request).verdict != Said::Permit
        };
        let [plain, with_functions] = reach.open;
        Some(Self {
            checks: reach.open,
            watches: reach.watch_open,
            refuses: [
                refuses(Action::SendPid, false, plain),
                refuses(Action::SendPid, true, with_functions),
                refuses(Action::Monitor, false, reach.watch_open),
            ],
            spawn: reach.spawn != pair.reach().spawn,
            pair: other,
            beside,
        })
    }
}

impl Flow {
    /// Judges what `from` says to `to` by what is in force from now on.
    pub fn new(made: Made, from: &Subject, to: &Subject) -> Self {
        let mut changes = made.policies.changes();
        changes.borrow_and_update();
        let limited = made.direction == Direction::Inbound;
        let rate = |rate| Bucket::new(if limited { rate } else { 0 });
        Self {
            rules: Rules::of(&made, from, to),
            changes,
            turn: made.share.observed().turn(),
            cache: Cache::new(),
            messages: rate(made.limits.messages_per_second.into()),
            bytes: rate(made.limits.bytes_per_second),
            monitors: Monitors::default(),
            memory: Memory::default(),
            asked: None,
            watched: None,
            behind: Vec::new(),
            made,
        }
    }

    /// The longest frame that may pass.
    #[must_use]
    pub const fn max_frame(&self) -> u32 {
        self.made.limits.message_bytes
    }

    /// Takes note of bytes of the stream.
    pub fn came(&mut self, count: usize) {
        let turn = self.made.share.observed().turn();
        if turn != self.turn {
            self.turn = turn;
            self.cache = Cache::new();
            self.look_again();
        }
        self.counters().bytes(count);
        self.bytes.take(count as u64);
    }

    /// How long nothing more is to be read, since the peer was too fast.
    pub fn pause(&mut self) -> Duration {
        if self.made.limits.messages_per_second == 0 && self.made.limits.bytes_per_second == 0 {
            return Duration::ZERO;
        }
        let now = Instant::now();
        self.messages.debt(now).max(self.bytes.debt(now))
    }

    /// Gives back memory that is quickly made again.
    pub fn rest(&mut self) {
        self.cache.rest();
        self.monitors.rest();
    }

    fn counters(&self) -> &Counters {
        match self.made.direction {
            Direction::Outbound => &self.made.link.traffic.sent,
            Direction::Inbound => &self.made.link.traffic.received,
        }
    }

    /// What has changed since, in the policy or in the names of pids, holds from here on.
    fn follow(&mut self) {
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.borrow_and_update();
            self.look_again();
        }
        self.memory.follow(self.made.names.as_deref());
    }

    fn look_again(&mut self) {
        let before = &self.rules.pair;
        self.rules = Rules::of(&self.made, before.from(), before.to());
        self.memory.forget();
    }

    fn decide(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        self.follow();
        self.memory.begin();
        self.asked = None;
        self.watched = None;
        if !self.negotiated(message) {
            return self.refuse_unasked(message, Said::Deny, Reason::NotNegotiated);
        }
        if self.rules.spawn != Said::Permit
            && matches!(message.control.signal, Signal::SpawnRequest { .. })
        {
            let verdict = self.refuse_unasked(message, self.rules.spawn, self.rules.reason)?;
            if verdict != Verdict::Forward {
                return Ok(verdict);
            }
        }
        let name = self.name_of(message);
        let read = match &name {
            Some(name) => operation::read_as(message, name),
            None => operation::read(message),
        };
        let found = match read? {
            Read::Whole(found) => found,
            Read::More => return Ok(Verdict::More),
        };
        if !self.note_atoms(message, found.literal_atoms) {
            return Err(self.too_many_atoms());
        }
        if self.rules.notes && message.may_grow() {
            return Ok(Verdict::More);
        }
        if self.rules.other.as_ref().is_some_and(|other| other.spawn)
            && matches!(message.control.signal, Signal::SpawnRequest { .. })
        {
            self.differs(&Request::new(Action::SpawnRequest, Resource::Node), None);
        }
        let mut verdict = self.judge_found(&found, name.is_some());
        if verdict == Verdict::Forward && matches!(found.operation.to(), Some(To::Told)) {
            verdict = self.judge_told(message, name.as_deref())?;
        }
        if self.rules.notes && verdict == Verdict::Forward {
            self.note_handles(message)?;
        }
        if let (
            Verdict::Forward,
            Signal::Monitor {
                from,
                to: Target::Name(name),
                reference,
            },
        ) = (verdict, &message.control.signal)
            && let Some(name) = name.text()
        {
            self.watched = self.monitors.set(from, name, reference);
        }
        if verdict == Verdict::Forward && !self.rules.notes {
            self.memory.passed(&found, self.asked);
        }
        Ok(verdict)
    }

    /// What is passed on to processes that bear names is judged as for each of these.
    fn judge_told(&mut self, message: &Shown<'_>, name: Option<&str>) -> Result<Verdict, Error> {
        let Some(names) = self.made.names.as_ref() else {
            return Ok(Verdict::Forward);
        };
        // Those elsewhere are told from here, by a message that is decided there.
        let (here, _) = self.made.link.names();
        let mut told = BTreeSet::new();
        operation::told(message, &mut |pid| {
            if pid.node.text() == Some(here.as_str()) {
                told.extend(names.of(pid.id, pid.serial));
            }
        })?;
        for one in &told {
            let found = match operation::read_as_told(message, name, one)? {
                Read::Whole(found) => found,
                Read::More => return Ok(Verdict::More),
            };
            if self.judge_found(&found, true) == Verdict::Refuse {
                return Ok(Verdict::Refuse);
            }
        }
        Ok(Verdict::Forward)
    }

    fn judge_found(&mut self, found: &Found<'_>, via_pid: bool) -> Verdict {
        let verdict = self.judge_operation(found, via_pid);
        match &found.also {
            Some(function) if verdict == Verdict::Forward => {
                self.ask_function(found, Action::Call, function, via_pid)
            }
            _ => verdict,
        }
    }

    fn ask_function(
        &mut self,
        found: &Found<'_>,
        action: Action,
        function: &Function<'_>,
        via_pid: bool,
    ) -> Verdict {
        for resource in asked::functions(function) {
            let request = Request {
                action,
                resource,
                carries_function: found.carries_function,
                via_pid,
                now: None,
            };
            let verdict = self.ask(found, &request, true);
            if verdict != Verdict::Forward {
                return verdict;
            }
        }
        Verdict::Forward
    }

    fn judge_operation(&mut self, found: &Found<'_>, via_pid: bool) -> Verdict {
        let request = |action, resource| Request {
            action,
            resource,
            carries_function: found.carries_function,
            via_pid,
            now: None,
        };
        match asked::of(&found.operation) {
            Asked::Nothing => Verdict::Forward,
            Asked::Of(action, resource) => self.ask(found, &request(action, resource), true),
            Asked::Bare(action, bare) => {
                let request = request(action, Resource::Node);
                let of = |checks: [bool; 2], watches| match (action, checks) {
                    (Action::Monitor, _) => watches,
                    (_, [plain, _]) if !found.carries_function => plain,
                    (_, [_, with_functions]) => with_functions,
                };
                let other = self.rules.other.as_ref();
                let (refuses, unknown) = other.map_or((false, false), |other| {
                    let [plain, with_functions, watched] = other.refuses;
                    (
                        of([plain, with_functions], watched),
                        of(other.checks, other.watches),
                    )
                });
                if of(self.rules.checks, self.rules.watches) && self.was_handed_out(bare) {
                    if refuses {
                        self.differs(&request, Some(Said::Permit));
                    }
                    self.count(Said::Permit, action, Reason::Policy);
                    return Verdict::Forward;
                }
                self.ask(found, &request, !unknown)
            }
            Asked::Function(action, function) => {
                self.ask_function(found, action, function, via_pid)
            }
            Asked::Unknown(resource) => {
                let said = if self.rules.dry {
                    Said::WouldDeny
                } else {
                    Said::Deny
                };
                let counters = &self.counters().decisions;
                counters.count_unknown(said, Reason::Unknown);
                if said.passes() {
                    let unasked = Decision {
                        verdict: said,
                        policies: Vec::new(),
                        errors: Vec::new(),
                    };
                    self.made.share.observed().note(&observation(
                        (self.made.direction, self.rules.version),
                        "unknown",
                        &unasked,
                        &request(Action::Send, resource),
                    ));
                }
                self.tell(
                    said,
                    "unknown",
                    Reason::Unknown,
                    &request(Action::Send, resource),
                );
                self.finish(found, said)
            }
        }
    }

    /// What decides, and whether another set would say otherwise, if that is to be compared.
    fn ask(&mut self, found: &Found<'_>, request: &Request<'_>, compare: bool) -> Verdict {
        let Self {
            cache, rules, made, ..
        } = self;
        let other = rules.other.as_ref().map(|other| &*other.pair);
        let known = cache.compare_noting(&rules.pair, other, request, |decision| {
            if rules.observes && decision.verdict.passes() {
                made.share.observed().note(&observation(
                    (made.direction, rules.version),
                    request.action.as_str(),
                    decision,
                    request,
                ));
            }
        });
        let (said, differs) = (known.verdict, known.differs && compare);
        let reason = self.rules.reason;
        self.count(said, request.action, reason);
        if differs {
            self.differs(request, None);
        }
        if said == Said::Permit {
            // What differs is told each time: no message that is like it goes unseen.
            self.asked = Some(request.action).filter(|_| !differs);
            return Verdict::Forward;
        }
        self.tell(said, request.action.as_str(), reason, request);
        self.finish(found, said)
    }

    /// Takes note of what another set decides otherwise. `instead` is what is decided here, if it is not the policy alone that says so.
    fn differs(&self, request: &Request<'_>, instead: Option<Said>) {
        let Some(other) = &self.rules.other else {
            return;
        };
        let pair = &self.rules.pair;
        other.beside.differs(pair.from(), pair.to(), request, || {
            let mut decided = pair.decide(request);
            decided.verdict = instead.unwrap_or(decided.verdict);
            (decided, other.pair.decide(request))
        });
    }

    fn finish(&mut self, found: &Found<'_>, said: Said) -> Verdict {
        if said.passes() {
            return Verdict::Forward;
        }
        // Whatever this message is framed like: the two ends read one form only.
        let like = if self.made.flags.contains(Flags::DIST_HDR_ATOM_CACHE) {
            FrameKind::Header
        } else {
            FrameKind::PassThrough
        };
        self.behind.clear();
        if let Some(caller) = self.watching(found) {
            if let Ok(Some(frame)) = answer::refusal_like(&caller, like) {
                self.made.answers.put(&frame);
            }
            if let Ok(Some(frame)) = answer::withdrawal_like(&caller, like) {
                self.behind = frame;
            }
        }
        Verdict::Refuse
    }

    /// Who waits, and for which monitor: the one that it has set before, if it does not say.
    fn watching<'a>(&mut self, found: &Found<'a>) -> Option<Caller<'a>> {
        let mut caller = found.caller.clone()?;
        if let Caller::Request {
            from,
            to: To::Name(name),
            monitor: monitor @ None,
            ..
        } = &mut caller
        {
            *monitor = self.monitors.take(from, name);
        }
        Some(caller)
    }

    fn count(&self, said: Said, action: Action, reason: Reason) {
        self.counters().decisions.count(said, action, reason);
    }

    fn tell(&self, said: Said, action: &'static str, reason: Reason, request: &Request<'_>) {
        self.made.share.denied(&Denial {
            direction: self.made.direction,
            action,
            reason: reason.label(),
            dry_run: said.passes(),
            resource: wanted(request.resource),
            carries_function: request.carries_function,
            via_pid: request.via_pid,
            version: self.rules.version,
            session: self.made.link.correlation(),
        });
    }

    /// Receivers do what they never agreed to: both `SPAWN` and `ALTACT_SIG` are looked at by senders alone.
    fn negotiated(&self, message: &Shown<'_>) -> bool {
        let needs = match message.control.signal {
            Signal::SpawnRequest { .. } | Signal::SpawnReply { .. } => Flags::SPAWN,
            _ if message.op() == Op::AltactSigSend => Flags::ALTACT_SIG,
            _ => return true,
        };
        self.made.flags.contains(needs) && !ends_its_receiver(message)
    }

    fn refuse_unasked(
        &mut self,
        message: &Shown<'_>,
        said: Said,
        reason: Reason,
    ) -> Result<Verdict, Error> {
        let found = match operation::read(message)? {
            Read::Whole(found) => found,
            Read::More => return Ok(Verdict::More),
        };
        let request = match asked::of(&found.operation) {
            Asked::Function(action, function) => Request::new(
                action,
                Resource::Function {
                    module: &function.module,
                    function: &function.function,
                    arity: function.arity,
                },
            ),
            Asked::Of(action, resource) => Request::new(action, resource),
            _ => Request::new(Action::SendPid, Resource::Node),
        };
        self.count(said, request.action, reason);
        self.tell(said, request.action.as_str(), reason, &request);
        Ok(self.finish(&found, said))
    }

    /// The name that a bare pid bears.
    fn name_of(&self, message: &Shown<'_>) -> Option<Arc<str>> {
        let names = self.made.names.as_ref()?;
        let pid = match &message.control.signal {
            Signal::Send {
                to: Target::Pid(pid),
                ..
            }
            | Signal::Monitor {
                to: Target::Pid(pid),
                ..
            }
            | Signal::Exit2 {
                to: Target::Pid(pid),
                ..
            }
            | Signal::Link { to: pid, .. }
            | Signal::GroupLeader { to: pid, .. } => pid,
            _ => return None,
        };
        names.of(pid.id, pid.serial)
    }

    fn was_handed_out(&self, bare: Bare<'_>) -> bool {
        match bare {
            Bare::Pid(pid) => self.made.handles.has_pid(pid),
            Bare::Alias(alias) => self.made.handles.has_reference(alias),
        }
    }

    /// Takes note of what a message hands out, as far as it is there: what is of the node that sends it. Who guesses a pid of
    /// the other one and names it in a message was not handed it.
    fn note_handles(&self, message: &Shown<'_>) -> Result<(), Error> {
        let handles = &self.made.handles;
        let (local, peer) = self.made.link.names();
        let sender = match self.made.direction {
            Direction::Outbound => local,
            Direction::Inbound => peer,
        };
        let sender = sender.as_str();
        operation::handed_out(message, &mut |handle| match handle {
            Handle::Pid(pid) if pid.node.text() == Some(sender) => handles.pid(&pid),
            Handle::Reference(reference) if reference.node.text() == Some(sender) => {
                handles.reference(&reference);
            }
            _ => {}
        })?;
        Ok(())
    }

    fn note_atoms(&self, message: &Shown<'_>, literal: usize) -> bool {
        let Some(atoms) = &self.made.atoms else {
            return true;
        };
        let known = message.new_atoms == 0 || atoms.note(message.atoms.iter().map(|atom| &**atom));
        known && (literal == 0 || note_literals(atoms, message))
    }

    fn too_many_atoms(&self) -> Error {
        let limit = self.made.limits.new_atoms;
        self.count(Said::Deny, Action::SendPid, Reason::Limit);
        let request = Request::new(Action::SendPid, Resource::Node);
        self.tell(Said::Deny, "new_atoms", Reason::Limit, &request);
        Error::TooMany {
            what: format!("atoms made by {}", self.rules.pair.from().id()),
            limit,
        }
    }
}

/// What is told of a request that passes.
pub(super) fn observation<'a>(
    (direction, version): (Direction, (u64, u64)),
    action: &'static str,
    decision: &Decision,
    request: &Request<'a>,
) -> Observation<'a> {
    let would_deny = decision.verdict != Said::Permit;
    Observation {
        direction,
        action,
        would_deny,
        // What no policy permits has none to name.
        forbidden: would_deny && !(decision.policies.is_empty() && decision.errors.is_empty()),
        resource: wanted(request.resource),
        carries_function: request.carries_function,
        via_pid: request.via_pid,
        version,
    }
}

const fn wanted(resource: Resource<'_>) -> Wanted<'_> {
    match resource {
        Resource::Node => Wanted::Node,
        Resource::Process(name) => Wanted::Process(name),
        Resource::Service(name) => Wanted::Service(name),
        Resource::Function {
            module,
            function,
            arity,
        } => Wanted::Function(module, function, arity),
    }
}

impl Rules {
    fn of(made: &Made, from: &Subject, to: &Subject) -> Self {
        let in_force = made.policies.current();
        let now = crate::keeper::now().as_secs();
        let pair = in_force.engine.pair(from, to, now);
        let back = in_force.engine.pair(to, from, now);
        let (there, here) = (pair.reach(), back.reach());
        let dry = in_force.dry_until().is_some_and(|until| now < until);
        Self {
            other: Other::of(made, &pair, now),
            checks: there.open,
            watches: there.watch_open,
            notes: here.open.contains(&true) || here.watch_open,
            spawn: there.spawn,
            pair,
            reason: reason_of(&in_force),
            dry,
            observes: dry || made.share.observed().always(),
            version: version_of(&in_force),
        }
    }
}

impl Judge for Flow {
    type Error = Error;

    fn begin(&mut self) {
        self.follow();
    }

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict, Error> {
        self.decide(message)
    }

    fn lasting(&mut self, message: &Shown<'_>) -> Option<Mark> {
        if !self.memory.has_passed() {
            return None;
        }
        let name = self.name_of(message);
        operation::is_ordinary(message, name.as_deref())
            .then(|| self.memory.mark(self.watched))
            .flatten()
    }

    fn again(&mut self, mark: Mark, numbers: &[u8]) -> bool {
        let Some(asked) = self.memory.recall(mark) else {
            return false;
        };
        if let Some(action) = asked {
            self.count(Said::Permit, action, self.rules.reason);
        }
        if let Some(place) = Place::of(mark.1) {
            self.monitors.set_again(place, numbers);
        }
        true
    }

    fn behind(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.behind)
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Message { op, .. } => {
                self.counters().message(op);
                self.messages.take(1);
            }
            Seen::Tick => self.counters().tick(),
            Seen::Continuation { .. } => {}
        }
    }
}

/// The atoms that stand in a message without the cache, as far as it is there; those inside pids and funs, too.
fn note_literals(atoms: &Atoms, message: &Shown<'_>) -> bool {
    let mut few = true;
    // What cannot be read is closed by the gate, or goes on where nobody looks.
    let _: Result<(), skans_dist::Error> = operation::literal_atoms(message, &mut |text| {
        few = few && atoms.note(std::iter::once(&*text));
    });
    few
}

/// Whether a message by op 37 is without priority, for a name or a pid, and in fragments. OTP 29.1.2 ends with a segmentation fault
/// once the last fragment is there and the receiver lives. Nodes write op 37 for what has priority and for aliases, and both are
/// received well in fragments (`erts_dsig_send_msg` of `dist.c`, OTP 28).
fn ends_its_receiver(message: &Shown<'_>) -> bool {
    message.frame == FrameKind::FirstFragment
        && matches!(
            message.control.signal,
            Signal::Send {
                to: Target::Name(_) | Target::Pid(_),
                priority: false,
                ..
            }
        )
}
