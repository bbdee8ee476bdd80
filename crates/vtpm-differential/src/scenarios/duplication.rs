//! Duplication and credentials (Part 3, clauses 12 and 13).

use super::objects::ORDINARY;
use super::start_session;
use crate::cc;
use crate::crypto::Hash;
use crate::keys;
use crate::step::{Piece, Seq, cmd, hmac};
use crate::templates::*;

fn policy_cc(code: u32) -> Vec<u8> {
    Hash::Sha256.of(&[&[0; 32], &cc::POLICY_COMMAND_CODE.to_be_bytes(), &code.to_be_bytes()])
}

fn dup_session(s: &mut Seq) -> crate::step::Auth {
    let session = s.run(start_session(1, Hash::Sha256));
    s.run(cmd(cc::POLICY_COMMAND_CODE).of(session).u32(cc::DUPLICATE));
    hmac(session, 0, b"")
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
pub(super) fn duplication() -> Seq {
    let mut s = Seq::new("duplicate, import, rewrap");
    let parent = s.run(primary(OWNER, b"", &storage_parent()));
    let policy = policy_cc(cc::DUPLICATE);
    let public = keyed_hash(USER_WITH_AUTH, &policy, NONE, &[]);
    let id = s.run(
        cmd(cc::CREATE)
            .of(parent)
            .pw()
            .b2(create_sensitive(b"", b"secret"))
            .b2(&public)
            .b2([])
            .u32(0),
    );
    let object = load(&mut s, parent, id);
    let auth = dup_session(&mut s);
    s.run(cmd(cc::DUPLICATE).of(object).h(NULL).pw().b2([]).b(NONE));
    let plain = s.run(cmd(cc::DUPLICATE).of(object).h(NULL).auth(auth).b2([]).b(NONE));
    // What one TPM sends out, another takes in: without protection the blob has no secret of a TPM.
    let import = |from: usize, cross: bool| {
        let piece = |name| if cross { Piece::Cross(from, name) } else { Piece::Out(from, name) };
        cmd(cc::IMPORT)
            .of(parent)
            .pw()
            .b2([])
            .p(if cross { Piece::Cross(id, "outPublic") } else { Piece::Out(id, "outPublic") })
            .p(piece("duplicate"))
            .p(piece("outSymSeed"))
            .b(NONE)
    };
    for cross in [false, true] {
        let imported = s.run(import(plain, cross));
        let public =
            if cross { Piece::Cross(id, "outPublic") } else { Piece::Out(id, "outPublic") };
        let loaded = s.run(cmd(cc::LOAD).of(parent).pw().out(imported, "outPrivate").p(public));
        s.run(cmd(cc::UNSEAL).of(loaded).pw());
        flush(&mut s, loaded);
    }
    flush(&mut s, object);
    // To a new parent that all know.
    let known = external(
        &[],
        &ecc_with(
            USER_WITH_AUTH | RESTRICTED | DECRYPT,
            &[],
            AES128,
            NONE,
            3,
            (keys::P256_X, keys::P256_Y),
        ),
        NULL,
    );
    let object = load(&mut s, parent, id);
    let target = s.run(known);
    let auth = dup_session(&mut s);
    let sent = s.run(cmd(cc::DUPLICATE).of(object).of(target).auth(auth).b2([]).b(NONE));
    flush(&mut s, target);
    let auth = dup_session(&mut s);
    let home = s.run(cmd(cc::DUPLICATE).of(object).of(parent).auth(auth).b2([]).b(NONE));
    s.run(import(home, false));
    s.run(import(sent, false));
    flush(&mut s, object);
    let target = s.run(primary(OWNER, b"", &ecc(STORAGE & !NO_DA, AES128, NONE)));
    s.run(
        cmd(cc::REWRAP)
            .of(parent)
            .of(target)
            .pw()
            .out(home, "duplicate")
            .sized(vec![Piece::Name(vec![Piece::Out(parent, "handle")])])
            .out(home, "outSymSeed"),
    );
    let moved = s.run(
        cmd(cc::REWRAP)
            .of(parent)
            .of(target)
            .pw()
            .out(home, "duplicate")
            .out(object, "name")
            .out(home, "outSymSeed"),
    );
    s.run(
        cmd(cc::IMPORT)
            .of(target)
            .pw()
            .b2([])
            .out(id, "outPublic")
            .out(moved, "outDuplicate")
            .out(moved, "outSymSeed")
            .b(NONE),
    );
    s.run(
        cmd(cc::IMPORT)
            .of(parent)
            .pw()
            .b2([])
            .out(id, "outPublic")
            .out(moved, "outDuplicate")
            .out(moved, "outSymSeed")
            .b(NONE),
    );
    s.run(
        cmd(cc::REWRAP)
            .of(parent)
            .h(NULL)
            .pw()
            .out(home, "duplicate")
            .out(object, "name")
            .out(home, "outSymSeed"),
    );
    s.run(
        cmd(cc::REWRAP).h(NULL).of(parent).pw().out(plain, "duplicate").out(object, "name").b2([]),
    );
    s.run(cmd(cc::REWRAP).h(NULL).h(NULL).pw().out(plain, "duplicate").out(object, "name").b2([]));
    // Fixed objects from outside.
    flush(&mut s, target);
    for (public, sensitive) in [
        (p256_public(USER_WITH_AUTH | SIGN, NONE), sensitive(0x23, b"a", &[], keys::P256_D)),
        (
            rsa(USER_WITH_AUTH | SIGN, NONE, NONE, 2048, keys::RSA_2048_N),
            sensitive(1, b"a", &[], keys::RSA_2048_P),
        ),
        (
            rsa(USER_WITH_AUTH | SIGN | FIXED_TPM, NONE, NONE, 2048, keys::RSA_2048_N),
            sensitive(1, b"a", &[], keys::RSA_2048_P),
        ),
        (
            rsa(USER_WITH_AUTH | SIGN | ENCRYPTED_DUPLICATION, NONE, NONE, 2048, keys::RSA_2048_N),
            sensitive(1, b"a", &[], keys::RSA_2048_P),
        ),
        (p256_public(USER_WITH_AUTH | SIGN, NONE), sensitive(0x23, b"a", &[], &[1; 32])),
    ] {
        let imported = s.run(
            cmd(cc::IMPORT).of(parent).pw().b2([]).b2(&public).b2(b2(&sensitive)).b2([]).b(NONE),
        );
        let loaded = s.run(cmd(cc::LOAD).of(parent).pw().out(imported, "outPrivate").b2(&public));
        s.run(
            cmd(cc::SIGN)
                .of(loaded)
                .pwd(b"a")
                .b2([4; 32])
                .b(scheme(if public[1] == 1 { RSASSA } else { ECDSA }, Hash::Sha256))
                .u16(0x8024)
                .u32(NULL)
                .b2([]),
        );
        flush(&mut s, loaded);
    }
    s
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
pub(super) fn inner_wrapped() -> Seq {
    let mut s = Seq::new("duplication with inner wrapper");
    let parent = s.run(primary(OWNER, b"", &storage_parent()));
    let policy = policy_cc(cc::DUPLICATE);
    for extra in [0, ENCRYPTED_DUPLICATION] {
        let public = keyed_hash(USER_WITH_AUTH | extra, &policy, NONE, &[]);
        let id = s.run(
            cmd(cc::CREATE)
                .of(parent)
                .pw()
                .b2(create_sensitive(b"", b"secret"))
                .b2(&public)
                .b2([])
                .u32(0),
        );
        let object = load(&mut s, parent, id);
        for (key, symmetric) in [
            (&[][..], AES128),
            (&[5; 16], AES128),
            (&[5; 15], AES128),
            (&[5; 16], NONE),
            (&[5; 16], &[0, 6, 0, 128, 0, 0x42]),
        ] {
            let auth = dup_session(&mut s);
            let out =
                s.run(cmd(cc::DUPLICATE).of(object).of(parent).auth(auth).b2(key).b(symmetric));
            let with_key = |command: crate::step::Command| {
                if key.is_empty() { command.out(out, "encryptionKeyOut") } else { command.b2(key) }
            };
            s.run(
                with_key(cmd(cc::IMPORT).of(parent).pw())
                    .out(id, "outPublic")
                    .out(out, "duplicate")
                    .out(out, "outSymSeed")
                    .b(symmetric),
            );
            s.run(
                cmd(cc::IMPORT)
                    .of(parent)
                    .pw()
                    .b2([6; 16])
                    .out(id, "outPublic")
                    .out(out, "duplicate")
                    .out(out, "outSymSeed")
                    .b(symmetric),
            );
            s.run(
                cmd(cc::IMPORT)
                    .of(parent)
                    .pw()
                    .b2([])
                    .out(id, "outPublic")
                    .out(out, "duplicate")
                    .out(out, "outSymSeed")
                    .b(NONE),
            );
            let auth = dup_session(&mut s);
            let out = s.run(cmd(cc::DUPLICATE).of(object).h(NULL).auth(auth).b2(key).b(symmetric));
            s.run(
                cmd(cc::IMPORT)
                    .of(parent)
                    .pw()
                    .b2(key)
                    .out(id, "outPublic")
                    .out(out, "duplicate")
                    .b2([])
                    .b(symmetric),
            );
        }
        flush(&mut s, object);
    }
    s
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
pub(super) fn credentials() -> Seq {
    let mut s = Seq::new("credentials");
    let ek = s.run(primary(ENDORSEMENT, b"", &storage_parent()));
    let ak = s.run(primary(
        OWNER,
        b"ak",
        &ecc(ORDINARY | SIGN | RESTRICTED, NONE, &scheme(ECDSA, Hash::Sha256)),
    ));
    let made = s.run(cmd(cc::MAKE_CREDENTIAL).of(ek).b2(b"credential").out(ak, "name"));
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(ak)
            .of(ek)
            .pwd(b"ak")
            .pw()
            .out(made, "credentialBlob")
            .out(made, "secret"),
    );
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(ak)
            .of(ek)
            .pwd(b"no")
            .pw()
            .out(made, "credentialBlob")
            .out(made, "secret"),
    );
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(ek)
            .of(ek)
            .pw()
            .pw()
            .out(made, "credentialBlob")
            .out(made, "secret"),
    );
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(ak)
            .of(ak)
            .pwd(b"ak")
            .pwd(b"ak")
            .out(made, "credentialBlob")
            .out(made, "secret"),
    );
    s.run(cmd(cc::MAKE_CREDENTIAL).of(ek).b2([1; 33]).out(ak, "name"));
    s.run(cmd(cc::MAKE_CREDENTIAL).of(ek).b2([1; 32]).out(ak, "name"));
    s.run(cmd(cc::MAKE_CREDENTIAL).of(ek).b2([]).out(ak, "name"));
    s.run(cmd(cc::MAKE_CREDENTIAL).of(ak).b2(b"x").out(ak, "name"));
    s.run(cmd(cc::MAKE_CREDENTIAL).of(ek).b2(b"x").b2([]));
    flush(&mut s, ek);
    // One TPM makes what another activates: the key is known to all, as is the object's name.
    let known_attributes = USER_WITH_AUTH | RESTRICTED | DECRYPT;
    let public = ecc_with(known_attributes, &[], AES128, NONE, 3, (keys::P256_X, keys::P256_Y));
    let known = s.run(external(&sensitive(0x23, &[], &[4; 32], keys::P256_D), &public, NULL));
    let cross = s.run(cmd(cc::MAKE_CREDENTIAL).of(known).b2(b"across").out(known, "name"));
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(known)
            .of(known)
            .pw()
            .pw()
            .p(Piece::Cross(cross, "credentialBlob"))
            .p(Piece::Cross(cross, "secret")),
    );
    flush(&mut s, known);
    let public = rsa(known_attributes, AES128, NONE, 2048, keys::RSA_2048_N);
    let known = s.run(external(&sensitive(1, &[], &[4; 32], keys::RSA_2048_P), &public, NULL));
    let cross = s.run(cmd(cc::MAKE_CREDENTIAL).of(known).b2(b"across").out(known, "name"));
    s.run(
        cmd(cc::ACTIVATE_CREDENTIAL)
            .of(known)
            .of(known)
            .pw()
            .pw()
            .p(Piece::Cross(cross, "credentialBlob"))
            .p(Piece::Cross(cross, "secret")),
    );
    flush(&mut s, known);
    let known = s.run(external(&[], &public, NULL));
    s.run(cmd(cc::MAKE_CREDENTIAL).of(known).b2(b"public part only").out(ak, "name"));
    s
}
