//! The TPM behind the registers: in this process, or a daemon that speaks swtpm's protocol.

pub mod commands;
mod instance;
mod swtpm;

use zeroize::Zeroizing;

pub use self::{instance::InProcess, swtpm::Daemon};
use crate::error::Result;

/// Called once with the response to a command, from any thread, possibly before `submit` returns.
pub type Reply = Box<dyn FnOnce(Vec<u8>) + Send>;

/// A TPM that commands can be sent to without waiting.
pub trait Backend: Send + Sync {
    /// Runs a command from a locality, after all that were submitted before. Does not wait.
    fn submit(&self, locality: u8, command: Vec<u8>, reply: Reply);

    /// Asks the running command to end early. Does not wait.
    fn cancel(&self);

    /// `_TPM_Init`: the machine is switched on or reset. Waits.
    ///
    /// # Errors
    /// What the TPM says.
    fn init(&self) -> Result<()>;

    /// The machine is switched off; a restored state may follow. Waits.
    ///
    /// # Errors
    /// What the TPM says.
    fn power_off(&self) -> Result<()>;

    /// `_TPM_Hash_Start`.
    fn hash_start(&self);

    /// `_TPM_Hash_Data`.
    fn hash_data(&self, data: Vec<u8>);

    /// `_TPM_Hash_End`.
    fn hash_end(&self);

    /// Whether a dynamic launch has taken place.
    fn established(&self) -> bool;

    /// Forgets that.
    ///
    /// # Errors
    /// What the TPM says.
    fn reset_established(&self, locality: u8) -> Result<()>;

    /// All of the state in the middle of what the guest does, in the clear. No command may run.
    ///
    /// # Errors
    /// What the TPM says.
    fn save(&self) -> Result<Zeroizing<Vec<u8>>>;

    /// Goes on from a state that [`Backend::save`] gave, switched on. The TPM must be switched off.
    ///
    /// # Errors
    /// What the TPM says, with nothing changed.
    fn load(&self, state: Zeroizing<Vec<u8>>) -> Result<()>;

    /// The instance behind it, if that is in this process: what can be handed over.
    fn instance(&self) -> Option<&vtpm_host::Handle> {
        None
    }

    /// Ends it; everything durable is on disk when this returns.
    fn shutdown(&self);
}

/// Runs a command and waits for its response.
pub fn execute(backend: &dyn Backend, locality: u8, command: Vec<u8>) -> Vec<u8> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    backend.submit(
        locality,
        command,
        Box::new(move |response| {
            // The receiver waits until this is called or dropped.
            let _ = sender.send(response);
        }),
    );
    receiver.recv().unwrap_or_default()
}
