//! Two clusters of two trust domains on this machine, each with a node, its agent and gateways: what `skans up --clusters 2` shows and what
//! `skans chaos` breaks. Both nodes bear the same name. Without control planes each cluster has an authority of its own, and brings the other
//! one's roots with its link.

mod config;
mod prove;
mod side;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::{Error, clock, erl};

pub use prove::{ALL, Claim};
pub use side::{Gateway, Side};

/// What both nodes call themselves.
pub const NODE: &str = "orders@localhost";
/// What theirs is called at ours.
pub const ALIAS: &str = "stock@theirs";
/// The server that theirs exports.
pub(crate) const SERVER: &str = "order_server";
/// A second node of theirs, of which nothing is exported.
pub const SPARE: &str = "spare@localhost";
/// What that would be called at ours.
pub const SPARE_ALIAS: &str = "spare@theirs";

/// What the two consist of.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The `skans` that ours is started from, and theirs.
    pub skans: [PathBuf; 2],
    /// Gateways of each side.
    pub gateways: usize,
    /// Where the control plane of each side listens; without an address there is none. Bundles are never fetched from loopback.
    pub control: Option<IpAddr>,
    /// Whether there is a relay before each gateway and each bundle endpoint, as the other side reaches it. See [`Gateway::line`].
    pub lines: bool,
    /// How long a bundle of the other side is good that could not be fetched again.
    pub staleness: Duration,
    /// The library that shifts the clock of theirs, see [`Side::set_clock`].
    pub clock: Option<PathBuf>,
    /// Whether theirs has the node [`SPARE`], of which nothing is exported, and ours imports both nodes whole: what does not pass then is refused
    /// by theirs alone.
    pub spare: bool,
}

impl Wish {
    /// A gateway each, and nothing else.
    #[must_use]
    pub fn plain(skans: &Path) -> Self {
        Self {
            skans: [skans.to_owned(), skans.to_owned()],
            gateways: 1,
            control: None,
            lines: false,
            // As links have it that do not say.
            staleness: Duration::from_secs(24 * 3600),
            clock: None,
            spare: false,
        }
    }
}

/// The two, running. Dropped, they leave no process and no file.
#[derive(Debug)]
pub struct Two {
    // In this order: processes go before the files that they write.
    /// The one that calls.
    pub ours: Side,
    /// The one that exports.
    pub theirs: Side,
    _segments: Option<clock::Segments>,
    _directory: TempDir,
}

impl Two {
    /// Starts both and links them; says what it does.
    ///
    /// # Errors
    /// Whatever keeps one of them from coming up.
    pub async fn start(skans: &Path, progress: impl FnMut(&str)) -> Result<Self, Error> {
        let two = Self::start_as(&Wish::plain(skans), progress).await?;
        let server = format!(
            "Loop = fun Loop() -> receive
                {{'$gen_call', From, {{who, X}}}} -> gen_server:reply(From, {{node(), node(element(1, From)), X}}), Loop();
                {{'$gen_call', _, crash}} -> exit(crashed)
            end end,
            register({SERVER}, spawn(Loop)), register(secret, spawn(Loop))"
        );
        two.theirs.node.eval(&server, prove::STEP).await?;
        Ok(two)
    }

    /// The same with more in it, and without a server yet.
    ///
    /// # Errors
    /// As [`Two::start`].
    pub async fn start_as(wish: &Wish, mut progress: impl FnMut(&str)) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("skans-two-")
            .tempdir()
            .map_err(Error::system("cannot make a directory for the lab"))?;
        let erl = erl::find()?;
        let segments = wish.clock.as_ref();
        let segments = segments.map(|_| clock::Segments::from_now_on());
        let mut sides = Vec::new();
        for (name, skans) in ["ours", "theirs"].into_iter().zip(&wish.skans) {
            let clock = wish.clock.as_deref().filter(|_| name == "theirs");
            let skans = clock::shifted(skans, directory.path(), clock)?;
            let side = Side::start(&skans, &erl, directory.path(), name, wish).await?;
            progress(&format!("cluster {name}: {}", side.parts()));
            sides.push(side);
        }
        let (Some(theirs), Some(ours)) = (sides.pop(), sides.pop()) else {
            return Err(Error::Plan("two clusters".to_owned()));
        };
        let two = Self {
            ours,
            theirs,
            _segments: segments,
            _directory: directory,
        };
        two.link().await?;
        progress(&format!(
            "linked: theirs exports {SERVER} of {NODE}, ours calls that node {ALIAS}"
        ));
        Ok(two)
    }

    /// Each gateway is told where the other ones are, and each side what it consents to.
    async fn link(&self) -> Result<(), Error> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        for (side, other) in [(ours, theirs), (theirs, ours)] {
            side.learn(other).await?;
        }
        self.take().await?;
        self.give().await
    }

    async fn take(&self) -> Result<(), Error> {
        let imports = if self.theirs.spare.is_some() {
            json!([{"alias": ALIAS, "node": NODE}, {"alias": SPARE_ALIAS, "node": SPARE}])
        } else {
            json!([{"alias": ALIAS, "node": NODE, "process": SERVER}])
        };
        self.ours.consent(&self.theirs, &json!([]), &imports).await
    }

    async fn give(&self) -> Result<(), Error> {
        let export = json!({"node": NODE, "process": SERVER});
        self.theirs
            .consent(&self.ours, &json!([export]), &json!([]))
            .await
    }
}
