//! TPM2_NV_ReadPublic2: Part 3, clause 31.18, revision 1.83.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Name, NvPublic2, Rc, RhNvIndex, Sized2b};

command! {
    /// Reads public area and name of an NV index of any handle type.
    #[doc(alias = "TPM2_NV_ReadPublic2")]
    Command {
        handles {
            /// The index.
            nv_index: RhNvIndex,
        }
        parameters {}
    }
    Response {
        parameters {
            /// The public area.
            nv_public: Sized2b<NvPublic2>,
            /// The name.
            nv_name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let public = tpm.nv_index(command.nv_index)?.public.clone();
    Ok(Response { nv_name: public.name(), nv_public: Sized2b(NvPublic2::Index(public)) })
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, public, with_index};
    use crate::test_util::command;
    use crate::wire::{Cc, Handle, Marshal, Rc};

    #[test]
    fn the_public_area_is_preceded_by_its_handle_type() {
        let mut client = with_index(ORDINARY, 4);
        let reply = client.run(&command(Cc::NV_READ_PUBLIC_2).handle(Handle(INDEX))).unwrap();
        let expected = public(INDEX, ORDINARY, 4);
        let mut bytes = vec![0, 15, 0x01];
        bytes.extend(expected.to_bytes());
        bytes.extend(expected.name().to_bytes());
        assert_eq!(reply.parameters, bytes);
    }

    #[test]
    fn an_index_that_is_not_there_is_named() {
        let mut client = with_index(ORDINARY, 4);
        let read = command(Cc::NV_READ_PUBLIC_2).handle(Handle(INDEX + 1));
        assert_eq!(client.rc(&read), Rc::HANDLE.handle(1));
    }
}
