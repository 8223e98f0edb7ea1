//! The noisy meaning against the formulas and against the trace.

use crate::circuits::{GADGET, input, one_plan, output, parameters, vector_layout};
use cipherloom_ir::scheme::noise::NoiseModel;
use cipherloom_ir::scheme::{Level, Scale};
use cipherloom_ir::{
    Circuit, CircuitBuilder, Draw, Encryption, Magnitudes, MapNorms, Noisy, Plain, Step, Trace, ValueId,
};
use proptest::prelude::*;

/// Root mean square of noisy − exact over outputs and `draws` draws.
fn deviation(circuit: &Circuit, x: &[f64], encryption: Encryption, draws: u64) -> f64 {
    let noisy = Noisy::new(circuit, encryption).unwrap();
    let exact = noisy.exact().run(circuit, &[x]).unwrap();
    let (mut squares, mut count) = (0.0, 0.0);
    for draw in 0..draws {
        let found = noisy.run(circuit, &[x], Draw(5).numbered(draw)).unwrap();
        for (a, b) in found.iter().flatten().zip(exact.iter().flatten()) {
            squares += (a - b) * (a - b);
            count += 1.0;
        }
    }
    (squares / count).sqrt()
}

/// A circuit on one vector, all slots 0.5, as its last value makes it.
fn circuit_of(build: impl Fn(&mut CircuitBuilder, ValueId) -> ValueId) -> Circuit {
    let mut b = CircuitBuilder::new("n", parameters(8)).unwrap();
    let layout = b.layout(vector_layout(128));
    let x = b.input(input(layout)).unwrap()[0];
    let y = build(&mut b, x);
    b.output(output(layout, vec![y])).unwrap();
    b.finish()
}

#[test]
fn errors_have_the_deviations_of_the_formulas() {
    let noise = NoiseModel::new(&parameters(8));
    let at = |level| Scale::canonical(Level(level)).value(&parameters(8));
    let (fresh, public) = (noise.fresh_secret_key() / at(4), noise.fresh_public_key() / at(4));
    let switch = noise.key_switch(GADGET, Level(4));
    let close = |what: &str, circuit: Circuit, encryption, wanted: f64| {
        let found = deviation(&circuit, &[0.5; 128], encryption, 100);
        assert!((found / wanted - 1.0).abs() < 0.04, "{what}: {found:e}, by formula {wanted:e}");
    };
    let same = |_: &mut CircuitBuilder, x| x;
    close("secret key", circuit_of(same), Encryption::SecretKey, fresh);
    close("public key", circuit_of(same), Encryption::PublicKey, public);
    let turned = circuit_of(|b, x| b.rotate(x, Step(3), GADGET).unwrap());
    close("rotation", turned, Encryption::SecretKey, fresh.hypot(switch.total() / at(4)));
    let doubled = circuit_of(|b, x| b.add(x, x).unwrap());
    close("one error twice", doubled, Encryption::SecretKey, 2.0 * fresh);
    let square = circuit_of(|b, x| {
        let square = b.mul(x, x).unwrap();
        b.relinearize_rescale(square, GADGET).unwrap()
    });
    let rounding = noise.division(GADGET.special_limbs + 1) / at(3);
    let wanted = fresh.hypot(switch.inner / (at(4) * at(4))).hypot(rounding);
    close("square", square, Encryption::SecretKey, wanted);
    let scaled = circuit_of(|b, x| {
        let scaled = b.mul_scalar(x, 0.25).unwrap();
        b.rescale(scaled).unwrap()
    });
    close("scalar", scaled, Encryption::SecretKey, (0.25 * fresh).hypot(noise.rescale() / at(3)));
    let shifted = circuit_of(|b, x| {
        let low = b.adjust(x, Level(2)).unwrap();
        b.add_plain(low, Plain::Constant(0.125)).unwrap()
    });
    // The factor of an adjust is rounded the same way in every slot: at 40 bits that is nothing beside the rest.
    close("adjust", shifted, Encryption::SecretKey, fresh.hypot(noise.rescale() / at(2)));
}

#[test]
fn equal_draws_give_equal_bits() {
    let circuit = circuit_of(|b, x| b.rotate(x, Step(3), GADGET).unwrap());
    let noisy = Noisy::new(&circuit, Encryption::SecretKey).unwrap();
    let run = |draw| noisy.run(&circuit, &[[0.5; 128]], draw).unwrap();
    assert_eq!(run(Draw(1)), run(Draw(1)));
    assert_ne!(run(Draw(1)), run(Draw(2)));
    assert_ne!(run(Draw(1)), run(Draw(1).numbered(0)));
    let public = Noisy::new(&circuit, Encryption::PublicKey).unwrap();
    let public = public.run(&circuit, &[[0.5; 128]], Draw(1)).unwrap();
    assert_ne!(run(Draw(1)), public);
    let again = noisy.encrypted(&circuit, Encryption::PublicKey).unwrap();
    assert_eq!(again.run(&circuit, &[[0.5; 128]], Draw(1)).unwrap(), public);
}

/// One sample that leaves the finite numbers is not hidden by the others.
#[test]
fn values_that_diverge_have_no_precision() {
    let circuit = circuit_of(|b, x| {
        let square = b.mul(x, x).unwrap();
        b.relinearize_rescale(square, GADGET).unwrap()
    });
    let norms = MapNorms::of(&circuit).unwrap();
    let noisy = Noisy::new(&circuit, Encryption::SecretKey).unwrap();
    let bits = |samples: &[f64]| {
        let samples: Vec<_> = samples.iter().map(|x| vec![vec![*x; 128]]).collect();
        let sizes = Magnitudes::measure(&circuit, noisy.exact(), &samples, 1.0).unwrap();
        Trace::new(&circuit, &norms).measured(&sizes).precision_bits(&circuit).unwrap()
    };
    assert!(bits(&[0.5]).is_finite());
    assert_eq!(bits(&[0.5, f64::MAX, 0.25]), f64::NEG_INFINITY);
    assert_eq!(bits(&[f64::NAN]), f64::NEG_INFINITY);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    /// The trace knows one figure for all slots, and of inputs their size alone.
    #[test]
    fn plans_err_about_as_the_trace_says(seed in any::<u64>()) {
        let Some((circuit, _, mut random, shape)) = one_plan(seed) else { return Ok(()) };
        let x: Vec<f64> = (0..shape.iter().product()).map(|_| random.real()).collect();
        let found = deviation(&circuit, &x, Encryption::SecretKey, 20);
        let noisy = Noisy::new(&circuit, Encryption::SecretKey).unwrap();
        let sizes = Magnitudes::measure(&circuit, noisy.exact(), &[vec![x]], 1.0).unwrap();
        let norms = MapNorms::of(&circuit).unwrap();
        let traced = Trace::new(&circuit, &norms).measured(&sizes).values(&circuit).unwrap();
        let wanted = traced.last().unwrap().slots.noise;
        prop_assert!(found < 1.5 * wanted && found > wanted / 10.0, "seed {}: {:e}, traced {:e}", seed, found, wanted);
    }
}
