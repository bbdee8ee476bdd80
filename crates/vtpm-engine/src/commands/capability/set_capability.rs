//! TPM2_SetCapability: Part 3, clause 30.4, revision 1.83.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Buffer, Cap, Rc, Reader, RhHierarchyAuth};

command! {
    /// Sets a capability. The library specification leaves it to the platform which ones can be
    /// set; the PC Client profile has none, so every capability is refused by name.
    #[doc(alias = "TPM2_SetCapability")]
    Command {
        handles {
            /// Who asks.
            auth_handle: RhHierarchyAuth,
        }
        parameters {
            /// `TPM2B_SET_CAPABILITY_DATA`: the capability, and data that depends on it.
            set_capability_data: Buffer<1024>,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let mut reader = Reader::new(&command.set_capability_data, &tpm.profile.algorithms);
    reader.get::<Cap>().map_err(|rc| rc.parameter(1))?;
    Err(Rc::VALUE.parameter(1))
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Buffer, Cap, Cc, Handle, Marshal, Rc};

    #[test]
    fn no_capability_can_be_set() {
        let mut client = Client::started();
        for capability in 0..=10 {
            let data = Buffer::<1024>::from_slice(&Cap(capability).to_bytes());
            let set = command(Cc::SET_CAPABILITY).handle(Handle::PLATFORM).password(b"");
            assert_eq!(client.rc(&set.put(data)), Rc::VALUE.parameter(1));
        }
    }

    #[test]
    fn a_capability_must_be_named() {
        let mut client = Client::started();
        let set = command(Cc::SET_CAPABILITY).handle(Handle::PLATFORM).password(b"");
        assert_eq!(client.rc(&set.put(0u16)), Rc::INSUFFICIENT.parameter(1));
    }
}
