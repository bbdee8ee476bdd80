//! Policies (Part 3, clause 23).

use super::{nv_public, start_session, start_with};
use crate::cc;
use crate::crypto::{Hash, Sym};
use crate::step::{CONTINUE, Command, ENCRYPT, Id, Piece, Seq, Step, cmd, hmac};
use crate::templates::*;

fn policy_pair(s: &mut Seq) -> [Id; 2] {
    [s.run(start_session(1, Hash::Sha256)), s.run(start_session(3, Hash::Sha256))]
}

pub(super) fn policy_assertions() -> Seq {
    let mut s = Seq::new("policy assertions, in real and trial sessions");
    s.run(cmd(cc::PCR_EXTEND).h(16).pw().u32(1).u16(0xb).b([1; 32]));
    let pcr_digest = Hash::Sha256.of(&[&[0; 32]]);
    for hash in Hash::ALL {
        for kind in [1, 3] {
            let id = s.run(start_session(kind, hash));
            let size = hash.size();
            let commands: Vec<Command> = vec![
                cmd(cc::POLICY_GET_DIGEST).of(id),
                cmd(cc::POLICY_AUTH_VALUE).of(id),
                cmd(cc::POLICY_PASSWORD).of(id),
                cmd(cc::POLICY_PHYSICAL_PRESENCE).of(id),
                cmd(cc::POLICY_COMMAND_CODE).of(id).u32(cc::SIGN),
                cmd(cc::POLICY_COMMAND_CODE).of(id).u32(cc::SIGN),
                cmd(cc::POLICY_COMMAND_CODE).of(id).u32(cc::HASH),
                cmd(cc::POLICY_COMMAND_CODE).of(id).u32(0x999),
                cmd(cc::POLICY_LOCALITY).of(id).u8(3),
                cmd(cc::POLICY_LOCALITY).of(id).u8(4),
                cmd(cc::POLICY_LOCALITY).of(id).u8(1),
                cmd(cc::POLICY_LOCALITY).of(id).u8(0),
                cmd(cc::POLICY_LOCALITY).of(id).u8(0x21),
                cmd(cc::POLICY_CP_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_CP_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_CP_HASH).of(id).b2(vec![2; size]),
                cmd(cc::POLICY_CP_HASH).of(id).b2(vec![2; size - 1]),
                cmd(cc::POLICY_NAME_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_RESTART).of(id),
                cmd(cc::POLICY_NAME_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_NAME_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_NAME_HASH).of(id).b2(vec![1; size + 1]),
                cmd(cc::POLICY_RESTART).of(id),
                cmd(cc::POLICY_TEMPLATE).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_TEMPLATE).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_TEMPLATE).of(id).b2(vec![1; size - 1]),
                cmd(cc::POLICY_CP_HASH).of(id).b2(vec![1; size]),
                cmd(cc::POLICY_RESTART).of(id),
                cmd(cc::POLICY_DUPLICATION_SELECT).of(id).b2(b"object").b2(b"parent").u8(1),
                cmd(cc::POLICY_DUPLICATION_SELECT).of(id).b2(b"object").b2(b"parent").u8(0),
                cmd(cc::POLICY_RESTART).of(id),
                cmd(cc::POLICY_DUPLICATION_SELECT).of(id).b2(b"object").b2(b"parent").u8(0),
                cmd(cc::POLICY_RESTART).of(id),
                cmd(cc::POLICY_DUPLICATION_SELECT).of(id).b2(b"object").b2(b"parent").u8(2),
                cmd(cc::POLICY_NV_WRITTEN).of(id).u8(1),
                cmd(cc::POLICY_NV_WRITTEN).of(id).u8(1),
                cmd(cc::POLICY_NV_WRITTEN).of(id).u8(0),
                cmd(cc::POLICY_NV_WRITTEN).of(id).u8(2),
                cmd(cc::POLICY_PCR).of(id).b2([]).b(pcrs(Hash::Sha256, [1, 0, 1])),
                cmd(cc::POLICY_PCR).of(id).b2([]).b(pcrs(Hash::Sha1, [1, 0, 1])),
                cmd(cc::POLICY_PCR).of(id).b2([]).u32(0),
                cmd(cc::POLICY_PCR).of(id).b2(&pcr_digest).b(pcrs(Hash::Sha256, [1, 0, 0])),
                cmd(cc::POLICY_PCR).of(id).b2(vec![1; size]).b(pcrs(Hash::Sha256, [1, 0, 0])),
                cmd(cc::POLICY_PCR).of(id).b2(b"short").b(pcrs(Hash::Sha256, [1, 0, 0])),
                cmd(cc::PCR_EXTEND).h(16).pw().u32(1).u16(0xb).b([1; 32]),
                cmd(cc::POLICY_PCR).of(id).b2([]).b(pcrs(Hash::Sha256, [1, 0, 1])),
                cmd(cc::POLICY_PCR).of(id).b2([]).u32(1).u16(0x99).u8(3).b([0, 0, 0]),
            ];
            for command in commands {
                s.run(command);
                s.run(cmd(cc::POLICY_GET_DIGEST).of(id));
            }
            flush(&mut s, id);
        }
    }
    s
}

