//! TPM2_DictionaryAttackParameters: Part 3, clause 25.3, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhLockout};

command! {
    /// Sets the parameters of dictionary-attack protection.
    #[doc(alias = "TPM2_DictionaryAttackParameters")]
    Command {
        handles {
            /// Lockout.
            lock_handle: RhLockout,
        }
        parameters {
            /// Failed authorizations until lockout.
            new_max_tries: u32,
            /// Seconds until one is forgotten.
            new_recovery_time: u32,
            /// Seconds until lockoutAuth can be used again after it failed.
            lockout_recovery: u32,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let lockout = &mut tpm.permanent.lockout;
    lockout.max_tries = command.new_max_tries;
    lockout.recovery_time = command.new_recovery_time;
    lockout.lockout_recovery = command.lockout_recovery;
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle};

    #[test]
    fn failed_tries_are_forgotten_when_protection_is_switched_off() {
        let mut client = Client::started();
        client.tpm.permanent.lockout.failed_tries = 2;
        let switch = command(Cc::DICTIONARY_ATTACK_PARAMETERS).handle(Handle::LOCKOUT);
        client.run(&switch.password(b"").put(10u32).put(0u32).put(0u32)).unwrap();
        client.run(&command(Cc::READ_CLOCK)).unwrap();
        assert_eq!(client.tpm.permanent.lockout.failed_tries, 0);
    }
}
