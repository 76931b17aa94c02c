//! Options that nobody has thought of.

/// A small generator of numbers: the same ones in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // Marsaglia's xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

/// Up to 40 bytes, in words: random ones, or options that mostly are what they
/// say, with a wrong byte here and there.
pub(crate) fn options(numbers: &mut Numbers) -> Vec<u8> {
    let length = 4 * numbers.below(11);
    let mut bytes = Vec::new();
    let wild = numbers.below(4) == 0;
    while bytes.len() < length {
        let kind = match numbers.below(12) {
            0 => numbers.byte(),
            kind => [1, 1, 2, 3, 4, 5, 8, 1, 2, 3, 4][kind - 1],
        };
        let size = match kind {
            _ if wild => 1,
            0 | 1 => 1,
            2 => 4,
            3 => 3,
            4 => 2,
            5 => 10,
            8 => 10,
            _ => 2 + numbers.below(6),
        };
        if bytes.len() + size > length && numbers.below(4) != 0 {
            bytes.resize(length, 1);
            break;
        }
        let start = bytes.len();
        bytes.push(if wild { numbers.byte() } else { kind });
        bytes.extend((1..size).map(|_| numbers.byte()));
        if size > 1 {
            bytes[start + 1] = size as u8;
        }
    }
    bytes.truncate(length);
    if length != 0 && numbers.below(4) == 0 {
        let place = numbers.below(length);
        bytes[place] = [0, 1, 2, 255, numbers.byte()][numbers.below(5)];
    }
    bytes
}
