// Decompression for browsers without DecompressionStream: gzip (RFC 1952) around deflate (RFC 1951).

const LENGTHS = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const DISTANCE_BITS = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];
const ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** The content of a gzip file that has no optional header fields, as Python's gzip module writes it. */
export function inflate(bytes) {
  const size = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getUint32(0, true);
  const out = new Uint8Array(size);
  let [place, bit, written] = [10, 0, 0];

  const bits = (count) => {
    let value = 0;
    for (let i = 0; i < count; i += 1) {
      value |= ((bytes[place] >> bit) & 1) << i;
      bit += 1;
      if (bit === 8) [bit, place] = [0, place + 1];
    }
    return value;
  };
  const symbol = ({ counts, symbols }) => {
    let [code, first, index] = [0, 0, 0];
    for (let length = 1; length < 16; length += 1) {
      code |= bits(1);
      const count = counts[length];
      if (code - count < first) return symbols[index + code - first];
      [index, first, code] = [index + count, (first + count) << 1, code << 1];
    }
    throw new Error("the data is damaged");
  };

  for (let isLast = 0; !isLast; ) {
    isLast = bits(1);
    const type = bits(2);
    if (type === 0) {
      if (bit) [bit, place] = [0, place + 1];
      const length = bytes[place] | (bytes[place + 1] << 8);
      out.set(bytes.subarray(place + 4, place + 4 + length), written);
      [place, written] = [place + 4 + length, written + length];
      continue;
    }
    const [literals, distances] = type === 1 ? fixed() : dynamic(bits, symbol);
    for (let one = symbol(literals); one !== 256; one = symbol(literals)) {
      if (one < 256) {
        out[written] = one;
        written += 1;
        continue;
      }
      const length = LENGTHS[one - 257] + bits(LENGTH_BITS[one - 257]);
      const code = symbol(distances);
      const from = written - DISTANCES[code] - bits(DISTANCE_BITS[code]);
      for (let i = 0; i < length; i += 1) out[written + i] = out[from + i];
      written += length;
    }
  }
  return out;
}

function table(lengths) {
  const counts = new Array(16).fill(0);
  for (const length of lengths) counts[length] += 1;
  counts[0] = 0;
  const offsets = [0, 0];
  for (let i = 1; i < 15; i += 1) offsets.push(offsets[i] + counts[i]);
  const symbols = [];
  lengths.forEach((length, value) => {
    if (length) symbols[offsets[length]++] = value;
  });
  return { counts, symbols };
}

function fixed() {
  const literals = Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8));
  return [table(literals), table(new Array(30).fill(5))];
}

function dynamic(bits, symbol) {
  const [literals, distances, codes] = [bits(5) + 257, bits(5) + 1, bits(4) + 4];
  const lengths = new Array(19).fill(0);
  for (let i = 0; i < codes; i += 1) lengths[ORDER[i]] = bits(3);
  const code = table(lengths);
  const found = [];
  while (found.length < literals + distances) {
    const one = symbol(code);
    if (one < 16) found.push(one);
    else {
      const value = one === 16 ? found[found.length - 1] : 0;
      const count = one === 16 ? 3 + bits(2) : one === 17 ? 3 + bits(3) : 11 + bits(7);
      for (let i = 0; i < count; i += 1) found.push(value);
    }
  }
  return [table(found.slice(0, literals)), table(found.slice(literals))];
}