pub(super) fn policy_or() -> Seq {
    let mut s = Seq::new("PolicyOR");
    for kind in [1, 3] {
        let id = s.run(start_session(kind, Hash::Sha256));
        let zero = [0; 32];
        let digests = |list: &[&[u8]]| {
            list.iter().fold(cmd(cc::POLICY_OR).of(id).u32(list.len() as u32), |c, d| c.b2(d))
        };
        for list in [
            &[][..],
            &[&zero[..]],
            &[&zero, &[1; 32]],
            &[&[1; 32], &[2; 32]],
            &[&[1; 20], &zero],
            &[b"", &zero],
            &[&[1; 32][..]; 8],
            &[&zero[..]; 8],
            &[&zero[..]; 9],
        ] {
            s.run(digests(list));
            s.run(cmd(cc::POLICY_GET_DIGEST).of(id));
            s.run(cmd(cc::POLICY_RESTART).of(id));
        }
    }
    s
}

#[allow(clippy::too_many_lines, reason = "a sequence reads from top to bottom")]
pub(super) fn policy_secret() -> Seq {
    let mut s = Seq::new("PolicySecret and its tickets");
    s.run(cmd(cc::HIERARCHY_CHANGE_AUTH).h(OWNER).pw().b2(b"owner"));
    let [id, trial] = policy_pair(&mut s);
    for session in [id, trial] {
        for expiration in [0, 100, -100i32] {
            for (nonce, cp, reference) in [
                (false, &b""[..], &b""[..]),
                (true, b"", b"ref"),
                (true, &[1; 32], b""),
                (false, &[1; 31], b""),
            ] {
                for auth in [&b"owner"[..], b"wrong"] {
                    let mut command = cmd(cc::POLICY_SECRET).h(OWNER).of(session).pwd(auth);
                    command = if nonce { command.out(session, "nonceTPM") } else { command.b2([]) };
                    let made = s.run(command.b2(cp).b2(reference).u32(expiration as u32));
                    s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
                    s.run(cmd(cc::POLICY_RESTART).of(session));
                    s.run(
                        cmd(cc::POLICY_TICKET)
                            .of(session)
                            .out(made, "timeout")
                            .b2(cp)
                            .b2(reference)
                            .b2(OWNER.to_be_bytes())
                            .out(made, "policyTicket"),
                    );
                    s.run(
                        cmd(cc::POLICY_TICKET)
                            .of(session)
                            .out(made, "timeout")
                            .b2(cp)
                            .b2(b"other")
                            .b2(OWNER.to_be_bytes())
                            .out(made, "policyTicket"),
                    );
                    s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
                    s.run(cmd(cc::POLICY_RESTART).of(session));
                }
            }
        }
        s.run(
            cmd(cc::POLICY_SECRET)
                .h(OWNER)
                .of(session)
                .pwd(b"owner")
                .b2([1; 32])
                .b2([])
                .b2([])
                .u32(0),
        );
        s.run(cmd(cc::POLICY_SECRET).h(NULL).of(session).pw().b2([]).b2([]).b2([]).u32(0));
        s.run(cmd(cc::POLICY_SECRET).h(0).of(session).pw().b2([]).b2([]).b2([]).u32(0));
        s.run(
            cmd(cc::POLICY_TICKET)
                .of(session)
                .b2([])
                .b2([])
                .b2([])
                .b2([])
                .b([0x80, 0x23, 0x40, 0, 0, 7, 0, 0]),
        );
        s.run(
            cmd(cc::POLICY_TICKET)
                .of(session)
                .b2([0; 8])
                .b2([])
                .b2([])
                .b2([])
                .b([0x80, 0x24, 0x40, 0, 0, 7, 0, 0]),
        );
        s.run(
            cmd(cc::POLICY_TICKET)
                .of(session)
                .b2([0; 9])
                .b2([])
                .b2([])
                .b2([])
                .b([0x80, 0x23, 0x40, 0, 0, 1, 0, 0]),
        );
    }
    // Used: PolicySecret of the owner authorizes a sealed object.
    let digest = Hash::Sha256.of(&[&Hash::Sha256.of(&[
        &[0; 32],
        &cc::POLICY_SECRET.to_be_bytes(),
        &OWNER.to_be_bytes(),
    ])]);
    let object = s.run(
        cmd(cc::CREATE_PRIMARY)
            .h(NULL)
            .pw()
            .b2(create_sensitive(b"", b"sealed"))
            .b2(keyed_hash(FIXED_TPM | FIXED_PARENT, &digest, NONE, &[]))
            .b2([])
            .u32(0),
    );
    s.run(cmd(cc::UNSEAL).of(object).auth(hmac(id, CONTINUE, b"")));
    s.run(cmd(cc::POLICY_RESTART).of(id));
    s.run(cmd(cc::POLICY_SECRET).h(OWNER).of(id).pwd(b"owner").b2([]).b2([]).b2([]).u32(0));
    s.run(cmd(cc::UNSEAL).of(object).auth(hmac(trial, CONTINUE, b"")));
    s.run(cmd(cc::UNSEAL).of(object).pw());
    s.run(cmd(cc::UNSEAL).of(object).auth(hmac(id, CONTINUE, b"")));
    s.run(cmd(cc::UNSEAL).of(object).auth(hmac(id, 0, b"")));
    s
}

