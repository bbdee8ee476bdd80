//! TPM2_EC_Ephemeral: Part 3, clause 19.3, revision 1.59.

use crate::commands::command;
use crate::crypto::ecc::{Curve, mul_base};
use crate::session::authorize::Authorized;
use crate::tpm::Tpm;
use crate::wire::{EccPoint, Rc, Sized2b};

command! {
    /// Makes an ephemeral key for `TPM2_ZGen_2Phase`.
    #[doc(alias = "TPM2_EC_Ephemeral")]
    Command {
        handles {}
        parameters {
            /// The curve.
            curve_id: Curve,
        }
    }
    Response {
        parameters {
            /// The public point.
            q: Sized2b<EccPoint>,
            /// By this number the caller refers to the key.
            counter: u16,
        }
    }
}

/// Runs the command.
pub(crate) fn run(tpm: &mut Tpm, _: &Authorized, command: Command) -> Result<Response, Rc> {
    let secret = tpm.next_commit_secret(command.curve_id, &[]);
    // The secret is from 1 to n - 1, so there is always a point.
    let point = mul_base(command.curve_id, &secret).map_err(|_| Rc::NO_RESULT)?;
    Ok(Response { q: Sized2b(point.into()), counter: tpm.begin_commit() })
}

#[cfg(test)]
mod tests {
    use crate::crypto::ecc::{Curve, Point, mul_base};
    use crate::profile::Algorithms;
    use crate::test_util::{Client, command};
    use crate::wire::{Cc, EccPoint, Rc, Reader, Sized2b};

    fn ephemeral(client: &mut Client, curve: Curve) -> (Point, u16) {
        let response = client.run(&command(Cc::EC_EPHEMERAL).put(curve)).unwrap();
        let algorithms = Algorithms::default();
        let mut reader = Reader::new(&response.parameters, &algorithms);
        let Sized2b(point) = reader.get::<Sized2b<EccPoint>>().unwrap();
        (Point::from(&point), reader.get().unwrap())
    }

    #[test]
    fn the_point_is_that_of_the_secret_which_the_counter_names() {
        let mut client = Client::started();
        for (number, curve) in (0..).zip(Curve::ALL) {
            let (point, counter) = ephemeral(&mut client, curve);
            assert_eq!(counter, number);
            let secret = client.tpm.commit_secret(curve, counter).unwrap();
            assert_eq!(mul_base(curve, &secret), Ok(point));
        }
    }

    #[test]
    fn two_keys_differ() {
        let mut client = Client::started();
        assert_ne!(ephemeral(&mut client, Curve::P256), ephemeral(&mut client, Curve::P256));
    }

    #[test]
    fn a_curve_that_does_not_exist_is_named() {
        let mut client = Client::started();
        let command = command(Cc::EC_EPHEMERAL).put(0x7fffu16);
        assert_eq!(client.rc(&command), Rc::CURVE.parameter(1));
    }
}
