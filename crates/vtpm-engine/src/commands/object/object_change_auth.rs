//! TPM2_ObjectChangeAuth: Part 3, clause 12.8, revision 1.59.

use crate::commands::command;
use crate::object::{qualified_name, template};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{Auth, DhObject, Private, Rc, Sensitive};

command! {
    /// Makes a new protected sensitive area of an object with another authorization value; the
    /// loaded object, and the old area, keep theirs.
    #[doc(alias = "TPM2_ObjectChangeAuth")]
    Command {
        handles {
            /// The object.
            object_handle: DhObject,
            /// Its parent.
            parent_handle: DhObject,
        }
        parameters {
            /// The new value.
            new_auth: Auth,
        }
    }
    Response {
        parameters {
            /// The protected sensitive area.
            out_private: Private,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let object = tpm.object(command.object_handle).map_err(|_| Rc::TYPE.handle(1))?;
    let mut auth = command.new_auth;
    template::adjust_auth(&mut auth, object.public.name_alg).map_err(|rc| rc.parameter(1))?;
    let parent = tpm.object(command.parent_handle).map_err(|_| Rc::TYPE.handle(2))?;
    let below = qualified_name(&parent.qualified_name, &object.public, &object.name);
    // A derivation parent stores nothing.
    if object.qualified_name != below || !parent.is_storage_parent() {
        return Err(Rc::TYPE.handle(2));
    }
    let sensitive = object.sensitive.as_ref().ok_or(Rc::AUTH_UNAVAILABLE)?;
    let changed = Sensitive { auth, ..sensitive.clone() };
    let out_private =
        tpm.sensitive_to_private(&changed, &object.name, object.public.name_alg, &parent)?;
    Ok(Response { out_private })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{Stored, ecc_storage, hmac_key, next, sealed};
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{Auth, Cc, Handle, Private, Rc};

    fn change(object: Handle, parent: Handle, old: &[u8], new: &[u8]) -> CommandBuilder {
        let command = command(Cc::OBJECT_CHANGE_AUTH).handle(object).handle(parent);
        command.password(old).put(Auth::from_slice(new))
    }

    #[test]
    fn the_new_area_has_the_new_value_and_the_loaded_object_the_old_one() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        let stored = client.create(parent, b"old", b"data", &sealed()).unwrap();
        let object = client.load_stored(parent, &stored).unwrap();
        let mut rest = client.run(&change(object, parent, b"old", b"new")).unwrap().parameters;
        let private = next::<Private>(&client, &mut rest);
        let changed = client.load_stored(parent, &Stored { private, ..stored }).unwrap();
        assert_eq!(client.tpm.auth_value(changed).as_bytes(), b"new");
        assert_eq!(client.tpm.auth_value(object).as_bytes(), b"old");
        assert_eq!(client.tpm.name(changed), client.tpm.name(object));
    }

    #[test]
    fn the_second_handle_must_be_the_parent() {
        let mut client = Client::started();
        let parent = client.primary(Handle::OWNER, &ecc_storage());
        let object = client.child(parent, &hmac_key(), b"");
        let other = client.primary(Handle::PLATFORM, &ecc_storage());
        for wrong in [object, other] {
            let rc = client.rc(&change(object, wrong, b"", b"new"));
            assert_eq!(rc, Rc::TYPE.handle(2));
        }
        assert_eq!(client.rc(&change(parent, parent, b"", b"new")), Rc::TYPE.handle(2));
    }

    #[test]
    fn a_value_longer_than_the_name_algorithm_is_refused_before_the_parent() {
        let mut client = Client::started();
        let object = client.primary(Handle::OWNER, &hmac_key());
        let rc = client.rc(&change(object, object, b"", &[1; 33]));
        assert_eq!(rc, Rc::SIZE.parameter(1));
    }
}
