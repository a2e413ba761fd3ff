// One block of each quantised type to floats: the layouts, as drawn per function.
#include "formats/blocks.hpp"

namespace kimberlite::formats::blocks {

// |d:f16|qs[16]|  x[i] = d * (nibble - 8); low nibbles are the first half of the block.
void dequantize_q4_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(nibble(b[2 + i % 16], i / 16) - 8);
}

// |d:f16|m:f16|qs[16]|  x[i] = d * nibble + m
void dequantize_q4_1(const Byte* b, float* x) {
  const float d = load_half(b);
  const float m = load_half(b + 2);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(nibble(b[4 + i % 16], i / 16)) + m;
}

// |d:f16|qh:u32|qs[16]|  x[i] = d * ((nibble | bit i of qh << 4) - 16)
void dequantize_q5_0(const Byte* b, float* x) {
  const float d = load_half(b);
  const uint32_t qh = load_u32(b + 2);
  for (int i = 0; i < 32; ++i) {
    const int high = static_cast<int>((qh >> i) & 1u) << 4;
    x[i] = d * static_cast<float>((nibble(b[6 + i % 16], i / 16) | high) - 16);
  }
}

// |d:f16|m:f16|qh:u32|qs[16]|  x[i] = d * (nibble | bit i of qh << 4) + m
void dequantize_q5_1(const Byte* b, float* x) {
  const float d = load_half(b);
  const float m = load_half(b + 2);
  const uint32_t qh = load_u32(b + 4);
  for (int i = 0; i < 32; ++i) {
    const int high = static_cast<int>((qh >> i) & 1u) << 4;
    x[i] = d * static_cast<float>(nibble(b[8 + i % 16], i / 16) | high) + m;
  }
}

// |d:f16|q:i8[32]|  x[i] = d * q[i]
void dequantize_q8_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) x[i] = d * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

