//! TPM2_PCR_SetAuthValue: Part 3, clause 22.7, revision 1.59.

use crate::commands::command;
use crate::pcr::attributes;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, DhPcr, HandleInterface, Rc};

command! {
    /// Sets the authorization value of a group of PCR. The PC Client profile has no such group.
    #[doc(alias = "TPM2_PCR_SetAuthValue")]
    Command {
        handles {
            /// A PCR of the group.
            pcr_handle: DhPcr,
        }
        parameters {
            /// The value.
            auth: Auth,
        }
    }
    Response {
        parameters {}
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let group = usize::from(attributes(command.pcr_handle.handle().0).auth_group);
    let group = group.checked_sub(1).ok_or(Rc::VALUE)?;
    let mut auth = command.auth;
    auth.trim_trailing_zeros();
    *tpm.clear.pcr_auths.get_mut(group).ok_or(Rc::VALUE)? = auth;
    Ok(Response {})
}

#[cfg(test)]
mod tests {
    use crate::test_util::{Client, command};
    use crate::wire::{Auth, Cc, Handle, Rc};

    #[test]
    fn no_pcr_belongs_to_a_group_with_a_value() {
        let mut client = Client::started();
        for pcr in 0..24 {
            let set = command(Cc::PCR_SET_AUTH_VALUE).handle(Handle(pcr)).password(b"");
            assert_eq!(client.rc(&set.put(Auth::empty())), Rc::VALUE);
        }
    }
}