pub(super) fn policy_signed() -> Seq {
    let mut s = Seq::new("PolicySigned");
    // An HMAC key: the client can sign what it likes.
    let secret = b"client's key";
    let key = s.run(hmac_key(USER_WITH_AUTH | SIGN, &scheme(HMAC, Hash::Sha256), b"", secret));
    let [id, trial] = policy_pair(&mut s);
    for session in [id, trial] {
        for expiration in [0i32, 60, -60] {
            for (nonce, cp, reference) in [
                (false, &b""[..], &b""[..]),
                (true, b"", b"ref"),
                (true, &[1; 32], b""),
                (true, &[1; 31], b""),
            ] {
                let mut signed = Vec::new();
                if nonce {
                    signed.push(Piece::Body(session, "nonceTPM"));
                }
                signed.push(Piece::Lit([&expiration.to_be_bytes()[..], cp, reference].concat()));
                let digest = Piece::Hash(Hash::Sha256, signed);
                let mac = Piece::Hmac(Hash::Sha256, secret.to_vec(), vec![digest]);
                let command = cmd(cc::POLICY_SIGNED).of(key).of(session);
                let command = if nonce { command.out(session, "nonceTPM") } else { command.b2([]) };
                let command =
                    command.b2(cp).b2(reference).u32(expiration as u32).u16(HMAC).u16(0xb);
                let made = s.run(command.clone().p(mac));
                s.run(command.b([1; 32]));
                s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
                s.run(cmd(cc::POLICY_RESTART).of(session));
                s.run(
                    cmd(cc::POLICY_TICKET)
                        .of(session)
                        .out(made, "timeout")
                        .b2(cp)
                        .b2(reference)
                        .out(key, "name")
                        .out(made, "policyTicket"),
                );
                s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
                s.run(cmd(cc::POLICY_RESTART).of(session));
            }
        }
    }
    let seal = s.run(p256_key(USER_WITH_AUTH | DECRYPT, NONE, b""));
    s.run(
        cmd(cc::POLICY_SIGNED)
            .of(seal)
            .of(id)
            .b2([])
            .b2([])
            .b2([])
            .u32(0)
            .u16(ECDSA)
            .u16(0xb)
            .b2([1; 32])
            .b2([1; 32]),
    );
    s
}

