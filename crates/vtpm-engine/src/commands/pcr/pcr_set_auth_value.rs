//! TPM2_PCR_SetAuthValue: Part 3, clause 22.7, revision 1.59.

use crate::commands::command;
use crate::pcr::attributes;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, DhPcr, HandleInterface, Rc};

command! {
    /// Sets the authorization value of the group of PCR 20 to 22.
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
    fn the_value_of_pcr_20_to_22_is_needed_afterwards() {
        let mut client = Client::started();
        client.locality = 2;
        let set = |pcr, password: &[u8]| {
            let set = command(Cc::PCR_SET_AUTH_VALUE).handle(Handle(pcr)).password(password);
            set.put(Auth::from_slice(b"new\0"))
        };
        client.run(&set(20, b"")).unwrap();
        let extend = |pcr, password: &[u8]| {
            command(Cc::PCR_EXTEND).handle(Handle(pcr)).password(password).put(0u32)
        };
        assert_eq!(client.rc(&extend(21, b"")), Rc::BAD_AUTH.session(1));
        client.run(&extend(21, b"new")).unwrap();
        client.run(&set(22, b"new")).unwrap();
    }

    #[test]
    fn other_pcr_have_no_value() {
        let mut client = Client::started();
        for pcr in (0..20).chain([23]) {
            let set = command(Cc::PCR_SET_AUTH_VALUE).handle(Handle(pcr)).password(b"");
            assert_eq!(client.rc(&set.put(Auth::empty())), Rc::VALUE);
        }
    }
}
