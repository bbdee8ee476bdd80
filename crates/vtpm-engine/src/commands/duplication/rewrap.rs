//! TPM2_Rewrap: Part 3, clause 13.2, revision 1.59.

use super::is_new_parent;
use crate::commands::command;
use crate::object::protect::{Outer, rewrap_duplicate};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{DhObject, EncryptedSecret, Name, Private, Rc};

command! {
    /// Exchanges the outer wrapper of a duplication, so that it goes to another parent.
    #[doc(alias = "TPM2_Rewrap")]
    Command {
        handles {
            /// The parent that the outer wrapper is for; `TPM_RH_NULL` when there is none.
            old_parent: Option<DhObject>,
            /// The new parent; `TPM_RH_NULL` for no outer wrapper.
            new_parent: Option<DhObject>,
        }
        parameters {
            /// The sensitive area in its wrappers.
            in_duplicate: Private,
            /// Name of the object.
            name: Name,
            /// Seed of the outer wrapper, encrypted to the old parent.
            in_sym_seed: EncryptedSecret,
        }
    }
    Response {
        parameters {
            /// The sensitive area in its new wrappers.
            out_duplicate: Private,
            /// Seed of the outer wrapper, encrypted to the new parent.
            out_sym_seed: EncryptedSecret,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    if command.in_sym_seed.is_empty() != command.old_parent.is_none() {
        return Err(Rc::HANDLE.handle(1));
    }
    let contents = match command.old_parent {
        Some(handle) => {
            let parent = tpm.object(handle).map_err(|_| Rc::TYPE.handle(1))?;
            if !is_new_parent(&parent) {
                return Err(Rc::TYPE.handle(1));
            }
            let seed = tpm
                .decrypt_secret(&parent, b"DUPLICATE", &command.in_sym_seed)
                .map_err(|_| Rc::VALUE.parameter(3))?;
            let outer = Outer::with_seed(&parent, &seed).map_err(|rc| rc.handle(1))?;
            tpm.unwrap_duplicate(&command.in_duplicate, &command.name, &outer)
                .map_err(|rc| rc.parameter(1))?
        }
        None => command.in_duplicate,
    };
    let Some(handle) = command.new_parent else {
        return Ok(Response { out_duplicate: contents, out_sym_seed: EncryptedSecret::empty() });
    };
    let parent = tpm.object(handle).map_err(|_| Rc::TYPE.handle(2))?;
    if !is_new_parent(&parent) {
        return Err(Rc::TYPE.handle(2));
    }
    let (seed, out_sym_seed) = tpm.encrypt_secret(&parent, b"DUPLICATE")?;
    let outer = Outer::with_seed(&parent, &seed).map_err(|rc| rc.handle(2))?;
    let out_duplicate =
        rewrap_duplicate(&contents, &command.name, &outer).map_err(|rc| rc.parameter(1))?;
    Ok(Response { out_duplicate, out_sym_seed })
}

#[cfg(test)]
mod tests {
    use crate::object::samples::{
        FIXED, POLICY, Stored, ecc_signing, ecc_storage, hmac_key, next, rsa_storage,
    };
    use crate::test_util::{Client, CommandBuilder, command};
    use crate::wire::{
        Aes, Alg, Cc, Data, Digest, EncryptedSecret, Handle, Name, Private, Rc, Sized2b,
    };

    fn rewrap(
        old: Handle,
        new: Handle,
        (duplicate, seed): &(Private, EncryptedSecret),
        name: &Name,
    ) -> CommandBuilder {
        let command = command(Cc::REWRAP).handle(old).handle(new).password(b"");
        command.put(duplicate).put(name).put(seed)
    }

    fn answer(client: &mut Client, command: &CommandBuilder) -> (Private, EncryptedSecret) {
        let mut rest = client.run(command).unwrap().parameters;
        (next(client, &mut rest), next(client, &mut rest))
    }

    /// A key that leaves for `new_parent`.
    fn send(client: &mut Client, new_parent: Handle) -> (Handle, (Private, EncryptedSecret)) {
        let mut template = hmac_key();
        template.attributes = template.attributes.without(FIXED);
        template.auth_policy = Digest::from_slice(&POLICY);
        let object = client.primary(Handle::OWNER, &template);
        let session = client.policy_for(Cc::DUPLICATE);
        let duplicate = command(Cc::DUPLICATE)
            .handle(object)
            .handle(new_parent)
            .session(session, &[], 0, &[])
            .put(Data::empty())
            .put(None::<Aes>);
        let mut rest = client.run(&duplicate).unwrap().parameters;
        next::<Data>(client, &mut rest);
        (object, (next(client, &mut rest), next(client, &mut rest)))
    }

    #[test]
    fn a_duplication_can_go_to_another_parent_and_lose_or_gain_its_wrapper() {
        let mut client = Client::started();
        let old = client.primary(Handle::PLATFORM, &ecc_storage());
        let new = client.primary(Handle::PLATFORM, &rsa_storage(1024));
        let (object, sent) = send(&mut client, old);
        let name = client.tpm.name(object);
        let public = client.tpm.object(object).unwrap().public.clone();
        client.flush(object);
        let moved = answer(&mut client, &rewrap(old, new, &sent, &name));
        let bare = answer(&mut client, &rewrap(new, Handle::NULL, &moved, &name));
        assert!(bare.1.is_empty());
        let again = answer(&mut client, &rewrap(Handle::NULL, new, &bare, &name));
        let import = command(Cc::IMPORT)
            .handle(new)
            .password(b"")
            .put(Data::empty())
            .put(Sized2b(public.clone()))
            .put(&again.0)
            .put(&again.1)
            .put(Alg::NULL);
        let mut rest = client.run(&import).unwrap().parameters;
        let private = next::<Private>(&client, &mut rest);
        let arrived = client.load_stored(new, &Stored { private, public }).unwrap();
        assert_eq!(client.tpm.name(arrived), name);
    }

    #[test]
    fn a_seed_and_an_old_parent_come_together() {
        let mut client = Client::started();
        let old = client.primary(Handle::PLATFORM, &ecc_storage());
        let (object, sent) = send(&mut client, old);
        let name = client.tpm.name(object);
        let without = (sent.0.clone(), EncryptedSecret::empty());
        let rc = client.rc(&rewrap(old, Handle::NULL, &without, &name));
        assert_eq!(rc, Rc::HANDLE.handle(1));
        let rc = client.rc(&rewrap(Handle::NULL, old, &sent, &name));
        assert_eq!(rc, Rc::HANDLE.handle(1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut client = Client::started();
        let old = client.primary(Handle::PLATFORM, &ecc_storage());
        let (object, sent) = send(&mut client, old);
        let name = client.tpm.name(object);
        client.flush(object);
        let signing = client.primary(Handle::OWNER, &ecc_signing());
        let refused = |client: &mut Client, old, new, sent: &_, name: &Name, rc: Rc| {
            assert_eq!(client.rc(&rewrap(old, new, sent, name)), rc);
        };
        refused(&mut client, signing, Handle::NULL, &sent, &name, Rc::TYPE.handle(1));
        refused(&mut client, old, signing, &sent, &name, Rc::TYPE.handle(2));
        let other = Name::empty();
        refused(&mut client, old, Handle::NULL, &sent, &other, Rc::INTEGRITY.parameter(1));
        let seed = (sent.0.clone(), EncryptedSecret::from_slice(&[0, 1, 1]));
        refused(&mut client, old, Handle::NULL, &seed, &name, Rc::VALUE.parameter(3));
        let long = (Private::from_slice(&[1; 1536]), EncryptedSecret::empty());
        refused(&mut client, Handle::NULL, old, &long, &name, Rc::VALUE.parameter(1));
    }
}
