//! The listeners behind which clients of this host find services of others. Opened at the start, and anew on reload where they have
//! changed.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use skans_dist::NodeName;
use skans_host::backoff::Backoff;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{as_stream, door};
use crate::Error;
use crate::agent::Agent;
use crate::config::{Config, Endpoint, Use};
use crate::handover::{self, Inheritance};
use crate::users::{self, Users};

/// One door: what is behind it, and who may go through.
#[derive(Debug)]
pub struct Door {
    /// What it is called where it is offered.
    pub service: Arc<str>,
    /// Who offers it.
    pub from: NodeName,
    /// In whose name it is used.
    pub node: NodeName,
    /// Where it is.
    pub listen: Endpoint,
    /// Whose processes may connect, besides root's.
    pub users: Vec<u32>,
    /// A place for each connection.
    pub places: Arc<Semaphore>,
    /// How many there are.
    pub limit: usize,
}

/// All doors that are open, by where they are.
#[derive(Debug, Default)]
pub struct Doors(Mutex<BTreeMap<String, Open>>);

#[derive(Debug)]
struct Open {
    wanted: Use,
    door: Arc<ArcSwap<Door>>,
    shut: CancellationToken,
    /// Whoever serves it keeps it open.
    listens: Weak<Listener>,
}

/// What is to be open, opened already.
#[derive(Debug)]
pub struct Prepared(Vec<Wanted>);

