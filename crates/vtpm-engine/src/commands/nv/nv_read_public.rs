//! TPM2_NV_ReadPublic: Part 3, clause 31.6, revision 1.59.

use crate::commands::command;
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Name, NvPublic, Rc, RhNvIndex, Sized2b};

command! {
    /// Reads public area and name of an NV index.
    #[doc(alias = "TPM2_NV_ReadPublic")]
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
            nv_public: Sized2b<NvPublic>,
            /// The name.
            nv_name: Name,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let public = tpm.nv_index(command.nv_index)?.public.clone();
    Ok(Response { nv_name: public.name(), nv_public: Sized2b(public) })
}

#[cfg(test)]
mod tests {
    use crate::commands::nv::test_util::{INDEX, ORDINARY, public, with_index, write};
    use crate::test_util::command;
    use crate::wire::{Cc, Handle, Marshal, NvAttributes, Rc, Sized2b};

    #[test]
    fn public_area_and_name_are_those_of_the_present_attributes() {
        let mut client = with_index(ORDINARY, 4);
        for attributes in [ORDINARY, ORDINARY.with(NvAttributes::WRITTEN)] {
            let read = command(Cc::NV_READ_PUBLIC).handle(Handle(INDEX));
            let reply = client.run(&read).unwrap();
            let expected = public(INDEX, attributes, 4);
            let name = expected.name();
            assert_eq!(name.len(), 34);
            assert_eq!(reply.parameters, [Sized2b(expected).to_bytes(), name.to_bytes()].concat());
            client.run(&write(INDEX, b"data", 0)).unwrap();
        }
    }

    #[test]
    fn an_index_of_a_disabled_hierarchy_is_hidden() {
        let mut client = with_index(ORDINARY, 4);
        client.tpm.clear.storage_enabled = false;
        let read = command(Cc::NV_READ_PUBLIC).handle(Handle(INDEX));
        assert_eq!(client.rc(&read), Rc::HANDLE.handle(1));
    }
}
