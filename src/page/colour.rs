//! Levels as colours: from gold, where no level is left, over green and blue to indigo, where all are.
//!
//! Relies on nothing. Promises: darker means more levels, so that the order is seen without telling hues apart; text on
//! a colour has at least 4.5 times its luminance, or a 4.5th of it.

use cipherloom_ir::scheme::Level;

/// Red, green and blue, from level 0 to the top.
const RAMP: [[u32; 3]; 5] = [[240, 205, 90], [122, 190, 100], [42, 157, 143], [62, 112, 180], [78, 62, 148]];

/// A colour, red first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour([u32; 3]);

impl Colour {
    /// The colour of a level in a chain of so many.
    pub(super) fn of(level: Level, top: Level) -> Colour {
        let (steps, whole) = (RAMP.len() as u32 - 1, top.0.max(1));
        let at = level.0.min(whole) * steps;
        let (k, rest) = ((at / whole).min(steps - 1), at - (at / whole).min(steps - 1) * whole);
        let mix = |c: usize| (RAMP[k as usize][c] * (whole - rest) + RAMP[k as usize + 1][c] * rest) / whole;
        Colour([mix(0), mix(1), mix(2)])
    }

    /// As CSS writes it.
    pub(super) fn css(self) -> String {
        let [r, g, b] = self.0;
        format!("#{r:02x}{g:02x}{b:02x}")
    }

    /// Black or white, whichever is easier to read on it.
    pub(super) fn ink(self) -> &'static str {
        if self.luminance() > 0.18 { "#000" } else { "#fff" }
    }

    /// Relative luminance, with squares in the place of sRGB's curve: near enough, and the same everywhere.
    fn luminance(self) -> f64 {
        let part = |c: u32| (f64::from(c) / 255.0) * (f64::from(c) / 255.0);
        let [r, g, b] = self.0.map(part);
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_levels_are_darker_and_text_can_be_read() {
        let colours: Vec<Colour> = (0..=56).map(|l| Colour::of(Level(l), Level(56))).collect();
        assert_eq!(colours[0].css(), "#f0cd5a");
        assert_eq!(colours[56].css(), "#4e3e94");
        assert!(colours.windows(2).all(|w| w[0].luminance() > w[1].luminance()));
        for colour in colours {
            let ink = if colour.ink() == "#fff" { 1.0 } else { 0.0 };
            let (light, dark) = (colour.luminance().max(ink), colour.luminance().min(ink));
            assert!((light + 0.05) / (dark + 0.05) >= 4.5, "{colour:?}");
        }
    }

    #[test]
    fn a_chain_of_one_prime_has_a_colour() {
        assert_eq!(Colour::of(Level(0), Level(0)).css(), "#f0cd5a");
        assert_eq!(Colour::of(Level(9), Level(4)), Colour::of(Level(4), Level(4)));
    }
}
