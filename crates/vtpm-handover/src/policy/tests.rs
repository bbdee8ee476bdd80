use super::*;

const EK: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn parse(text: &str) -> Result<TrustPolicy, PolicyError> {
    TrustPolicy::parse(text, |file| {
        if file == "there.pem" {
            Ok(b"pem".to_vec())
        } else {
            Err(std::io::ErrorKind::NotFound.into())
        }
    })
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn a_pinned_host_has_its_own_roles_and_registers_and_others_have_the_common_ones() {
    let one = "aa".repeat(32);
    let other = "bb".repeat(32);
    let policy = parse(&format!(
        "version = 1\nroles = ['send']\n[[root]]\nname = 'r'\nfile = 'there.pem'\n\
         [[host]]\nname = 'h'\nek = '{EK}'\nroles = ['receive']\n\
         [host.pcrs.sha256]\n4 = ['{one}']\n[pcrs.sha256]\n7 = ['{one}', '{other}']\n"
    ))
    .unwrap();
    assert_eq!(policy.roots[0].pem, b"pem");
    let pinned = policy.of(&EK.parse().unwrap());
    assert!(pinned.pinned && pinned.roles.allow(Side::Destination));
    assert!(!pinned.roles.allow(Side::Source));
    let value = |index, byte| PcrValue { bank: pcr::SHA256, index, digest: vec![byte; 32] };
    assert_eq!(pinned.pcrs.check(&[value(4, 0xaa)]), Ok(()));
    let missing = Refusal::MissingPcr { bank: pcr::SHA256, index: 4 };
    assert_eq!(pinned.pcrs.check(&[value(7, 0xaa)]), Err(missing));

    let stranger = policy.of(&HostId([1; 32]));
    assert!(!stranger.pinned && stranger.roles.allow(Side::Source));
    assert_eq!(stranger.pcrs.check(&[value(7, 0xbb), value(4, 0)]), Ok(()));
    let wrong = stranger.pcrs.check(&[value(7, 0xcc)]).unwrap_err();
    assert!(wrong.to_string().contains("register 7 of bank 0x000b is cccc"), "{wrong}");
    let twice = stranger.pcrs.check(&[value(7, 0xaa), value(7, 0xcc)]);
    assert!(twice.is_err(), "a value shown twice is no proof of either");

    let wanted = PcrSelection::none().with(pcr::SHA256, 4).with(pcr::SHA256, 7);
    assert_eq!(policy.wanted(), wanted);
}

#[test]
fn every_mistake_in_a_policy_is_named() {
    let host = format!("[[host]]\nname = 'h'\nek = '{EK}'\n");
    for (text, said) in [
        ("", "version"),
        ("version = 2\n", "upgrade this host"),
        ("version = 1\n", "trusts nobody"),
        ("version = 1\nminimum-protocol = 9\n", "protocol version 9"),
        ("version = 1\nsurprise = 1\n", "surprise"),
        (&format!("version = 1\n{host}{host}"), "\"h\" twice"),
        (&format!("version = 1\nroles = ['steal']\n{host}"), "\"steal\" is no role"),
        ("version = 1\n[[host]]\nname = 'h'\nek = '12'\n", "\"h\" is not 64 digits"),
        ("version = 1\n[[root]]\nname = 'r'\n", "needs either"),
        ("version = 1\n[[root]]\nname = 'r'\nfile = 'gone.pem'\n", "gone.pem cannot be read"),
        (&format!("version = 1\n{host}[pcrs.sha3]\n"), "\"sha3\" is no bank"),
        (&format!("version = 1\n{host}[pcrs.sha1]\n24 = ['']\n"), "0 to 23"),
        (&format!("version = 1\n{host}[pcrs.sha1]\n1 = []\n"), "allows no value"),
        (&format!("version = 1\n{host}[pcrs.sha1]\n1 = ['00']\n"), "wrong length"),
    ] {
        let message = refused(text);
        assert!(message.contains(said), "{text:?}: {message}");
    }
    assert!(refused(&" ".repeat(POLICY_MAX + 1)).contains("longer than"));
}