pub(super) fn policy_authorize() -> Seq {
    let mut s = Seq::new("PolicyAuthorize");
    let key = s.run(p256_key(USER_WITH_AUTH | SIGN, &scheme(ECDSA, Hash::Sha256), b""));
    let [id, trial] = policy_pair(&mut s);
    let approved = [0; 32];
    let digest = Hash::Sha256.of(&[&approved, b"ref"]);
    let signed = s.run(cmd(cc::SIGN).of(key).pw().b2(&digest).b(NONE).u16(0x8024).u32(NULL).b2([]));
    flush(&mut s, key);
    let public = s.run(external(
        &[],
        &p256_public(USER_WITH_AUTH | SIGN, &scheme(ECDSA, Hash::Sha256)),
        OWNER,
    ));
    let verified = s.run(cmd(cc::VERIFY_SIGNATURE).of(public).b2(&digest).out(signed, "signature"));
    for session in [id, trial] {
        for (approved, reference) in [
            (&[0u8; 32][..], &b"ref"[..]),
            (&[1; 32], b"ref"),
            (&[0; 32], b"other"),
            (&[0; 20], b"ref"),
        ] {
            s.run(
                cmd(cc::POLICY_AUTHORIZE)
                    .of(session)
                    .b2(approved)
                    .b2(reference)
                    .out(public, "name")
                    .out(verified, "validation"),
            );
            s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
            s.run(cmd(cc::POLICY_RESTART).of(session));
        }
        s.run(
            cmd(cc::POLICY_AUTHORIZE)
                .of(session)
                .b2([0; 32])
                .b2([])
                .b2([])
                .b([0x80, 0x22, 0x40, 0, 0, 7, 0, 0]),
        );
        s.run(
            cmd(cc::POLICY_AUTHORIZE)
                .of(session)
                .b2([0; 32])
                .b2([])
                .b2([0, 0xb])
                .b([0x80, 0x22, 0x40, 0, 0, 7, 0, 0]),
        );
        s.run(
            cmd(cc::POLICY_AUTHORIZE)
                .of(session)
                .b2([0; 32])
                .b2([])
                .b2([0, 0x99, 1])
                .b([0x80, 0x22, 0x40, 0, 0, 7, 0, 0]),
        );
        s.run(
            cmd(cc::POLICY_AUTHORIZE)
                .of(session)
                .b2([0; 32])
                .b2([])
                .out(public, "name")
                .b([0x80, 0x21, 0x40, 0, 0, 7, 0, 0]),
        );
    }
    s
}

