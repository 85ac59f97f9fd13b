//! Blocked bloom filters over the ids in the store: they spare the look-up of an id that is not there.
//!
//! Five slabs, each for a stretch of buckets, each dropped whole when its last bucket has expired. Their
//! memory is fixed when they are made. More ids than planned cost false positives, never correctness.
//!
//! A stretch is a quarter of the TTL and an hour: live buckets reach from the watermark to the TTL ahead
//! of it and a little further (out-of-orderness), and that must touch five stretches, not six. What lies
//! further ahead all the same (a partition that holds the watermark back) goes into the nearest slab.
//!
//! An id has one bit in each of the eight words of one 64-byte block a slab. The five blocks of an id are
//! neighbours, so a probe touches one page. The loop over a batch has no branch that waits for a load,
//! so the CPU overlaps the misses of different ids; measured to be as good as explicit prefetches, which
//! would need unsafe code.

/// Slabs: a quarter of the TTL each, and one for what is written while the first expires.
pub const SLABS: usize = 5;

/// Words of 64 bits in a block: one cache line.
const BLOCK_WORDS: usize = 8;

/// Words in a row: the blocks that an id has in all slabs.
const ROW_WORDS: usize = SLABS * BLOCK_WORDS;

/// Bits of memory to plan for an id. A day's ids fill three and a half of the five slabs, so an id has 17
/// bits in its own slab, and 0.3 % of the probes for an unknown id say "maybe" (measured in the tests).
pub const BITS_PER_ID: u64 = 24;

/// What one slab stands for.
#[derive(Debug, Default)]
struct Slab {
    /// Which stretch of buckets: bucket / stretch.
    stretch: u32,
    /// The buckets that have ids in this slab, ascending. Empty: the slab is free.
    buckets: Vec<u32>,
    /// The last of the buckets whose ids are still to be added: until then every probe answers "maybe".
    rebuilding: Option<u32>,
}

/// The filters. See the module's documentation.
#[derive(Debug)]
pub struct Filters {
    /// `rows * ROW_WORDS` words and what it takes to start at a cache line.
    words: Vec<u64>,
    /// First word in use: words from here on are aligned to cache lines.
    base: usize,
    rows: u64,
    stretch_hours: u32,
    slabs: [Slab; SLABS],
}

/// The eight bits of an id, one a word. From the low 48 bits of the high half: the top bits choose the
/// owner, so on one worker they hardly differ.
#[inline]
fn bits(hash: u128) -> [u64; BLOCK_WORDS] {
    let source = (hash >> 64) as u64;
    std::array::from_fn(|word| 1 << ((source >> (6 * word)) & 63))
}

impl Filters {
    /// Filters of `memory_bytes` altogether (at least one row) for ids that live for `ttl_hours`.
    pub fn new(memory_bytes: u64, ttl_hours: u32) -> Filters {
        let rows = (memory_bytes / (ROW_WORDS as u64 * 8)).clamp(1, u64::from(u32::MAX));
        // Zeroed by the allocator: pages that no id touches take no memory.
        let words = vec![0; rows as usize * ROW_WORDS + BLOCK_WORDS];
        let address = words.as_ptr() as usize / 8;
        let base = address.next_multiple_of(BLOCK_WORDS) - address;
        Filters {
            words,
            base,
            rows,
            stretch_hours: (ttl_hours.div_ceil(4)).saturating_add(1),
            slabs: Default::default(),
        }
    }

    /// Bytes that the filters take when all of it is in use.
    pub fn memory_bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    #[inline]
    fn row(&self, hash: u128) -> usize {
        let place = ((hash as u64 >> 32) * self.rows) >> 32;
        self.base + place as usize * ROW_WORDS
    }