// |scales[16]|qs[64]|d:f16|dmin:f16|  x = d * low nibble * q - dmin * high nibble, groups of 16; q
// of element 128 h + 32 k + l is bits 2k of qs[32 h + l]
void dequantize_q2_k(const Byte* b, float* x) {
  const float d = load_half(b + 80);
  const float dmin = load_half(b + 82);
  for (int i = 0; i < 256; ++i) {
    const int q = (b[16 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    const Byte scale = b[i / 16];
    x[i] = d * static_cast<float>(nibble(scale, 0)) * static_cast<float>(q) -
           dmin * static_cast<float>(nibble(scale, 1));
  }
}

// |hmask[32]|qs[64]|scales[12]|d:f16|  x = d * (scale - 32) * (q - 4), groups of 16; q has its low
// two bits as Q2_K and its top one in bit i / 32 of hmask[i % 32]. Scale j: low nibbles of the
// first eight bytes, then their high ones; top two bits in the last four bytes.
void dequantize_q3_k(const Byte* b, float* x) {
  const float d = load_half(b + 108);
  const Byte* s = b + 96;
  for (int i = 0; i < 256; ++i) {
    const int low = (b[32 + 32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    const int high = (b[i % 32] >> (i / 32)) & 1;
    const int j = i / 16;
    const int scale = nibble(s[j % 8], j / 8) | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4);
    x[i] = d * static_cast<float>(scale - 32) * static_cast<float>((low | (high << 2)) - 4);
  }
}

// |d:f16|dmin:f16|scales[12]|qs[128]|  x = d * scale * q - dmin * min, groups of 32
void dequantize_q4_k(const Byte* b, float* x) {
  const float d = load_half(b);
  const float dmin = load_half(b + 2);
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale_min(b + 4, group);
    const float group_d = d * static_cast<float>(scale);
    const float group_min = dmin * static_cast<float>(min);
    const Byte* qs = b + 16 + 32 * (group / 2);
    for (int l = 0; l < 32; ++l) {
      x[32 * group + l] = group_d * static_cast<float>(nibble(qs[l], group % 2)) - group_min;
    }
  }
}

// |d:f16|dmin:f16|scales[12]|qh[32]|qs[128]|  as Q4_K, with bit `group` of qh[l] as fifth bit
void dequantize_q5_k(const Byte* b, float* x) {
  const float d = load_half(b);
  const float dmin = load_half(b + 2);
  const Byte* qh = b + 16;
  for (int group = 0; group < 8; ++group) {
    const auto [scale, min] = k_scale_min(b + 4, group);
    const float group_d = d * static_cast<float>(scale);
    const float group_min = dmin * static_cast<float>(min);
    const Byte* qs = b + 48 + 32 * (group / 2);
    for (int l = 0; l < 32; ++l) {
      const int q = nibble(qs[l], group % 2) | (((qh[l] >> group) & 1) << 4);
      x[32 * group + l] = group_d * static_cast<float>(q) - group_min;
    }
  }
}

// |ql[128]|qh[64]|scales:i8[16]|d:f16|  x = d * scale * (q - 32), groups of 16; q has its low four
// bits in ql and its top two in qh
void dequantize_q6_k(const Byte* b, float* x) {
  const float d = load_half(b + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int quarter = (i % 128) / 32;
    const int l = i % 32;
    const int low = nibble(b[64 * half + 32 * (quarter & 1) + l], quarter >> 1);
    const int high = (b[128 + 32 * half + l] >> (2 * quarter)) & 3;
    const auto scale = static_cast<int8_t>(b[192 + i / 16]);
    x[i] = d * static_cast<float>(scale) * static_cast<float>((low | (high << 4)) - 32);
  }
}

// |d:f16|qs[16]|  x[i] = d * table[nibble]
void dequantize_iq4_nl(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 32; ++i) {
    x[i] = d * static_cast<float>(kIq4Values[static_cast<size_t>(nibble(b[2 + i % 16], i / 16))]);
  }
}

// |d:f16|scales_h:u16|scales_l[4]|qs[128]|  x = d * (scale - 32) * table[nibble], groups of 32,
// each with its sixteen bytes as IQ4_NL; a scale has its low nibble in scales_l, its top bits in
// scales_h
void dequantize_iq4_xs(const Byte* b, float* x) {
  const float d = load_half(b);
  const int scales_h = load_u16(b + 2);
  for (int i = 0; i < 256; ++i) {
    const int g = i / 32;
    const int scale = nibble(b[4 + g / 2], g % 2) | (((scales_h >> (2 * g)) & 3) << 4);
    const int code = nibble(b[8 + 16 * g + i % 16], i % 32 / 16);
    x[i] = d * static_cast<float>(scale - 32) *
           static_cast<float>(kIq4Values[static_cast<size_t>(code)]);
  }
}

// |e:e8m0|qs[16]|  x[i] = 2^(e - 128) * table[nibble]
void dequantize_mxfp4(const Byte* b, float* x) {
  const float d = half_e8m0(b[0]);
  for (int i = 0; i < 32; ++i) {
    x[i] = d * static_cast<float>(kFp4Values[static_cast<size_t>(nibble(b[1 + i % 16], i / 16))]);
  }
}

// |e:ue4m3[4]|qs[32]|  x[i] = e / 2 * table[nibble], groups of 16, each with eight bytes: low
// nibbles its first half, high ones its second
void dequantize_nvfp4(const Byte* b, float* x) {
  for (int i = 0; i < 64; ++i) {
    const int code = nibble(b[4 + i / 16 * 8 + i % 8], i % 16 / 8);
    x[i] = half_ue4m3(b[i / 16]) * static_cast<float>(kFp4Values[static_cast<size_t>(code)]);
  }
}

// |qs[48]|qh[4]|d:f16|  x = d * (digit - 1). A byte is a fraction of 256 in base 3: digit n of five
// (four in qh). Digit n of the first 32 bytes: elements 32 n .. + 31; of the next 16: 160 + 16 n
// ..; of qh: 240 + 4 n ...
void dequantize_tq1_0(const Byte* b, float* x) {
  constexpr std::array<int, 5> kPower = {1, 3, 9, 27, 81};
  const float d = load_half(b + 52);
  for (int i = 0; i < 256; ++i) {
    const int n = i < 160 ? i / 32 : i < 240 ? (i - 160) / 16 : (i - 240) / 4;
    const int at = i < 160 ? i % 32 : i < 240 ? 32 + (i - 160) % 16 : 48 + i % 4;
    const int digit = (((b[at] * kPower[static_cast<size_t>(n)]) & 255) * 3) >> 8;
    x[i] = d * static_cast<float>(digit - 1);
  }
}

// |qs[64]|d:f16|  x = d * (q - 1), q as Q2_K
void dequantize_tq2_0(const Byte* b, float* x) {
  const float d = load_half(b + 64);
  for (int i = 0; i < 256; ++i) {
    const int q = (b[32 * (i / 128) + i % 32] >> (2 * (i / 32 % 4))) & 3;
    x[i] = d * static_cast<float>(q - 1);
  }
}

// |d:f16|qs[16]|  x[i] = bit i of qs ? d : -d
void dequantize_q1_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 128; ++i) x[i] = ((b[2 + i / 8] >> (i % 8)) & 1) != 0 ? d : -d;
}

// |d:f16|qs[16]|  x[i] = d * (q - 1), four codes a byte from its low bits on
void dequantize_q2_0(const Byte* b, float* x) {
  const float d = load_half(b);
  for (int i = 0; i < 64; ++i) {
    const int q = (b[2 + i / 4] >> (2 * (i % 4))) & 3;
    x[i] = d * static_cast<float>(q - 1);
  }
}

}  // namespace kimberlite::formats::blocks