pub(super) fn policy_nv() -> Seq {
    let mut s = Seq::new("PolicyNV and PolicyAuthorizeNV");
    let index = 0x0180_0040;
    s.run(cmd(cc::NV_DEFINE_SPACE).h(OWNER).pw().b2(b"").b2(nv_public(index, 0x0206_0006, 34)));
    let [id, trial] = policy_pair(&mut s);
    for written in [false, true] {
        if written {
            s.run(
                cmd(cc::NV_WRITE)
                    .h(OWNER)
                    .h(index)
                    .pw()
                    .b2([&[0, 0xb][..], &[0; 32]].concat())
                    .u16(0),
            );
        }
        for session in [id, trial] {
            for operation in 0..14 {
                for operand in [&[0u8, 0xb][..], &[0, 0xc], &[0, 0xa], &[0xff, 0], &[0x80, 0]] {
                    s.run(
                        cmd(cc::POLICY_NV)
                            .h(OWNER)
                            .h(index)
                            .of(session)
                            .pw()
                            .b2(operand)
                            .u16(0)
                            .u16(operation),
                    );
                }
                s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
            }
            for (operand, offset) in [(35, 0), (34, 0), (1, 34), (0, 0), (0, 35), (8, 30)] {
                s.run(
                    cmd(cc::POLICY_NV)
                        .h(OWNER)
                        .h(index)
                        .of(session)
                        .pw()
                        .b2(vec![0; operand])
                        .u16(offset)
                        .u16(0),
                );
            }
            s.run(cmd(cc::POLICY_NV).h(PLATFORM).h(index).of(session).pw().b2([0]).u16(0).u16(0));
            s.run(cmd(cc::POLICY_RESTART).of(session));
            s.run(cmd(cc::POLICY_AUTHORIZE_NV).h(OWNER).h(index).of(session).pw());
            s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
            s.run(cmd(cc::POLICY_AUTHORIZE_NV).h(OWNER).h(index).of(session).pw());
            s.run(cmd(cc::POLICY_RESTART).of(session));
        }
    }
    s.run(cmd(cc::NV_WRITE).h(OWNER).h(index).pw().b2([0, 0xc]).u16(0));
    s.run(cmd(cc::POLICY_AUTHORIZE_NV).h(OWNER).h(index).of(id).pw());
    s
}

pub(super) fn policy_auth() -> Seq {
    let mut s = Seq::new("PolicyAuthValue and PolicyPassword");
    let digest = Hash::Sha256.of(&[&[0; 32], &cc::POLICY_AUTH_VALUE.to_be_bytes()]);
    let object = s.run(
        cmd(cc::CREATE_PRIMARY)
            .h(OWNER)
            .pw()
            .b2(create_sensitive(b"auth", b"sealed"))
            .b2(keyed_hash(FIXED_TPM | FIXED_PARENT, &digest, NONE, &[]))
            .b2([])
            .u32(0),
    );
    for hash in [Hash::Sha256, Hash::Sha1] {
        let id = s.run(start_with(1, hash, Sym::Aes(128)));
        s.run(cmd(cc::UNSEAL).of(object).auth(hmac(id, CONTINUE, b"auth")));
        for code in [cc::POLICY_AUTH_VALUE, cc::POLICY_PASSWORD] {
            for auth in [
                hmac(id, CONTINUE, b"auth"),
                hmac(id, CONTINUE | ENCRYPT, b"auth"),
                hmac(id, CONTINUE, b"wrong"),
                hmac(id, CONTINUE, b"").plain(b"auth"),
                hmac(id, CONTINUE, b"").plain(b"bad"),
                hmac(id, CONTINUE, b""),
            ] {
                s.run(cmd(cc::POLICY_RESTART).of(id));
                s.run(cmd(code).of(id));
                s.run(cmd(cc::UNSEAL).of(object).auth(auth));
            }
        }
        flush(&mut s, id);
    }
    s
}

