// dot4(a, b): the sum of the products of four signed bytes; one instruction with HAS_DOT.
#ifdef HAS_DOT
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6018, 6019],
                  id = 4450)  // OpSDot, DotProductInput4x8BitPacked, DotProduct
int signed_dot(int a, int b, spirv_literal int packed_format);
int dot4(uint a, uint b) { return signed_dot(int(a), int(b), 0); }
#else
int byte_of(uint v, uint i) { return int(v << (24 - 8 * i)) >> 24; }
int dot4(uint a, uint b) {
  return byte_of(a, 0) * byte_of(b, 0) + byte_of(a, 1) * byte_of(b, 1) +
         byte_of(a, 2) * byte_of(b, 2) + byte_of(a, 3) * byte_of(b, 3);
}
#endif
