//! A smoke run of the fuzz targets: the committed corpus, and mutations of it from fixed seeds.
//!
//! libFuzzer does the real work (`tests/fuzz/README.md`); what it finds is added to the corpus, so that this finds it
//! for ever.

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::{fs, path::Path};

/// Mutations of every file of a corpus.
const MUTATIONS: usize = 40;

#[test]
fn every_target_keeps_its_promises_over_the_corpus_and_mutations_of_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (name, target) in targets::ALL {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name))
            .unwrap_or_else(|error| panic!("corpus of {name}: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        assert!(!files.is_empty(), "the corpus of {name} is empty");
        let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        for (file, input) in files.iter().zip(&inputs) {
            run(name, target, input, &file.display().to_string());
            let mut random = Random(input.len() as u64 ^ 0x9E37_79B9_7F4A_7C15);
            for _ in 0..MUTATIONS {
                let mutant = mutated(input, &inputs, &mut random);
                run(name, target, &mutant, &format!("a mutation of {}", file.display()));
            }
        }
    }
}

/// Says which bytes broke the promise, in a form that can go into the corpus.
fn run(name: &str, target: targets::Target, input: &[u8], origin: &str) {
    let broken = std::panic::catch_unwind(|| target(input)).is_err();
    assert!(!broken, "{name} breaks over {origin}: {:?}", input.escape_ascii().to_string());
}

fn mutated(input: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(5) {
            0 => bytes.insert(at, random.next() as u8),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 => bytes.truncate(at),
            3 if at < bytes.len() => drop(bytes.remove(at)),
            _ => {
                let other = &others[random.below(others.len())];
                let from = random.below(other.len() + 1);
                bytes.splice(at..at, other[from..].iter().take(64).copied());
            }
        }
    }
    bytes
}

/// xorshift64*: enough to choose places.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}