    /// The slab for a bucket, made or widened when there is none.
    fn slab_for(&mut self, bucket: u32) -> usize {
        let stretch = bucket / self.stretch_hours;
        let exact = self
            .slabs
            .iter()
            .position(|s| !s.buckets.is_empty() && s.stretch == stretch);
        let free = || self.slabs.iter().position(|s| s.buckets.is_empty());
        let slab = exact.or_else(free).unwrap_or_else(|| {
            let distance = |s: &Slab| s.stretch.abs_diff(stretch);
            let nearest = self
                .slabs
                .iter()
                .enumerate()
                .min_by_key(|(_, s)| distance(s));
            nearest.map_or(0, |(place, _)| place)
        });
        let chosen = &mut self.slabs[slab];
        if chosen.buckets.is_empty() {
            chosen.stretch = stretch;
        }
        if let Err(place) = chosen.buckets.binary_search(&bucket) {
            chosen.buckets.insert(place, bucket);
        }
        slab
    }

    /// Adds ids of one bucket.
    pub fn insert(&mut self, bucket: u32, hashes: &[u128]) {
        if hashes.is_empty() {
            return;
        }
        let offset = self.slab_for(bucket) * BLOCK_WORDS;
        for &hash in hashes {
            let start = self.row(hash) + offset;
            if let Some(block) = self.words.get_mut(start..start + BLOCK_WORDS) {
                for (word, bit) in block.iter_mut().zip(bits(hash)) {
                    *word |= bit;
                }
            }
        }
    }

    /// For each hash, the slabs that may hold it: bit `i` is slab `i`. 0: it is surely in no bucket.
    pub fn probe(&self, hashes: &[u128], slabs: &mut Vec<u8>) {
        slabs.clear();
        let rebuilding = self.mask(|s| s.rebuilding.is_some());
        let in_use = self.mask(|s| !s.buckets.is_empty());
        if in_use == 0 {
            slabs.resize(hashes.len(), 0);
            return;
        }
        slabs.extend(hashes.iter().map(|&hash| {
            let start = self.row(hash);
            let bits = bits(hash);
            let mut maybe = 0;
            if let Some(row) = self.words.get(start..start + ROW_WORDS) {
                for (slab, block) in row.chunks_exact(BLOCK_WORDS).enumerate() {
                    let missing = block
                        .iter()
                        .zip(&bits)
                        .fold(0, |missing, (word, bit)| missing | (!word & bit));
                    maybe |= u8::from(missing == 0) << slab;
                }
            }
            (maybe | rebuilding) & in_use
        }));
    }

    fn mask(&self, which: impl Fn(&Slab) -> bool) -> u8 {
        self.slabs
            .iter()
            .enumerate()
            .fold(0, |mask, (place, slab)| {
                mask | (u8::from(which(slab)) << place)
            })
    }

    /// The buckets that each slab stands for, ascending.
    pub fn buckets(&self) -> [Vec<u32>; SLABS] {
        std::array::from_fn(|slab| self.slabs[slab].buckets.clone())
    }

    /// Says that the store holds buckets whose ids are not in the filters yet. Until
    /// [`Filters::rebuilt_below`] has passed them, every probe answers "maybe" for their slabs.
    pub fn rebuild(&mut self, buckets: impl IntoIterator<Item = u32>) {
        for bucket in buckets {
            let slab = self.slab_for(bucket);
            let slab = &mut self.slabs[slab];
            slab.rebuilding = slab.rebuilding.max(Some(bucket));
        }
    }

    /// Says that every id that the store holds in a bucket below this one has been added; `None`: all have.
    pub fn rebuilt_below(&mut self, bucket: Option<u32>) {
        for slab in &mut self.slabs {
            slab.rebuilding = slab
                .rebuilding
                .filter(|&last| bucket.is_some_and(|bucket| last >= bucket));
        }
    }