#[derive(Debug)]
struct Wanted {
    wanted: Use,
    /// `None` where nothing has changed.
    door: Option<Door>,
    /// `None` where one listens.
    listener: Option<Listener>,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl Doors {
    /// What is open, `most` of it, for another process. Who waits there in the meantime is served by it.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no more descriptors.
    pub fn share(&self, most: usize) -> Result<Vec<(skans_handover::Door, OwnedFd)>, Error> {
        let open = self.open();
        let listening = open
            .values()
            .filter_map(|open| Some((open, open.listens.upgrade()?)));
        let all = listening.take(most).map(|(open, listener)| {
            let door = skans_handover::Door {
                what: skans_handover::Use::Service,
                configured: match &open.door.load().listen {
                    Endpoint::Tcp(address) => address.to_string(),
                    Endpoint::Unix(path) => path.display().to_string(),
                },
            };
            Ok((door, handover::again(&*listener)?))
        });
        all.collect()
    }

    /// What a configuration asks for and another process has open.
    ///
    /// # Errors
    /// [`Error::Config`] for a user that does not exist; [`Error::Internal`] for what is no listener.
    pub fn inherit(
        &self,
        config: &Config,
        users: &Users,
        inheritance: &mut Inheritance,
    ) -> Result<Prepared, Error> {
        let mut prepared = Vec::new();
        for (index, wanted) in config.services.uses.iter().enumerate() {
            let door = door(config, users, wanted, &format!("services.uses[{index}]"))?;
            let service = skans_handover::Use::Service;
            let listener = match &door.listen {
                Endpoint::Tcp(address) => {
                    inheritance.listener(service, *address)?.map(Listener::Tcp)
                }
                Endpoint::Unix(path) => inheritance.unix(service, path)?.map(Listener::Unix),
            };
            if listener.is_some() {
                prepared.push(Wanted {
                    wanted: wanted.clone(),
                    door: Some(door),
                    listener,
                });
            }
        }
        Ok(Prepared(prepared))
    }

    /// Opens what a configuration asks for and is not open yet, or nothing.
    ///
    /// # Errors
    /// [`Error::Config`] for a user that does not exist, [`Error::Bind`] and [`Error::File`] for a door that cannot be opened.
    pub fn prepare(&self, config: &Config, users: &Users) -> Result<Prepared, Error> {
        let open = self.open();
        let uses = config.services.uses.iter().enumerate();
        let prepared = uses.map(|(index, wanted)| {
            let present = open.get(&wanted.listen);
            let changed = present.is_none_or(|open| open.wanted != *wanted);
            let key = format!("services.uses[{index}]");
            let door = changed.then(|| door(config, users, wanted, &key));
            let door = door.transpose()?;
            let listener = match &door {
                Some(door) if present.is_none() => Some(listen(&door.listen)?),
                _ => None,
            };
            Ok(Wanted {
                wanted: wanted.clone(),
                door,
                listener,
            })
        });
        prepared.collect::<Result<_, _>>().map(Prepared)
    }

    /// Serves what was prepared, and shuts what is not asked for any more. Connections that are up are decided elsewhere.
    pub fn install(&self, agent: &Arc<Agent>, prepared: Prepared) {
        let mut open = self.open();
        open.retain(|listen, open| {
            let stays = prepared
                .0
                .iter()
                .any(|wanted| wanted.wanted.listen == *listen);
            if !stays {
                open.shut.cancel();
            }
            stays
        });
        for Wanted {
            wanted,
            door,
            listener,
        } in prepared.0
        {
            let Some(door) = door else { continue };
            match (open.get_mut(&wanted.listen), listener) {
                (Some(open), _) => {
                    open.door.store(Arc::new(door));
                    open.wanted = wanted;
                }
                (None, Some(listener)) => {
                    let listener = Arc::new(listener);
                    let listens = Arc::downgrade(&listener);
                    let (door, shut) = (
                        Arc::new(ArcSwap::from_pointee(door)),
                        CancellationToken::new(),
                    );
                    let serving =
                        accept(Arc::clone(agent), listener, Arc::clone(&door), shut.clone());
                    // Who comes while this process hands over waits for the next one.
                    crate::run::held(agent, crate::run::once_ready(Arc::clone(agent), serving));
                    let open_now = Open {
                        wanted,
                        door,
                        shut,
                        listens,
                    };
                    open.insert(open_now.wanted.listen.clone(), open_now);
                }
                (None, None) => {}
            }
        }
    }

    /// Those that are open, by where they are.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Door>> {
        self.open()
            .values()
            .map(|open| open.door.load_full())
            .collect()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection that was made through a door may go on: the configuration still has one for it.
    #[must_use]
    pub fn leads(&self, node: &NodeName, from: &NodeName, service: &str) -> bool {
        self.all()
            .iter()
            .any(|door| door.node == *node && door.from == *from && *door.service == *service)
    }
}

fn door(config: &Config, users: &Users, wanted: &Use, key: &str) -> Result<Door, Error> {
    let wrong = |part: &str| {
        let key = format!("{key}.{part}");
        move |why: String| Error::config(&key, why)
    };
    let node = config
        .bearer(wanted.node.as_deref())
        .map_err(wrong("node"))?;
    let allowed = match &wanted.users {
        Some(names) => names
            .iter()
            .map(|name| users::uid(name, &format!("{key}.users")))
            .collect::<Result<_, _>>()?,
        None => users.of_node(node.alive()).into_iter().collect(),
    };
    let from = wanted.from.parse();
    Ok(Door {
        service: wanted.name.as_str().into(),
        from: from.map_err(|error: skans_dist::Error| Error::config(key, error.to_string()))?,
        node,
        listen: Endpoint::parse(&wanted.listen).map_err(wrong("listen"))?,
        users: allowed,
        places: Arc::new(Semaphore::new(wanted.max_connections)),
        limit: wanted.max_connections,
    })
}

fn listen(endpoint: &Endpoint) -> Result<Listener, Error> {
    match endpoint {
        Endpoint::Unix(path) => unix(path).map(Listener::Unix),
        Endpoint::Tcp(address) => {
            let bound = skans_host::listen::bind(*address);
            bound.map(Listener::Tcp).map_err(|source| Error::Bind {
                purpose: "a service (services.uses[].listen)",
                address: *address,
                source,
            })
        }
    }
}

/// A socket in the place of one that nobody listens on any more. Everybody may try it: who may connect is asked of the kernel.
fn unix(path: &Path) -> Result<UnixListener, Error> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(Error::file(
            path,
            "found a socket that somebody listens on, wanted none (services.uses[].listen)",
        ));
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
        skans_host::files::directory(parent, 0o755)?;
    }
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            return Err(Error::file(
                path,
                "found a file that is no socket, wanted none (services.uses[].listen)",
            ));
        }
        std::fs::remove_file(path)
            .map_err(|error| Error::file(path, format!("cannot remove: {error}")))?;
    }
    let listener = UnixListener::bind(path)
        .map_err(|error| Error::file(path, format!("cannot listen: {error}")))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
        .map_err(|error| Error::file(path, format!("cannot set its mode: {error}")))?;
    Ok(listener)
}

/// Who is at the other end of a connection of this host.
async fn next(listener: &Listener) -> std::io::Result<(TcpStream, Option<u32>)> {
    match listener {
        Listener::Tcp(listener) => {
            let (socket, theirs) = listener.accept().await?;
            let user = socket
                .local_addr()
                .ok()
                .and_then(|ours| crate::loopback::owner(theirs, ours));
            socket.set_nodelay(true)?;
            Ok((socket, user))
        }
        Listener::Unix(listener) => {
            let (socket, _) = listener.accept().await?;
            let user = socket.peer_cred().ok().map(|peer| peer.uid());
            Ok((as_stream(socket)?, user))
        }
    }
}

async fn accept(
    agent: Arc<Agent>,
    listener: Arc<Listener>,
    door: Arc<ArcSwap<Door>>,
    shut: CancellationToken,
) {
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = next(&listener) => accepted,
            () = shut.cancelled() => break,
            () = agent.draining.cancelled() => break,
        };
        match accepted {
            Ok((socket, user)) => {
                backoff.reset();
                let (serving, door) = (Arc::clone(&agent), door.load_full());
                agent.serve(socket, move |socket| {
                    door::serve(serving, socket, user, door)
                });
            }
            Err(error) => backoff.wait("a service", &error).await,
        }
    }
    if let Endpoint::Unix(path) = &door.load().listen {
        // Gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}
