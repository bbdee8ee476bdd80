//! TPM2_DictionaryAttackLockReset: Part 3, clause 25.2, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Rc, RhLockout};

command! {
    /// Forgets all failed authorizations.
    #[doc(alias = "TPM2_DictionaryAttackLockReset")]
    Command {
        handles {
            /// Lockout.
            lock_handle: RhLockout,
        }
        parameters {}
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, _: Command) -> Result<Response, Rc> {
    let lockout = &mut tpm.permanent.lockout;
    lockout.failed_tries = 0;
    lockout.lockout_auth_enabled = true;
    tpm.persist();
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, Handle, Rc};

    #[test]
    fn failed_tries_are_forgotten() {
        let mut client = Client::started();
        client.tpm.permanent.lockout.failed_tries = 2;
        let reset = command(Cc::DICTIONARY_ATTACK_LOCK_RESET).handle(Handle::LOCKOUT);
        client.run(&reset.password(b"")).unwrap();
        assert_eq!(client.tpm.permanent.lockout.failed_tries, 0);
    }

    #[test]
    fn a_wrong_value_locks_lockout_until_its_recovery_time_has_passed() {
        let mut client = Client::started();
        let reset = |password: &[u8]| {
            command(Cc::DICTIONARY_ATTACK_LOCK_RESET).handle(Handle::LOCKOUT).password(password)
        };
        assert_eq!(client.rc(&reset(b"wrong")), Rc::AUTH_FAIL.session(1));
        client.sleep_ms(999_000);
        assert_eq!(client.rc(&reset(b"")), Rc::LOCKOUT);
        client.sleep_ms(1_000);
        client.run(&reset(b"")).unwrap();
    }
}
