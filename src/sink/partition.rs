//! Which partition a key belongs to: the Java client's default partitioner, so that a topic which the reference proxy
//! has written to keeps every connection where its replayer expects it.

/// `Utils.toPositive(Utils.murmur2(key)) % partitions` of the Java client; the hash is Austin Appleby's `MurmurHash2`
/// with Kafka's seed.
pub(super) fn of_key(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7FFF_FFFF) as usize % partitions
}

const SEED: u32 = 0x9747_B28C;
const MULTIPLIER: u32 = 0x5BD1_E995;

fn murmur2(data: &[u8]) -> u32 {
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let mixed = word.wrapping_mul(MULTIPLIER);
        let mixed = (mixed ^ mixed >> 24).wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_client() {
        // From the unit tests of org.apache.kafka.common.utils.Utils.
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
        // 1,357,151,166 is what is left of the hash of "foobar" without its sign bit.
        assert_eq!(of_key(b"foobar", 7), 1_357_151_166 % 7);
    }
}
