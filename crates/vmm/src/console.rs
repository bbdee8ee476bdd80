//! The console: from a terminal, or whoever connects, to the guest's serial port.

use std::{
    fs,
    io::{self, IsTerminal, Read},
    os::{
        fd::{AsRawFd, RawFd},
        unix::{
            fs::FileTypeExt,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use vmm_sys_util::terminal::Terminal;

use crate::{
    devices::serial::{SerialPort, Sink},
    error::{Error, Result},
};

/// Where the console is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere.
    Nothing,
    /// Standard input and output.
    Terminal,
    /// Output goes to a file; there is no input.
    File(PathBuf),
    /// A Unix socket that is made at a path, for one peer at a time.
    Socket(PathBuf),
}

/// The byte behind which a terminal's next byte is for us: Ctrl-A.
const ESCAPE: u8 = 1;
/// Behind [`ESCAPE`]: end the machine.
const QUIT: u8 = b'x';

/// The input side of a console.
pub struct Console {
    input: Input,
    /// The terminal's byte before was [`ESCAPE`].
    escaped: bool,
}

enum Input {
    Nothing,
    /// Held for its end, which restores the terminal.
    Terminal(#[expect(dead_code, reason = "dropped, not read")] RawMode),
    Socket {
        listener: Listener,
        peer: Arc<Mutex<Option<UnixStream>>>,
        input: Option<UnixStream>,
    },
}

/// What input amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// Input for the guest, or none.
    Nothing,
    /// Input has ended: do not ask again.
    End,
    /// The user ends the machine.
    Quit,
}

impl Console {
    /// Opens it; the second part is for the serial port.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Host`].
    pub fn open(place: &Place) -> Result<(Self, Sink)> {
        let (input, sink) = match place {
            Place::Nothing => (Input::Nothing, Sink::Nothing),
            Place::Terminal => (Input::Terminal(RawMode::enter()?), Sink::Terminal),
            Place::File(path) => (Input::Nothing, Sink::file(path)?),
            Place::Socket(path) => {
                let peer = Arc::new(Mutex::new(None));
                let listener = Listener::bind(path, "make the console's socket")?;
                let sink = Sink::Peer(Arc::clone(&peer));
                (Input::Socket { listener, peer, input: None }, sink)
            }
        };
        Ok((Self { input, escaped: false }, sink))
    }

    /// What to wait for: readable means that [`Console::serve`] has something to do.
    pub fn descriptors(&self) -> Vec<RawFd> {
        match &self.input {
            Input::Nothing => Vec::new(),
            Input::Terminal(_) => vec![io::stdin().as_raw_fd()],
            Input::Socket { listener, input, .. } => {
                let peer = input.as_ref().map(AsRawFd::as_raw_fd);
                std::iter::once(listener.0.as_raw_fd()).chain(peer).collect()
            }
        }
    }

    /// Takes what there is and types it into `serial`.
    pub fn serve(&mut self, ready: RawFd, serial: &SerialPort) -> Typed {
        let mut bytes = [0; 256];
        // What the guest has no room for stays where it is, except that the end must be seen.
        let room = serial.room().clamp(1, bytes.len());
        let window = bytes.get_mut(..room).unwrap_or_default();
        match &mut self.input {
            Input::Nothing => Typed::End,
            Input::Terminal(_) => match io::stdin().read(window) {
                Ok(0) | Err(_) => Typed::End,
                Ok(count) => self.type_in(bytes.get(..count).unwrap_or_default(), serial),
            },
            Input::Socket { listener, peer, input } => {
                if ready == listener.0.as_raw_fd() {
                    accept(listener, peer, input);
                } else if let Some(stream) = input {
                    match stream.read(window) {
                        Ok(count) if count > 0 => {
                            serial.type_in(bytes.get(..count).unwrap_or_default());
                        }
                        _ => {
                            *input = None;
                            *peer.lock().unwrap_or_else(PoisonError::into_inner) = None;
                        }
                    }
                }
                Typed::Nothing
            }
        }
    }

    fn type_in(&mut self, bytes: &[u8], serial: &SerialPort) -> Typed {
        for byte in bytes {
            let escaped = std::mem::replace(&mut self.escaped, false);
            match *byte {
                ESCAPE if !escaped => self.escaped = true,
                QUIT if escaped => return Typed::Quit,
                byte => {
                    serial.type_in(&[byte]);
                }
            }
        }
        Typed::Nothing
    }
}

/// A new peer takes the place of the one before.
fn accept(listener: &Listener, peer: &Mutex<Option<UnixStream>>, input: &mut Option<UnixStream>) {
    let accepted = listener.0.accept().and_then(|(stream, _)| {
        // A peer that does not read must not stop the guest.
        stream.set_nonblocking(true)?;
        Ok((stream.try_clone()?, stream))
    });
    if let Ok((output, stream)) = accepted {
        *peer.lock().unwrap_or_else(PoisonError::into_inner) = Some(output);
        *input = Some(stream);
    }
}

/// A Unix socket whose path goes away with it.
pub struct Listener(pub UnixListener, PathBuf);

impl Listener {
    /// Listens at `path`; a socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn bind(path: &Path, action: &'static str) -> Result<Self> {
        let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
        if is_socket && UnixStream::connect(path).is_err() {
            fs::remove_file(path).map_err(Error::file(action, path))?;
        }
        let listener = UnixListener::bind(path).map_err(Error::file(action, path))?;
        listener.set_nonblocking(true).map_err(Error::file(action, path))?;
        Ok(Self(listener, path.into()))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever removed it first had the same wish.
        let _ = fs::remove_file(&self.1);
    }
}

/// A terminal in raw mode, which is what it was before when this is dropped.
struct RawMode(bool);

impl RawMode {
    fn enter() -> Result<Self> {
        let terminal = io::stdin().is_terminal();
        if terminal {
            let raw = io::stdin().lock().set_raw_mode();
            raw.map_err(|cause| Error::Host { action: "use the terminal", source: cause.into() })?;
        }
        Ok(Self(terminal))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if self.0 {
            // A terminal that is gone needs no mode.
            let _ = io::stdin().lock().set_canon_mode();
        }
    }
}