pub(super) fn policy_bindings() -> Seq {
    let mut s = Seq::new("policies bound to commands, parameters, names, templates, localities");
    // Authorizes the owner hierarchy by a policy made of one assertion.
    let assertion =
        |code: u32, argument: &[u8]| Hash::Sha256.of(&[&[0; 32], &code.to_be_bytes(), argument]);
    let name_hash = Hash::Sha256.of(&[&OWNER.to_be_bytes()]);
    let cp_hash =
        Hash::Sha256.of(&[&cc::CLOCK_RATE_ADJUST.to_be_bytes(), &OWNER.to_be_bytes(), &[1]]);
    let template = storage_parent();
    let template_hash = Hash::Sha256.of(&[&template]);
    for (code, argument, sized) in [
        (cc::POLICY_COMMAND_CODE, cc::CLOCK_RATE_ADJUST.to_be_bytes().to_vec(), false),
        (cc::POLICY_COMMAND_CODE, cc::CREATE_PRIMARY.to_be_bytes().to_vec(), false),
        (cc::POLICY_CP_HASH, cp_hash, true),
        (cc::POLICY_NAME_HASH, name_hash, true),
        (cc::POLICY_TEMPLATE, template_hash, true),
        (cc::POLICY_LOCALITY, vec![2], false),
        (cc::POLICY_LOCALITY, vec![1], false),
        (cc::POLICY_NV_WRITTEN, vec![1], false),
        (cc::POLICY_PHYSICAL_PRESENCE, vec![], false),
    ] {
        s.run(cmd(cc::SET_PRIMARY_POLICY).h(OWNER).pw().b2(assertion(code, &argument)).u16(0xb));
        for value in [1, 0] {
            for locality in [0, 1] {
                s.step(Step::Locality(locality));
                let id = s.run(start_session(1, Hash::Sha256));
                let command = cmd(code).of(id);
                s.run(if sized { command.b2(&argument) } else { command.b(&argument) });
                s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(value));
                s.run(cmd(cc::POLICY_RESTART).of(id));
                let command = cmd(code).of(id);
                s.run(if sized { command.b2(&argument) } else { command.b(&argument) });
                let made = s.run(
                    cmd(cc::CREATE_PRIMARY)
                        .h(OWNER)
                        .auth(hmac(id, CONTINUE, b""))
                        .b2(create_sensitive(b"", b""))
                        .b2(&template)
                        .b2([])
                        .u32(0),
                );
                flush(&mut s, made);
                flush(&mut s, id);
            }
        }
    }
    s.step(Step::Locality(0));
    // PCR policies end when PCRs change.
    let id = s.run(start_session(1, Hash::Sha256));
    s.run(cmd(cc::POLICY_PCR).of(id).b2([]).b(pcrs(Hash::Sha256, [1, 0, 0])));
    s.run(cmd(cc::PCR_EXTEND).h(3).pw().u32(1).u16(0xb).b([1; 32]));
    s.run(cmd(cc::CLOCK_RATE_ADJUST).h(OWNER).auth(hmac(id, CONTINUE, b"")).u8(0));
    s
}

pub(super) fn policy_time() -> Seq {
    let mut s = Seq::new("PolicyCounterTimer");
    s.run(cmd(cc::CLOCK_SET).h(OWNER).pw().u64(1 << 40));
    let [id, trial] = policy_pair(&mut s);
    for session in [id, trial] {
        // The clock's upper half, the reset count, the restart count, safe; out of range.
        for (offset, operand) in [
            (8, &[0u8, 0, 1][..]),
            (8, &[0, 0, 2]),
            (16, &[0, 0, 0, 1]),
            (20, &[0, 0, 0, 0]),
            (24, &[1]),
            (24, &[1, 1]),
            (25, &[]),
            (26, &[]),
            (0, &[0xff; 26]),
            (0xffff, &[1]),
        ] {
            for operation in 0..13 {
                s.run(
                    cmd(cc::POLICY_COUNTER_TIMER)
                        .of(session)
                        .b2(operand)
                        .u16(offset)
                        .u16(operation),
                );
            }
            s.run(cmd(cc::POLICY_GET_DIGEST).of(session));
        }
    }
    s
}
