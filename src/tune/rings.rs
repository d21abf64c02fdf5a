//! Buffers and interrupt pauses of the card itself: advice only, since what they gain depends on the traffic.

use super::{Tuner, devices::Host};

pub(super) fn tuner(host: &Host) -> Tuner {
    let mut tuner =
        Tuner::new("nic-rings", "buffers and interrupt pauses of the card (advice only)");
    if host.cards.is_empty() {
        return tuner.unsupported("no network card");
    }
    for card in &host.cards {
        let name = &card.name;
        tuner.advice.push(format!(
            "ethtool -S {name} | grep -iE 'drop|miss|overrun': when these grow, ethtool -G {name} rx MAX, with the \
             maximum that ethtool -g {name} shows (more memory, a little more delay under load)"
        ));
        tuner.advice.push(format!(
            "ethtool -c {name}: with adaptive-rx on, the card trades delay for fewer interrupts by itself; \
             ethtool -C {name} adaptive-rx on"
        ));
    }
    tuner
}