    /// Forgets every bucket below `bucket`. A slab is emptied when none of its buckets is left.
    pub fn expire_below(&mut self, bucket: u32) {
        for place in 0..SLABS {
            let slab = &mut self.slabs[place];
            if slab.buckets.first().is_none_or(|&first| first >= bucket) {
                continue;
            }
            slab.buckets.retain(|&b| b >= bucket);
            if slab.buckets.is_empty() {
                slab.rebuilding = None;
                for row in self.words[self.base..].chunks_exact_mut(ROW_WORDS) {
                    row[place * BLOCK_WORDS..(place + 1) * BLOCK_WORDS].fill(0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::testing::random_hash;
    use proptest::prelude::*;

    fn probe(filters: &Filters, hash: u128) -> u8 {
        let mut slabs = Vec::new();
        filters.probe(&[hash], &mut slabs);
        slabs[0]
    }

    /// Whether the filters lead a look-up of `hash` to `bucket`.
    fn leads_to(filters: &Filters, hash: u128, bucket: u32) -> bool {
        let slabs = probe(filters, hash);
        let buckets = filters.buckets();
        (0..SLABS).any(|slab| slabs & (1 << slab) != 0 && buckets[slab].contains(&bucket))
    }

    proptest! {
        #[test]
        fn an_id_in_a_live_bucket_is_never_denied(
            steps in proptest::collection::vec((0u32..90, 0u32..60, 1u64..1000), 1..60),
            memory in 1u64..100_000,
            ttl_hours in 1u32..48,
        ) {
            let mut filters = Filters::new(memory, ttl_hours);
            let mut ids: Vec<(u32, u128)> = Vec::new();
            let mut live_from = 1;
            for (ahead, expire, seed) in steps {
                let bucket = live_from + ahead;
                let hash = random_hash(seed);
                filters.insert(bucket, &[hash]);
                ids.push((bucket, hash));
                if expire > 50 {
                    live_from += expire - 50;
                    filters.expire_below(live_from);
                    ids.retain(|&(bucket, _)| bucket >= live_from);
                }
                for &(bucket, hash) in &ids {
                    prop_assert!(leads_to(&filters, hash, bucket), "bucket {} denied", bucket);
                }
                for buckets in filters.buckets() {
                    prop_assert!(buckets.iter().all(|&b| b >= live_from), "an expired bucket is still asked");
                }
            }
        }
    }

    #[test]
    fn false_positives_are_rare_with_the_planned_memory() {
        let ids = 200_000u64;
        let mut filters = Filters::new(ids * BITS_PER_ID / 8, 24);
        for bucket in 0..24u32 {
            let hashes: Vec<u128> = (0..ids / 24)
                .map(|i| random_hash(u64::from(bucket) << 32 | i))
                .collect();
            filters.insert(1000 + bucket, &hashes);
        }
        let others: Vec<u128> = (0..100_000).map(|i| random_hash(1 << 60 | i)).collect();
        let mut slabs = Vec::new();
        filters.probe(&others, &mut slabs);
        let positives = slabs.iter().filter(|&&s| s != 0).count();
        assert!(
            positives < 400,
            "{positives} of 100000 probes are false positives"
        );
    }

    #[test]
    fn a_slab_is_emptied_when_its_last_bucket_expires() {
        let mut filters = Filters::new(1 << 16, 24);
        filters.insert(100, &[random_hash(1)]);
        filters.insert(124, &[random_hash(2)]);
        filters.expire_below(101);
        assert_eq!(probe(&filters, random_hash(1)), 0);
        assert_ne!(probe(&filters, random_hash(2)), 0);
        filters.expire_below(125);
        assert!(filters.words.iter().all(|&word| word == 0));
    }

    #[test]
    fn with_a_steady_watermark_no_slab_is_widened() {
        let (ttl_hours, out_of_order_hours) = (24, 1);
        let mut filters = Filters::new(1 << 12, ttl_hours);
        for hour in 1000..1200u32 {
            filters.expire_below(hour);
            for bucket in hour + ttl_hours..=hour + ttl_hours + out_of_order_hours {
                filters.insert(bucket, &[random_hash(u64::from(bucket))]);
            }
            for slab in &filters.slabs {
                assert!(
                    slab.buckets
                        .iter()
                        .all(|b| b / filters.stretch_hours == slab.stretch),
                    "at hour {hour}"
                );
            }
        }
    }

    #[test]
    fn a_slab_not_yet_rebuilt_answers_maybe() {
        let mut filters = Filters::new(1 << 16, 24);
        filters.rebuild([100]);
        assert!(leads_to(&filters, random_hash(1), 100));
        filters.insert(100, &[random_hash(2)]);
        filters.rebuilt_below(Some(100));
        assert!(leads_to(&filters, random_hash(1), 100));
        filters.rebuilt_below(Some(101));
        assert!(!leads_to(&filters, random_hash(1), 100));
        assert!(leads_to(&filters, random_hash(2), 100));
    }
}
