//! Parsers for what configures an Erlang or Elixir node, with the place of everything in the text.
//!
//! What lives here: text in, trees with spans out. What does not: files, environment variables, and any opinion about
//! what is found. Each module reads one notation:
//!
//! | module | what it reads |
//! |---|---|
//! | [`term`] | Erlang terms: `sys.config`, `.app`, `.rel`, `relx.config`, `rebar.config`, `advanced.config`, TLS option files |
//! | [`flags`] | `vm.args`, `ERL_FLAGS`, command lines, and what a node makes of them together |
//! | [`elixir`] | what stands literally in `config/runtime.exs`, `config/config.exs` and `mix.exs`; nothing is evaluated |
//! | [`shell`] | `env.sh.eex`, `ejabberdctl.cfg`, start scripts: assignments and commands |
//! | [`sysctl`] | `rabbitmq.conf`: `key.of.several.parts = value` |
//! | [`hocon`] | `emqx.conf` and its like |
//!
//! All input is hostile: size, nesting and the number of elements are bounded ([`Limits`]), nothing is evaluated, and
//! nothing here panics.
//!
//! ```
//! use skans_erlconf::term;
//!
//! let text = "[{kernel, [{inet_dist_listen_min, 9100}]}].";
//! let config = term::consult(text)?;
//! let port = config.terms[0].path(&["kernel", "inet_dist_listen_min"]).unwrap();
//! assert_eq!(port.as_integer(), Some(9100));
//! assert_eq!(port.span.text(text), "9100");
//! # Ok::<(), skans_erlconf::Error>(())
//! ```
#![deny(clippy::indexing_slicing)]

mod cursor;
pub mod elixir;
mod error;
pub mod flags;
pub mod hocon;
mod limits;
mod placeholder;
pub mod shell;
mod span;
pub mod sysctl;
pub mod term;

pub use error::{Error, Result};
pub use limits::Limits;
pub use span::{LineIndex, Position, Span};
